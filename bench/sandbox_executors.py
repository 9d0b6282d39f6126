"""What a warm call of a trivial function costs in each executor, one beside the other in the same run.

python bench/sandbox_executors.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sandbox import TEXT, median_seconds, step

from opto.execution import Job, executor_named

CALLS, ROUNDS = 300, 5


def main() -> None:
    """Measure in turn, so that what else the machine does falls on all, and print the best median of each."""
    job = Job(TEXT, "step", (1,))
    calls: dict[str, Callable[[], Any]] = {"plain Python": lambda: step(1)}
    calls |= {name: partial(executor_named(name).run, job) for name in ("unsafe", "monty", "process")}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            found[name].append(median_seconds(call, CALLS))
    process = min(found["process"])
    for name, medians in found.items():
        print(f"{name:12} {min(medians) * 1e6:8.1f} µs a call, {min(medians) / process:5.2f} of process")


if __name__ == "__main__":
    main()
