"""The text of a function: where it stands in its file, and the same text with errors marked in it.

A file's `def` statements are indexed once by the line where they begin, which is what code objects remember, so
decorators, comments and arguments over several lines confuse nothing. A `Failure` keeps code objects and line numbers,
never frames, so nothing is kept alive; its texts are made when asked for. Imports leaves and `records`.
"""

from __future__ import annotations

import ast
import functools
import io
import linecache
import os
import re
import tokenize
import traceback
from collections.abc import Callable, Iterator
from types import CodeType, TracebackType
from typing import Any, NamedTuple

from opto.errors import ExecutionError
from opto.program import CODE_FILE, text_behind
from opto.show import text_of
from opto.syntax import tree_of

__all__ = [
    "CallSite",
    "Failure",
    "Source",
    "broken_code",
    "code_of",
    "code_source",
    "error_message",
    "innermost_function",
    "root_of",
    "signature_text",
    "source_of",
]

_BELOW = "the error is raised below, in a function called here."
_HERE = os.path.dirname(os.path.dirname(__file__))  # the tape
_INTERNAL = (_HERE + os.sep, os.path.join(os.path.dirname(_HERE), "sandbox") + os.sep)


class Source(NamedTuple):
    """The text of a function and the file line of its first line."""

    text: str
    line: int
    file: str


class CallSite(NamedTuple):
    """Lines of a file on which `bundle` is known to have been called."""

    file: str
    lines: tuple[int, ...]


class _Block(NamedTuple):
    """One `def` statement: its name, its lines, and the lines of each decorator with "looks like a bundle call"."""

    name: str
    first: int
    last: int
    decorators: tuple[tuple[int, int, bool], ...]


_Index = dict[int, _Block]
_FILES: dict[str, tuple[list[str], _Index]] = {}
_MAGIC = re.compile(r"^[%!].*$", re.MULTILINE)  # lines of a notebook cell that are no Python
_FILES_KEPT = 64


def innermost_function(fun: Any) -> Any:
    """The function inside all wrappers, partials and methods: the one that stands in a file."""
    for _ in range(100):
        if isinstance(fun, functools.partial):
            fun = fun.func
        elif hasattr(fun, "__wrapped__"):
            fun = fun.__wrapped__
        elif hasattr(fun, "__func__"):
            fun = fun.__func__
        else:
            break
    return fun


def code_of(fun: Any) -> CodeType | None:
    """The code object of the innermost function; None for a function that was not written in Python."""
    code = getattr(innermost_function(fun), "__code__", None)
    return code if isinstance(code, CodeType) else None


def source_of(fun: Callable[..., Any], site: CallSite | None = None) -> Source | None:
    """The text of `fun` after its bundle decorator, or the whole of it when there is none; None if it has no `def`.

    A decorator that covers a line of `site` is the bundle whatever its name.
    """
    code = code_of(fun)
    return None if code is None else code_source(code, site, getattr(innermost_function(fun), "__globals__", None))


def code_source(code: CodeType, site: CallSite | None = None, globals_: dict[str, Any] | None = None) -> Source | None:
    """Like `source_of`, for a code object (of a frame, say)."""
    lines = _lines(code.co_filename, globals_)
    block = _index(code.co_filename, lines).get(code.co_firstlineno) if lines else None
    if block is None or block.name != code.co_name:
        return None
    first = _after_bundle(block, site.lines if site is not None and site.file == code.co_filename else ())
    while not lines[first - 1].strip():
        first += 1
    return Source("".join(lines[first - 1 : block.last]).strip(), first, code.co_filename)


def _after_bundle(block: _Block, known: tuple[int, ...]) -> int:
    """The first line after the decorator called on one of the `known` lines, or after the one that looks like it."""
    for line in known:
        for start, end, _ in block.decorators:
            if start <= line <= end:
                return end + 1
    ends = [end for _, end, looks_like_bundle in block.decorators if looks_like_bundle]
    return ends[-1] + 1 if ends else block.first


def _lines(file: str, globals_: dict[str, Any] | None) -> list[str]:
    linecache.checkcache(file)
    return linecache.getlines(file, globals_)


def _index(file: str, lines: list[str]) -> _Index:
    known = _FILES.get(file)
    if known is not None and (known[0] is lines or known[0] == lines):
        return known[1]
    index = {block.first: block for block in _blocks("".join(lines))}
    if len(_FILES) >= _FILES_KEPT:
        _FILES.pop(next(iter(_FILES)), None)
    _FILES[file] = (lines, index)
    return index


def _blocks(text: str) -> Iterator[_Block]:
    try:
        tree = tree_of(text)
    except SyntaxError:
        try:
            tree = tree_of(_MAGIC.sub("", text))
        except SyntaxError:  # the file was edited, or is not Python
            return
    for item in ast.walk(tree):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = tuple((d.lineno, d.end_lineno or d.lineno, _looks_like_bundle(d)) for d in item.decorator_list)
            first = min([item.lineno, *(start for start, _, _ in decorators)])
            yield _Block(item.name, first, item.end_lineno or item.lineno, decorators)


def _looks_like_bundle(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else None
    return name == "bundle"


def signature_text(source: str) -> str:
    """The head of a function's text: from `def` to the end of its docstring if it has one, else to its colon.

    >>> signature_text("@wraps\\ndef f(x,\\n      y=2):  # sum\\n    return x + y")
    'def f(x,\\n      y=2):'
    """
    lines = source.splitlines(keepends=True)
    start = end = None
    depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if start is None:
                start = token.start if token.string in ("def", "async") else None
            elif end is None:
                depth += (token.string in "([{") - (token.string in ")]}") if token.type == tokenize.OP else 0
                end = token.end if token.string == ":" and depth == 0 else None
            elif token.type == tokenize.STRING:
                end = token.end
                break
            elif token.type not in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.COMMENT):
                break
    except (tokenize.TokenError, IndentationError):
        pass  # the head has been read; what follows is not ours to judge
    if start is None or end is None:
        return lines[0].rstrip() if lines else ""
    return _between(lines, start, end)


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    inner = lines[start[0] : end[0] - 1]
    return "".join([lines[start[0] - 1][start[1] :], *inner, lines[end[0] - 1][: end[1]]])


# --- what went wrong ----------------------------------------------------------------------------


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
    text = text_of(error.args[0] if error.args else error)
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
