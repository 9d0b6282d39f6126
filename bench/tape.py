"""The speed and memory of the tape, beside a 40-line floor class, untraced Python and PyTorch where installed.

Ratios are what counts: absolute times drift with the machine. Run: python bench/tape.py
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

from floor import Floor, Probe, probe_call
from measure import Row, in_turn, seconds, staged

from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrime
from opto.trace import bundle, node, stop_tracing

OPS = 1_000
CALLS = 500


def chain(start: Any, length: int = OPS) -> Any:
    x = start
    for _ in range(length):
        x = x + 1
    return x


def ladder(start: Any, depth: int = 1_000) -> Any:
    """2^depth paths, 2·depth nodes."""
    a = b = start
    for _ in range(depth):
        a, b = a + b, b + a
    return a + b


def random_graph(start: Any, size: int = 3_000) -> Any:
    rng = random.Random(0)
    nodes = [start]
    for _ in range(size):
        nodes.append(rng.choice(nodes[-50:]) + rng.choice(nodes[-50:]))
    total = nodes[-1]
    for x in nodes[-50:-1]:
        total = total + x
    return total


@bundle()
def traced(x: Any, y: Any) -> Any:
    """The sum of two numbers."""
    return x + y


@bundle(trainable=True)
def trainable(x: Any, y: Any) -> Any:
    """The sum of two numbers."""
    return x + y


def plain(x: Any, y: Any) -> Any:
    return x + y


def per_call(run: Callable[[], Any], calls: int = CALLS) -> Callable[[], float]:
    def many() -> None:
        for _ in range(calls):
            run()

    return lambda: seconds(many) / calls * 1e6


def parameter() -> Any:
    return node(0, name="p", trainable=True)


def calls() -> list[Row]:
    x, y = node(1), node(2, trainable=True)
    px, py = Probe(1, plain, (), ()), Probe(2, plain, (), ())
    p = parameter()
    add = in_turn(lambda: seconds(lambda: chain(p)) / OPS * 1e6, lambda: seconds(lambda: chain(Floor(0))) / OPS * 1e6)
    call = in_turn(per_call(lambda: traced(x, y)), per_call(lambda: probe_call(plain, px, py)))
    code = in_turn(per_call(lambda: trainable(x, y)), per_call(lambda: traced(x, y)))
    with stop_tracing():
        stopped = in_turn(per_call(lambda: traced(x, y)), per_call(lambda: plain(1, 2)))
    return [
        Row("traced x + 1", *add, "µs", 3.0),
        Row("@bundle call f(node, node)", *call, "µs", 3.0, "probe"),
        Row("trainable bundle call", *code, "µs", 1.3, "ordinary bundle"),
        Row("call inside stop_tracing", *stopped, "µs", 2.0 / 0.07, "untraced Python"),
        *against_torch(add[0]),
    ]


def against_torch(ours: float) -> list[Row]:
    try:
        import torch
    except ImportError:
        return []
    torch.set_num_threads(1)
    theirs = seconds(lambda: chain(torch.zeros((), requires_grad=True))) / OPS * 1e6
    return [Row("traced x + 1", ours, theirs, "µs", 1.0, "PyTorch")]


def decoration() -> list[Row]:
    def decorate() -> None:
        @bundle()
        def f(x: Any, y: Any) -> Any:
            return x

    def at_depth(depth: int) -> float:
        return per_call(decorate, 50)() if depth == 0 else at_depth(depth - 1)

    def deep() -> float:  # the best of three depths: at one of them CPython may take and give back a page for each call
        return min(at_depth(depth) for depth in (90, 100, 110))

    return [Row("decoration, stack depth 100", *in_turn(deep, lambda: at_depth(0)), "µs", 1.5, "depth 0")]


def memory() -> list[Row]:
    def bytes_per_op(start: Any, count: int = 10_000) -> float:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        end = chain(start, count)
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        del end
        return used / count

    p = parameter()
    return [
        Row("bytes per op (node and constant)", bytes_per_op(p), bytes_per_op(Floor(0)), "B", 450 / 204),
        Row("kept per forward-only call of a parameter", kept_per_call(p), 1.0, "B", 1.0, "1 byte"),
        Row("cyclic garbage per forward + backward", garbage(), 1.0, "objects", 0.0, "0 objects"),
    ]


def kept_per_call(p: Any, count: int = 20_000) -> float:
    for _ in range(100):
        traced(p, 1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(count):
        traced(p, 1)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / count


def garbage() -> float:
    def once() -> None:
        p = parameter()
        y = traced(p, 1) * 2
        y.backward("too small")
        p.zero_feedback()

    once()
    gc.collect()
    gc.disable()
    for _ in range(100):
        once()
    found = gc.collect()
    gc.enable()
    return found / 100


def backward() -> list[Row]:
    shapes = [
        ("chain of 10,000", lambda start: chain(start, 10_000), 10_000, 0.5),
        ("ladder of depth 1,000", ladder, 2_000, 0.75),
        ("random graph of 3,000", random_graph, 3_050, 1.0),
    ]
    rows = []
    for name, make, size, goal in shapes:
        p = parameter()

        def ours(make: Any = make, size: int = size, p: Any = p) -> float:
            best = staged(lambda: make(p), lambda y: y.backward("too small")) / size * 1e6
            p.zero_feedback()
            return best

        def floor(make: Any = make, size: int = size) -> float:
            return staged(lambda: make(Floor(0)), lambda y: y.backward()) / size * 1e6

        rows.append(Row(f"backward per node: {name}", *in_turn(ours, floor), "µs", goal))
    return rows


def floor_text(start: Floor) -> str:
    start.backward()
    lines, stack, seen = [], [start], set()
    while stack:
        x = stack.pop()
        if id(x) not in seen:
            seen.add(id(x))
            lines.append(f"v{id(x)} = {x.op}({', '.join(f'v{id(i)}={i.data}' for i in x.inputs)})")
            stack.extend(x.inputs)
    return "\n".join(lines)


def prompts() -> list[Row]:
    def ours(make: Callable[[], tuple[list[Any], Any]], repeat: int) -> float:
        def prepared() -> Any:
            parameters, y = make()
            return OptoPrime(parameters, llm=ScriptedLLM([])), y

        def run(pair: Any) -> None:
            optimizer, y = pair
            optimizer.zero_feedback()
            optimizer.backward(y, "too small")
            optimizer.construct_prompt(optimizer.summarize())

        return staged(prepared, run, repeat) * 1e3

    def long() -> tuple[list[Any], Any]:
        p = parameter()
        return [p], chain(p, 5_000)

    def wide() -> tuple[list[Any], Any]:
        parameters = [parameter() for _ in range(1_000)]
        y = parameters[0]
        for p in parameters[1:]:
            y = y + p
        return parameters, y

    def wide_floor() -> Floor:
        y = Floor(0)
        for _ in range(1_000):
            y = y + Floor(0)
        return y

    long_floor = lambda: staged(lambda: chain(Floor(0), 5_000), floor_text, 15) * 1e3  # noqa: E731
    flat_floor = lambda: staged(wide_floor, floor_text, 40) * 1e3  # noqa: E731
    return [
        Row("backward + prompt, graph of 10,000 nodes", *in_turn(lambda: ours(long, 15), long_floor), "ms", 150 / 60),
        Row("backward + prompt, 1,000 parameters", *in_turn(lambda: ours(wide, 40), flat_floor), "ms", 20 / 7),
    ]


def children_time() -> float:
    """Seconds of the processor that the processes started from here took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imports() -> list[Row]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as compiled:  # as after `pip install`, which compiles once
        environment["PYTHONPYCACHEPREFIX"] = compiled

        def start(code: str) -> float:
            run = partial(subprocess.run, [sys.executable, "-c", code], check=True, env=environment)
            run()
            return seconds(run, 25, children_time) * 1e3

        bare, trace, whole = start("pass"), start("import opto.trace"), start("import opto.optimizers")
        called = start("from opto.trace import bundle\nbundle()(lambda x: x)(1)")
    return [
        Row("import opto.trace, over bare Python", trace - bare, 90.0, "ms", 1.0, "90 ms"),
        Row("and a first bundled call, over bare Python", called - bare, trace - bare, "ms", None, "import alone"),
        Row("import opto.optimizers, over bare Python", whole - bare, 180.0, "ms", 1.0, "180 ms"),
    ]


def main() -> None:
    print(f"{'':<46}{'ours':>11} {'':<8}{'against':>11} {'':<22}{'ratio':>9}")
    for group in (calls, decoration, memory, backward, prompts, imports):
        for row in group():
            print(row, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
