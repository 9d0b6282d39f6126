"""The stack of a worker that cannot answer: C code writes it into a pipe when a signal arrives. Imports leaves only.

So the line is known even of an endless match of a pattern or of a crash in a library, when no Python code runs.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
from collections.abc import Iterable

from opto.program import RUNNING

__all__ = ["interruptible", "places", "write_on_signals"]

_FRAME = r'  File "([^"\n]{0,1000})", line (\d{1,6}) in ([^\n]{0,1000})\n'
_STACK = re.compile(f"(?:{_FRAME})+")


def write_on_signals(pipe: int, numbers: Iterable[int]) -> None:
    """In a worker: from now on crashes and the signals of these `numbers` write the stack; their handlers run too."""
    os.set_blocking(pipe, False)  # a full pipe must not block the worker
    faulthandler.enable(pipe, all_threads=False)
    for number in numbers:
        faulthandler.register(number, pipe, all_threads=False, chain=True)
        interruptible(number)


def interruptible(number: int) -> None:
    """A wait of the system ends when this signal comes; `faulthandler` takes that back each time that one came."""
    signal.siginterrupt(number, True)


def places(written: bytes, shown: Iterable[tuple[str, int, str]]) -> list[list[str | int]]:
    """In the program: the lines that ran last, outermost first. Code may have forged what is `written`."""
    stacks = [found.group() for found in _STACK.finditer(written.decode("utf-8", "replace"))]
    last = next((stack for stack in reversed(stacks) if f'"{RUNNING}"' in stack), "")
    frames = [(file, int(line), name) for file, line, name in re.findall(_FRAME, last)]
    return [[file, _first_line(file, line, name, shown), name, line] for file, line, name in reversed(frames)]


def _first_line(file: str, line: int, name: str, shown: Iterable[tuple[str, int, str]]) -> int:
    """The line where the function around this line begins; for lines of the text, the line itself."""
    if file == RUNNING:
        return line
    return max((first for f, first, n in shown if f == file and n == name and first <= line), default=line)
