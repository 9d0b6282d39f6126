"""How time and memory grow: a linear tape costs the same per node at every size.

Prints the time per node, and its ratio to the smallest size, for building, backward, the graph that a
parameter gets, deep copies, pickling and freeing, from 10³ to 10⁶ nodes; then backward and prompt for
10, 100 and 1,000 parameters. The collector of cycles is off while a stage is timed.

Run: python bench/growth.py [--largest 1000000]
"""

from __future__ import annotations

import argparse
import copy
import gc
import pickle
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrime
from opto.trace import node
from opto.trace.propagators.graph_propagator import sum_feedback


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    gc.disable()
    start = time.thread_time()
    result = run()
    spent = time.thread_time() - start
    gc.enable()
    return spent, result


def build(length: int) -> tuple[Any, Any]:
    p = x = node(0, name="p", trainable=True)
    for _ in range(length):
        x = x + 1
    return p, x


def lifetime(length: int) -> dict[str, float]:
    """Seconds for each stage in the life of a chain of `length` operations (two nodes each)."""
    stages: dict[str, float] = {}
    stages["build"], (p, y) = timed(lambda: build(length))
    stages["pickle"], data = timed(lambda: pickle.dumps(y))
    stages["unpickle"], again = timed(partial(pickle.loads, data))
    assert again.data == y.data and again.level == length
    holder = [again]
    del again
    stages["free"], _ = timed(holder.clear)
    stages["deepcopy"], _ = timed(lambda: copy.deepcopy(y))
    stages["backward"], _ = timed(lambda: y.backward("too small"))
    stages["graph"], graph = timed(lambda: len(sum_feedback([p])))
    assert graph == 2 * length + 1
    return stages


def many_parameters(count: int) -> dict[str, float]:
    parameters = [node(0, name="p", trainable=True) for _ in range(count)]
    y = parameters[0]
    for p in parameters[1:]:
        y = y + p
    optimizer = OptoPrime(parameters, llm=ScriptedLLM([]))
    optimizer.zero_feedback()
    back, _ = timed(lambda: optimizer.backward(y, "too small"))
    prompt, _ = timed(lambda: optimizer.construct_prompt(optimizer.summarize()))
    return {"backward": back, "prompt": prompt}


def table(title: str, sizes: list[int], measure: Callable[[int], dict[str, float]], repeat: int = 3) -> None:
    print(f"\n{title}: µs each, and the ratio to the smallest size")
    first: dict[str, float] = {}
    for size in sizes:
        runs = [measure(size) for _ in range(repeat if size <= 100_000 else 1)]
        each = {stage: min(run[stage] for run in runs) / size * 1e6 for stage in runs[0]}
        first = first or each
        cells = "  ".join(f"{stage} {value:7.3f} ({value / first[stage]:4.2f}×)" for stage, value in each.items())
        print(f"{size:>9,}  {cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--largest", type=int, default=1_000_000, help="the longest chain (default 1,000,000)")
    largest = parser.parse_args().largest
    table("operations in a chain", [10**k for k in range(3, 8) if 10**k <= largest], lifetime)
    table("parameters in one graph", [10, 100, 1_000], many_parameters, 5)


if __name__ == "__main__":
    main()
