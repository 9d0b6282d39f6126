"""Defines the function of a text, in a worker or, for `unsafe`, in the program.

Imports leaves and `value_codec`.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from opto.execution import OMITTED_DEFAULT, Scope, Shape
from opto.program import DEFINE, TEXT, Program, compiled, compiled_inside
from opto.sandbox.values.value_codec import encode

__all__ = ["LiveProgram", "ProgramNames", "shape_of", "wanted_names"]


class LiveProgram:
    """A text and its globals, `around`. A text that only defines runs once, others run for each call."""

    def __init__(self, text: str, name: str, *, module: str, flags: int = 0, owner: type | None = None) -> None:
        self.text, self.name, self.module, self.flags, self.owner = text, name, module, flags, owner
        self.program: Program = compiled(text, flags)
        self.around: dict[str, Any] = {}
        self._namespace: dict[str, Any] = {}
        self._function: Callable[..., Any] | None = None

    def put(self, name: str, value: Any) -> None:
        """Gives the global `name` a new value."""
        self.around[name] = value
        if name not in self.program.writes:
            self._namespace[name] = value

    def take(self, name: str) -> None:
        """Removes the global `name`."""
        self.around.pop(name, None)
        if name not in self.program.writes:
            self._namespace.pop(name, None)

    def function(self) -> Callable[..., Any]:
        """The function, defined now unless it is already; KeyError if the text has none of this name."""
        if self._function is None or not self.program.lasting:
            self._function = self._define()
        return self._function

    def _define(self) -> Callable[..., Any]:
        namespace = self._namespace = {
            **self.around,
            "__builtins__": builtins,
            "__name__": self.module,
            TEXT: self.text,
        }
        if self.owner is not None and self.program.needs_class:
            exec(compiled_inside(self.text, self.owner.__name__, self.flags), namespace)
            namespace.update(namespace.pop(DEFINE)(self.owner))
        else:
            exec(self.program.code, namespace)
        if self.name not in self.program.writes:
            raise KeyError(self.name)
        defined = namespace[self.name]
        if isinstance(defined, staticmethod | classmethod):
            defined = defined.__func__
        if not callable(defined):
            raise TypeError(f"{self.name} is a {type(defined).__name__}, not a function")
        function: Callable[..., Any] = defined
        return function


class ProgramNames(NamedTuple):
    """The names in a text, as a worker reports them: the fields of `Program` that are plain data."""

    reads: frozenset[str]
    writes: frozenset[str]
    dynamic: bool
    imports: frozenset[str]
    names: frozenset[str]


def wanted_names(program: Program | ProgramNames, scope: Scope) -> set[str]:
    """The globals that a text may read from its scope."""
    names: Mapping[str, Any] = scope.names
    reads = set(program.reads | set(names)) if program.dynamic else set(program.reads)
    return reads - program.writes


def shape_of(function: Callable[..., Any]) -> Shape:
    """How the function is called; defaults that are not plain data are `OMITTED_DEFAULT`."""
    if inspect.isasyncgenfunction(function):
        kind = "async generator"
    elif inspect.iscoroutinefunction(function):
        kind = "coroutine"
    else:
        kind = "generator" if inspect.isgeneratorfunction(function) else "plain"
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return Shape(kind, (("args", 2, False, None), ("kwargs", 4, False, None)))
    doc = function.__doc__ if isinstance(function.__doc__, str) else None
    return Shape(kind, tuple(map(_parameter, parameters)), doc)


def _parameter(parameter: inspect.Parameter) -> tuple[str, int, bool, Any]:
    if parameter.default is inspect.Parameter.empty:
        return parameter.name, int(parameter.kind), False, None
    try:
        encode(parameter.default)
    except Exception:  # noqa: BLE001 - any object may stand there
        return parameter.name, int(parameter.kind), True, OMITTED_DEFAULT
    return parameter.name, int(parameter.kind), True, parameter.default
