"""Measuring for the benchmarks: best of several runs, in turn with the floor; the median ratio of such pairs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def seconds(run: Callable[[], Any], repeat: int = 40, clock: Callable[[], float] = time.thread_time) -> float:
    """The shortest of `repeat` runs, collector off, by the processor's time, so that other work does not count."""
    return staged(lambda: None, lambda _: run(), repeat, clock)


def staged(
    make: Callable[[], Any],
    run: Callable[[Any], Any],
    repeat: int = 20,
    clock: Callable[[], float] = time.thread_time,
) -> float:
    """As `seconds`, with an untimed preparation before each run."""
    best = float("inf")
    gc.collect()
    gc.disable()
    for _ in range(repeat):
        made = make()
        start = clock()
        run(made)
        best = min(best, clock() - start)
        del made
    gc.enable()
    return best


@dataclass(frozen=True)
class Row:
    """One line of a table: ours, what it is measured against, and the ratio that is our goal."""

    name: str
    ours: float
    floor: float
    unit: str
    goal: float | None = None
    against: str = "floor"

    def __str__(self) -> str:
        ratio = self.ours / self.floor if self.floor else float("nan")
        verdict = "" if self.goal is None else f"  goal ≤ {self.goal:g}× {'met' if ratio <= self.goal else 'MISSED'}"
        return (
            f"{self.name:<46}{self.ours:>11.3f} {self.unit:<8}"
            f"{self.floor:>11.3f} {self.against:<22}{ratio:>8.2f}×{verdict}"
        )


def in_turn(ours: Callable[[], float], floor: Callable[[], float], rounds: int = 5) -> tuple[float, float]:
    """The pair with the median ratio, measured alternately so that the machine's drift hits both alike."""
    pairs = sorted(((ours(), floor()) for _ in range(rounds)), key=lambda pair: pair[0] / pair[1])
    return pairs[rounds // 2]
