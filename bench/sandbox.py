"""What a sandboxed call costs beside a bare ProcessPoolExecutor in the same run; memory, replacement and start.

python bench/sandbox.py
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from opto.sandbox import Job
from opto.sandbox.process import ProcessExecutor

TEXT = "def step(x):\n    return x + 1"
CALLS, MANY, DEATHS = 2_000, 10_000, 20


def step(x: int) -> int:
    """The same function, for the pools that know nothing of texts."""
    return x + 1


def median_seconds(call: Callable[[], Any], count: int = CALLS) -> float:
    """The median of single calls, after some to warm up."""
    for _ in range(100):
        call()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def resident() -> int:
    """Bytes that this process holds now (where /proc tells), else the most that it held."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure and print."""
    job = Job(TEXT, "step", (1,))
    began = time.perf_counter()
    executor = ProcessExecutor()
    executor.run(job).result()
    start = time.perf_counter() - began
    with ProcessPoolExecutor(1) as peer:
        # in turn, so that what else the machine does falls on both
        rounds = [
            (
                median_seconds(lambda: executor.run(job), CALLS // 4),
                median_seconds(lambda: peer.submit(step, 1).result(), CALLS // 4),
            )
            for _ in range(4)
        ]
    ours, theirs = (min(times) for times in zip(*rounds, strict=True))
    plain = median_seconds(lambda: step(1))
    print(f"warm call           {ours * 1e6:7.0f} µs over in-process {plain * 1e6:.2f} µs (limit 300 µs)")
    print(f"ProcessPoolExecutor {theirs * 1e6:7.0f} µs: ours is {ours / theirs:.2f} of it")
    before = resident()
    for _ in range(MANY):
        executor.run(job)
    first = executor.run(job).usage.memory_bytes
    grown = (resident() - before) / 2**20
    print(f"{MANY:,} calls: this process grew by {grown:.1f} MB; the worker held {first / 2**20:.0f} MB at most")
    print(f"a killed worker is replaced in {replacement(executor) * 1e3:.1f} ms (limit 100 ms)")
    print(f"start with the first call {start:.2f} s (limit 0.5 s)")
    executor.close()


def replacement(executor: ProcessExecutor) -> float:
    """Median seconds from the death of a worker to the answer of the next one for the same text."""
    text = "import os\ndef act(die):\n    if die:\n        os._exit(1)\n    return 1"
    times = []
    for _ in range(DEATHS):
        executor.run(Job(text, "act", (False,))).result()
        executor.run(Job(text, "act", (True,)))
        began = time.perf_counter()
        executor.run(Job(text, "act", (False,))).result()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
