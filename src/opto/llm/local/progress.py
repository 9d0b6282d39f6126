"""Progress of long work: a record for the core, a bar or plain lines for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

__all__ = ["Progress", "Report", "quiet", "watch"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` bytes of the work `what`; with total 0 it is a plain remark."""

    what: str
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]


def quiet(progress: Progress) -> None:
    """Say nothing."""


def watch(stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> Report:
    """A report that draws a bar on a terminal and writes a line every tenth elsewhere."""
    out = sys.stderr if stream is None else stream
    return _Bar(out, clock).show if out.isatty() else _Lines(out).show


class _Lines:
    def __init__(self, out: TextIO) -> None:
        self._out, self._last = out, ("", -1)

    def show(self, progress: Progress) -> None:
        tenth = progress.done * 10 // progress.total if progress.total else 0
        if (progress.what, tenth) == self._last:
            return
        self._last = (progress.what, tenth)
        amount = f": {_mb(progress.done)} of {_mb(progress.total)} MB" if progress.total else ""
        self._out.write(f"{progress.what}{amount}\n")
        self._out.flush()


class _Bar:
    """Redraws one line at most ten times a second; a remark or another `what` begins a new line."""

    def __init__(self, out: TextIO, clock: Callable[[], float]) -> None:
        self._out, self._clock = out, clock
        self._open, self._drawn = "", float("-inf")

    def show(self, progress: Progress) -> None:
        if self._open and progress.what != self._open:
            self._end()
        if not progress.total:
            self._out.write(f"{progress.what}\n")
            self._out.flush()
            return
        finished = progress.done >= progress.total
        if not finished and self._clock() - self._drawn < 0.1 and self._open:
            return
        self._drawn, self._open = self._clock(), progress.what
        filled = min(30, progress.done * 30 // progress.total)
        amount = f"{_mb(progress.done)}/{_mb(progress.total)} MB"
        self._out.write(f"\r{progress.what} [{'█' * filled}{'·' * (30 - filled)}] {amount} ")
        if finished:
            self._end()
        self._out.flush()

    def _end(self) -> None:
        self._out.write("\n")
        self._open = ""


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f}"
