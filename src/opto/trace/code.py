"""Code that an optimizer may rewrite: from text to a callable.

`define` is the one place where changed code is brought to life, so that an executor in another process can take its
place later. A text is compiled once; one that only imports and defines is run once per `Environment`, and a call only
refreshes the globals that it reads. Imports the standard library only.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CellType, CodeType, FrameType
from typing import Any, NamedTuple

__all__ = ["CODE_FILE", "RUNNING", "Definition", "Environment", "Program", "compiled", "define", "text_behind"]

CODE_FILE = "<string>"
"""The file name in the SyntaxError of a text that is not Python."""

RUNNING = "<trainable code>"
"""The file name of running code that came from a parameter; code that it runs by `exec` has another."""

_TEXT = "__trace_code_text__"
_STORES = {"STORE_NAME", "STORE_GLOBAL", "DELETE_NAME", "DELETE_GLOBAL"}
_LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
_LOOKS_AROUND = {"eval", "exec", "globals", "vars", "locals"}
_INDENTED_DEF = re.compile(r"^([ \t]+)(?:def\b|async\b|@)", re.MULTILINE)
_ANNOTATIONS = __future__.annotations.compiler_flag
_ABSENT = object()


class Program(NamedTuple):
    """A compiled text, the global names that it reads and writes, and whether it may read others.

    `lasting`: it only imports and defines, so that running it again would change nothing. Any other text is run for
    each call, as a list that it makes must be empty when the next call begins.
    """

    code: CodeType
    reads: frozenset[str]
    writes: frozenset[str]
    dynamic: bool
    lasting: bool


@lru_cache(maxsize=512)
def compiled(text: str, flags: int = 0) -> Program:
    """Compiles a text once; SyntaxError if it is not Python. `flags` are those of the original function's module."""
    code = _compile(text, flags)
    reads: set[str] = set()
    writes: set[str] = set()
    for part in _parts(code):
        for step in dis.get_instructions(part):
            if step.opname in _LOADS:
                reads.add(step.argval)
            elif step.opname in _STORES and (part is code or step.opname.endswith("GLOBAL")):
                writes.add(step.argval)
    return Program(code, frozenset(reads), frozenset(writes), bool(reads & _LOOKS_AROUND), _is_lasting(text))


def _is_lasting(text: str) -> bool:
    try:
        return all(_only_defines(statement) for statement in ast.parse(_straightened(text)).body)
    except SyntaxError:  # only what `_straightened` cannot read after all: it may do anything
        return False


def _only_defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = [*statement.args.defaults, *(d for d in statement.args.kw_defaults if d is not None)]
        return not statement.decorator_list and all(isinstance(d, ast.Constant) for d in defaults)
    documents = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return documents or isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass)


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _compile(text: str, flags: int) -> CodeType:
    try:
        return _compile_exactly(text, flags)
    except IndentationError:
        straight = _straightened(text)
        if straight == text:
            raise
        try:
            return _compile_exactly(straight, flags)
        except SyntaxError:
            pass
        raise


def _compile_exactly(tree: str | ast.Module, flags: int) -> CodeType:
    try:
        code: CodeType = compile(tree, RUNNING, "exec", flags=flags, dont_inherit=True)
    except SyntaxError as error:
        error.filename = CODE_FILE
        raise
    return code


def _straightened(text: str) -> str:
    """A nested function whose first line lost its indentation, or a wholly indented one, moved to the left margin."""
    lost = _INDENTED_DEF.search(text) if text[:1].strip() else None
    return textwrap.dedent(lost.group(1) + text if lost else text)


class Environment:
    """Where code from a parameter runs: the globals of a function as they are, the caller's locals as they were.

    `captured` is a snapshot taken when the function was decorated; all copies share it and none copies it. Variables
    that the function closes over and the snapshot had not yet are read from their cells. `owner` is the class in whose
    body the function stands, for `super()`.
    """

    __slots__ = ("captured", "cells", "flags", "globals", "name", "owner")

    def __init__(self, fun: Any, captured: dict[str, Any]) -> None:
        self.name: str = fun.__name__
        self.globals: dict[str, Any] = getattr(fun, "__globals__", {})
        self.captured = captured
        code = getattr(fun, "__code__", None)
        self.flags: int = code.co_flags & _ANNOTATIONS if code else 0
        cells: tuple[CellType, ...] = getattr(fun, "__closure__", None) or ()
        names: tuple[str, ...] = code.co_freevars if code else ()
        self.cells = {n: c for n, c in zip(names, cells, strict=False) if n not in captured and n != self.name}
        self.owner: type | None = None


def define(text: str, environment: Environment) -> Definition:
    """Brings `text` to life; raises what the text raises, KeyError if it does not define the function."""
    return Definition(text, environment)


class Definition:
    """A text that was run in an environment: `fun` is the function that it defines."""

    __slots__ = ("_cells", "_environment", "_live", "_namespace", "fun", "lasting", "text")

    def __init__(self, text: str, environment: Environment) -> None:
        program = compiled(text, environment.flags)
        around = environment.globals
        self.text = text
        self.lasting = program.lasting
        self._environment = environment
        self._namespace: dict[str, Any] = {
            **environment.captured,
            "__builtins__": around.get("__builtins__", builtins),
            "__name__": around.get("__name__", "__main__"),
            _TEXT: text,
        }
        reads = program.reads | around.keys() if program.dynamic else program.reads
        reads = reads - program.writes - self._namespace.keys()
        self._cells = tuple((n, c) for n, c in environment.cells.items() if n in reads)
        self._live = tuple(reads - environment.cells.keys())
        self.refresh()
        before = dict(self._namespace)
        self._run(program)
        self._live = tuple(n for n in self._live if before.get(n, _ABSENT) is self._namespace.get(n, _ABSENT))
        if environment.name not in program.writes:
            raise KeyError(environment.name)
        defined = self._namespace[environment.name]
        if isinstance(defined, staticmethod | classmethod):
            defined = defined.__func__
        if not callable(defined):
            raise TypeError(f"{environment.name} is a {type(defined).__name__}, not a function")
        self.fun: Callable[..., Any] = defined

    def _run(self, program: Program) -> None:
        owner = self._environment.owner
        if owner is None or "super" not in program.reads:
            exec(program.code, self._namespace)
            return
        # super() without arguments needs a cell __class__, which only an enclosing scope can give
        exec(_inside_function(self.text, self._environment.flags), self._namespace)
        self._namespace.update(self._namespace.pop("__define__")(owner))

    def refresh(self) -> None:
        """Lets the code see its globals as they are now."""
        namespace, around = self._namespace, self._environment.globals
        for name in self._live:
            if name in around:
                namespace[name] = around[name]
            elif name in namespace:
                namespace.pop(name, None)
        for name, cell in self._cells:
            try:
                namespace[name] = cell.cell_contents
            except ValueError:
                pass  # not assigned yet


def _inside_function(text: str, flags: int) -> CodeType:
    tree = ast.parse(_straightened(text))
    around = ast.parse("def __define__(__class__):\n    return locals()")
    function = around.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body[:0] = tree.body
    return _compile_exactly(around, flags)


def text_behind(frame: FrameType) -> str | None:
    """The text from a parameter that this frame runs; None for ordinary code."""
    return frame.f_globals.get(_TEXT) if frame.f_code.co_filename == RUNNING else None
