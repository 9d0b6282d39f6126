"""What went wrong, said in the source: the text of each function on the way to the error, failing lines marked.

A `Failure` keeps code objects and line numbers, never frames, so nothing is kept alive; its texts are made when asked.
Imports: source, code and records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, NamedTuple

from opto.deferred import Deferred
from opto.errors import ExecutionError
from opto.trace.bundle.definition import CODE_FILE, text_behind
from opto.trace.bundle.source import Source, code_source
from opto.trace.records import printed

if TYPE_CHECKING:
    import traceback
else:
    traceback = Deferred("traceback")

__all__ = ["Failure", "broken_code", "error_message", "root_of"]

_BELOW = "the error is raised below, in a function called here."
_HERE = os.path.dirname(os.path.dirname(__file__))  # the tape
_INTERNAL = (_HERE + os.sep, os.path.join(os.path.dirname(_HERE), "sandbox") + os.sep)


class _Place(NamedTuple):
    """A line that was being executed; `text` is that of the parameter if the code came from one."""

    code: CodeType
    line: int
    text: str | None

    def source(self) -> Source | None:
        if self.text is not None:
            return Source(self.text, 1, CODE_FILE)
        return code_source(self.code)

    def summary(self) -> traceback.FrameSummary:
        shown = None
        if self.text is not None:
            lines = self.text.splitlines()
            shown = lines[self.line - 1].strip() if 0 < self.line <= len(lines) else ""
        return traceback.FrameSummary(
            self.code.co_filename, self.line, self.code.co_name, lookup_line=False, line=shown
        )


def error_message(error: BaseException) -> str:
    """`(Type) first argument.`, as the comments show it."""
    text = printed(error.args[0] if error.args else error)
    return f"({type(error).__name__}) {text}." if text else f"({type(error).__name__})."


def root_of(error: BaseException) -> BaseException:
    """The error behind the ExecutionErrors of inner calls."""
    while isinstance(error, ExecutionError) and error.__cause__ is not None:
        error = error.__cause__
    return error


class Failure:
    """The way from a bundled function down to an error. `comment()` and `traceback()` are its two texts."""

    __slots__ = ("_last", "_message", "_places")

    def __init__(self, error: BaseException) -> None:
        root = root_of(error)
        self._message = error_message(root)
        self._last = "".join(traceback.format_exception_only(type(root), root))
        self._places = tuple(_places(error))

    def comment(self, otherwise: str = "") -> str:
        """The commented source of every function that has one (`otherwise` if none has), and the message."""
        notes: dict[Source, dict[int, str]] = {}
        last: tuple[Source, int] | None = None
        for place in self._places:
            source = place.source()
            if source is not None:
                last = source, place.line - source.line
                notes.setdefault(source, {})[last[1]] = _BELOW
        if last is not None:
            notes[last[0]][last[1]] = self._message
        blocks = [_marked(source.text, lines) for source, lines in notes.items()]
        text = "\n\n".join(blocks) or otherwise
        return f"{text}\n{self._message}" if text else self._message

    def traceback(self) -> str:
        """The Python traceback from the bundled function downwards."""
        frames = traceback.format_list([place.summary() for place in self._places])
        return self._last if not frames else "Traceback (most recent call last):\n" + "".join(frames) + self._last


def broken_code(error: BaseException, text: str) -> tuple[str, str]:
    """Comment and traceback text for code from a parameter that could not be defined."""
    line = None
    if isinstance(error, SyntaxError) and error.filename == CODE_FILE:
        line = error.lineno
    else:
        for place in _places(error):
            line = place.line if place.text is not None else line
    message = error_message(error)
    marked = text if line is None else _marked(text, {line - 1: message})
    last = "".join(traceback.format_exception_only(type(error), error))
    return f"{marked}\n{message}", f"The definition of the trainable code failed:\n{last}"


def _places(error: BaseException) -> Iterator[_Place]:
    """The lines that were executing, outermost first, without those of this package."""
    at: BaseException | None = error
    while at is not None:
        step: TracebackType | None = at.__traceback__
        while step is not None:
            frame = step.tb_frame
            if not frame.f_code.co_filename.startswith(_INTERNAL):
                yield _Place(frame.f_code, step.tb_lineno, text_behind(frame))
            step = step.tb_next
        at = at.__cause__ if isinstance(at, ExecutionError) else None


def _marked(text: str, notes: dict[int, str]) -> str:
    """`text` with notes behind lines (counted from 0; the nearest there is)."""
    lines = text.split("\n")
    for index, note in notes.items():
        index = min(max(index, 0), len(lines) - 1)
        lines[index] = f"{lines[index]} <--- {note}"
    return "\n".join(lines)
