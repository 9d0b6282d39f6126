"""The globals and modules that a text reads, and those of its helper functions, kept up to date in its worker.

Imports leaves and `to_worker`.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache, partial, partialmethod
from importlib.util import decode_source
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from opto.errors import SandboxValueError
from opto.execution import Job, reducer_of
from opto.program import imports_of
from opto.sandbox.values.to_worker import (
    ImportedModule,
    Serializer,
    attributes_of,
    by_reference,
    is_atom,
    is_installed,
)
from opto.sandbox.worker import from_host
from opto.sandbox.worker.live_program import ProgramNames, wanted_names

__all__ = ["Surroundings"]

_MISSING = object()
_MOST = 1000
_FIXED = (FunctionType, ModuleType, type, type(len))
Update = tuple[str, str, "bytes | None"]


class _WatchedGlobal:
    """A global that the code may read: the names among which it stands, its last value, and how that was written.

    `asked` are all names of attributes that the code reads.
    """

    __slots__ = ("asked", "last", "names", "written")

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        self.asked: frozenset[str] = frozenset()
        self.last: Any = _MISSING
        self.written: bytes | None = None


class Surroundings:
    """The globals that one job's text can reach, as one worker knows them; `read` are the names in the text.

    `shown` are the functions of the program whose lines a traceback may show.
    """

    def __init__(self, job: Job, read: ProgramNames, serializer: Serializer) -> None:
        self._serializer = serializer
        self._watched: dict[tuple[str, str], _WatchedGlobal] = {}
        self._visited: dict[int, Any] = {}
        self._modules: set[str] = set()
        self._new_sources: dict[str, tuple[str, bool]] = {}
        self.shown: set[tuple[str, int, str]] = set()
        for name in wanted_names(read, job.scope):
            if name in job.scope.names or name not in vars(builtins):
                self._watch("", name, job.scope.names, read.names)
        for module in read.imports & _imports_of_module(job.scope.module):
            self._add_module(module)

    def updates(self) -> tuple[dict[str, tuple[str, bool]], list[Update]]:
        """The texts of modules that the worker does not have, and globals that changed since the last message.

        A global is (module, "" for the text's own; name; value as bytes, None if it is gone).
        """
        found: list[Update] = []
        ahead = list(self._watched)
        for key in ahead:  # grows while walked
            watched = self._watched[key]
            value = watched.names.get(key[1], _MISSING)
            if value is watched.last and (is_atom(value) or isinstance(value, _FIXED) or value is _MISSING):
                continue
            before = len(self._watched)
            if value is not _MISSING:
                self.visit(value)
            ahead += list(self._watched)[before:]
            watched.last = value
            written = None if value is _MISSING else self._written(key[1], value, watched.asked)
            if written != watched.written:
                watched.written = written
                found.append((*key, written))
        sources, self._new_sources = self._new_sources, {}
        return sources, found

    def _written(self, name: str, value: Any, asked: frozenset[str]) -> bytes:
        if isinstance(value, ModuleType):
            inside = _inside(value, asked)
            for inner in inside:
                self._add_module(inner)
            value = ImportedModule(value, inside)
        try:
            return self._serializer.dumps(value)
        except SandboxValueError as error:
            return self._serializer.dumps(from_host.Absent(f"{name}: {error}"))

    def _watch(self, module: str, name: str, names: Mapping[str, Any], asked: frozenset[str]) -> None:
        watched = self._watched.setdefault((module, name), _WatchedGlobal(names))
        if not asked <= watched.asked:
            watched.asked |= asked
            watched.last = _MISSING if isinstance(watched.last, ModuleType) else watched.last

    def visit(self, value: Any) -> None:
        """Finds the functions in a value, and what they read."""
        ahead, seen = [value], {}
        while ahead:
            item = ahead.pop()
            if is_atom(item) or id(item) in self._visited or id(item) in seen:
                continue
            seen[id(item)] = item
            if isinstance(item, FunctionType | ModuleType | type):
                self._visited[id(item)] = item
            ahead += self._parts(item)

    def _parts(self, item: Any) -> list[Any]:
        if isinstance(item, ModuleType):
            self._add_module(item.__name__)
            return []
        if isinstance(item, type):
            if by_reference(item) or item.__module__ == "builtins":
                return []
            held = list(vars(item).values())
            return [*held, *(part for value in held for part in _functions_of(value)), *item.__bases__]
        if isinstance(item, FunctionType):
            return [] if by_reference(item) else self._function(item)
        if isinstance(item, MethodType):
            return [item.__func__, item.__self__]
        return [*_contents(item), *_about(item)]

    def _function(self, function: FunctionType) -> list[Any]:
        code, around = function.__code__, function.__globals__
        self.shown.add((code.co_filename, code.co_firstlineno, code.co_name))
        self.shown.update((c.co_filename, c.co_firstlineno, c.co_name) for c in _inner(code))
        for name in _global_reads(code):
            if name in around:
                self._watch(function.__module__ or "__main__", name, around, _names(code))
        return [*_cell_contents(function), *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]

    def _add_module(self, name: str) -> None:
        """A module of the program, with those of the program that it imports."""
        ahead = [name]
        while ahead:
            at = ahead.pop()
            if at in self._modules or is_installed(at) or at not in sys.modules:
                continue
            text = _source(at)
            if text is not None:
                self._modules.add(at)
                self._new_sources[at] = (text, hasattr(sys.modules[at], "__path__"))
                ahead += [*imports_of(text, _package(at)), at.rpartition(".")[0]]


def _contents(item: Any) -> list[Any]:
    """The items of a container, unless there are very many."""
    if not isinstance(item, list | tuple | set | frozenset | dict) or len(item) >= _MOST:
        return []
    return list(item.values()) if isinstance(item, dict) else list(item)


def _about(item: Any) -> list[Any]:
    """The class of an object, its functions, and the attributes of an object of a class of the program."""
    kind = type(item)
    write = reducer_of(kind)
    if write is not None:
        return [kind, *_functions_of(item), *write(item)[1:3]]
    if kind.__module__ == "builtins":
        return []
    if isinstance(item, partial):
        return [item.func, item.args, item.keywords]
    held = {} if by_reference(kind) else attributes_of(item)
    return [kind, *_functions_of(item), *(held.values() if len(held) < _MOST else ())]


def _functions_of(value: Any) -> list[Any]:
    """The functions inside of a descriptor or a method."""
    names = (
        ("func",)
        if isinstance(value, cached_property | partialmethod)
        else ("__func__", "fget", "fset", "fun", "__wrapped__")
    )
    inner = [getattr(value, name, None) for name in names]
    return [f for f in (value, *inner) if isinstance(f, FunctionType)]


def _cell_contents(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue


def _inner(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inner(constant)


@lru_cache(maxsize=1024)
def _global_reads(code: CodeType) -> frozenset[str]:
    steps = (step for part in (code, *_inner(code)) for step in dis.get_instructions(part))
    return frozenset(step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))


@lru_cache(maxsize=1024)
def _names(code: CodeType) -> frozenset[str]:
    return frozenset(name for part in (code, *_inner(code)) for name in part.co_names)


def _inside(module: ModuleType, asked: frozenset[str]) -> list[str]:
    """The loaded modules inside of a package that code can reach by these names of attributes."""
    above = f"{module.__name__}."
    inner = [name for name in list(sys.modules) if name.startswith(above)]
    return sorted(name for name in inner if asked.issuperset(name[len(above) :].split(".")))


def _imports_of_module(name: str) -> frozenset[str]:
    text = None if is_installed(name) else _source(name)
    return frozenset() if text is None else imports_of(text, _package(name))


def _package(name: str) -> str:
    """The package from which relative imports of a module count."""
    return name if hasattr(sys.modules[name], "__path__") else name.rpartition(".")[0]


def _source(name: str) -> str | None:
    """The text of a loaded module; None if it has none."""
    path = getattr(sys.modules.get(name), "__file__", None)
    if not path or not path.endswith(".py"):
        return None
    try:
        with open(path, "rb") as file:
            return decode_source(file.read())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None
