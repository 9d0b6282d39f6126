"""Code that an optimizer may rewrite: from text to a callable.

A text is compiled once (`opto.program`); one that only imports and defines is run once per `Environment`, and a call
only refreshes the globals that it reads. Imports leaves only.
"""

from __future__ import annotations
import __future__

import builtins
from collections.abc import Callable
from types import CellType
from typing import Any

from opto.execution import Scope
from opto.program import CODE_FILE, DEFINE, RUNNING, TEXT, Program, compiled, compiled_inside, text_behind

__all__ = ["CODE_FILE", "RUNNING", "Definition", "Environment", "Program", "compiled", "define", "text_behind"]

_ANNOTATIONS = __future__.annotations.compiler_flag
_ABSENT = object()


class Environment:
    """Where code from a parameter runs: the globals of a function as they are, the caller's locals as they were.

    `captured` is a snapshot taken when the function was decorated; all copies share it and none copies it. Variables
    that the function closes over and the snapshot had not yet are read from their cells. `owner` is the class in whose
    body the function stands, for `super()`.
    """

    __slots__ = ("captured", "cells", "flags", "globals", "name", "owner", "scope")

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
        self.scope: Scope | None = None


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
            TEXT: text,
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
        exec(compiled_inside(self.text, self._environment.flags), self._namespace)
        self._namespace.update(self._namespace.pop(DEFINE)(owner))

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
