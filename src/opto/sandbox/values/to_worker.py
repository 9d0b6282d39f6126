"""How values get into the sandbox: a pickle in which the program's own functions and classes travel by value.

What the Python installation holds is imported there; functions of the program are written as code, without their
modules, classes by `cloudpickle`. An object that cannot travel, or must not, is replaced by an `Absent`, which raises
an error when it is used. Imports leaves, `installation` and `from_host`.
"""

from __future__ import annotations

import copyreg
import io
import marshal
import os
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path, PosixPath
from types import FunctionType, ModuleType
from typing import Any
from uuid import UUID

from cloudpickle import cloudpickle

from opto.errors import SandboxValueError
from opto.execution import reducer_of
from opto.sandbox.installation import readable_paths
from opto.sandbox.worker import from_host

__all__ = ["ImportedModule", "Serializer", "attributes_of", "by_reference", "is_atom", "is_installed"]

_PROTOCOL = 4
_ATOMS = (int, float, str, bool, type(None), bytes, complex, range, type(Ellipsis), type(NotImplemented))


_HARMLESS = frozenset(
    (date, datetime, timedelta, Decimal, Fraction, UUID, PosixPath, OrderedDict, Counter, deque, bytearray)
)


def is_atom(value: Any) -> bool:
    """Is this a value that cannot change?"""
    return type(value) in _ATOMS


@lru_cache(maxsize=4096)
def is_installed(module: str) -> bool:
    """Does this module belong to the Python installation (or to this package), so that a worker can import it?"""
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root == "opto":
        return root != "__main__"
    loaded = sys.modules.get(root)
    spec = getattr(loaded, "__spec__", None)
    places = [getattr(loaded, "__file__", None), *(getattr(spec, "submodule_search_locations", None) or ())]
    paths = [Path(place).resolve() for place in places if place]
    return any(path.is_relative_to(top) for path in paths for top in readable_paths())


def by_reference(thing: Any) -> bool:
    """Can a worker import this class or function by its name?"""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not module or not name or "<" in name or not is_installed(module):
        return False
    at: Any = sys.modules.get(module)
    for part in name.split("."):
        at = getattr(at, part, None)
    return at is thing


class ImportedModule:
    """A module that the worker imports, with some of the modules inside."""

    def __init__(self, module: ModuleType, inside: Sequence[str]) -> None:
        self._names = module.__name__, tuple(inside)

    def __reduce__(self) -> tuple[Any, ...]:
        return from_host.module_of, self._names


class Serializer:
    """Writes values for one worker, and remembers which classes that worker has.

    `allowed` are the objects that code may call back; they are never written, only named by their place.
    """

    def __init__(self, allowed: Sequence[Any]) -> None:
        self.places = {id(thing): place for place, thing in enumerate(allowed)}
        self._sent: dict[type, int] = {}
        self.classes: list[tuple[int, bytes]] = []
        """Classes to send before the next message."""
        self.known: dict[tuple[str, str], type] = {}
        """The classes that a result may be of."""

    def dumps(self, value: Any, *, inline: bool = False, strict: bool = False) -> bytes:
        """The value as bytes; SandboxValueError if it cannot be written at all (`strict`: with all its parts)."""
        buffer = io.BytesIO()
        try:
            _Writer(buffer, self, inline, strict).dump(value)
        except SandboxValueError:
            raise
        except RecursionError:
            raise SandboxValueError("A value is nested too deeply to travel into the sandbox.") from None
        except Exception as error:
            raise SandboxValueError(
                f"A {type(value).__name__} cannot travel into the sandbox ({type(error).__name__}: {error}): pass "
                'plain data, or let the code run in your program, at your own risk: with opto.sandbox.using("unsafe")'
            ) from error
        return buffer.getvalue()

    def number_of(self, cls: type) -> int:
        """The number by which the worker knows a class; the first time it is put among `classes`."""
        number = self._sent.get(cls)
        if number is None:
            number = self._sent[cls] = len(self._sent)
            self.classes.append((number, self.dumps(cls, inline=True)))
        return number

    def note(self, cls: type, inside: bool = False) -> None:
        """A result may be of this class. One `inside` of a class may be that class before it got slots."""
        name = cls.__module__, cls.__qualname__
        if not (inside and name in self.known):
            self.known[name] = cls


class _Writer(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: Any, serializer: Serializer, inline: bool, strict: bool) -> None:
        super().__init__(file, protocol=_PROTOCOL)
        self._serializer, self._inline, self._strict = serializer, inline, strict

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        place = self._serializer.places.get(id(obj))
        if place is not None:
            return from_host.host_object, (place,)
        if kind is from_host.Absent:
            return from_host.absent, (obj._why,)
        if kind is FunctionType:
            return NotImplemented if by_reference(obj) else _function(obj)
        if kind is ModuleType:
            return from_host.module_of, (obj.__name__,)
        if isinstance(obj, type):
            return self._class(obj)
        return self._instance(obj, kind)

    def _class(self, cls: type) -> Any:
        if cls.__module__ != "builtins":
            self._serializer.note(cls, self._inline)
        if cls.__module__ == "builtins" or by_reference(cls):
            return super().reducer_override(cls)
        if self._inline:
            reduced = cloudpickle._dynamic_class_reduce(cls)
            reduced[2][0]["__qualname__"] = cls.__qualname__  # else that of a class in another's body is lost
            return reduced
        return from_host.class_of, (self._serializer.number_of(cls),)

    def _instance(self, obj: Any, kind: type) -> Any:
        write = reducer_of(kind)
        if write is not None:
            return write(obj)
        if kind in _HARMLESS:
            return NotImplemented
        if kind in _WRAPPERS:
            return NotImplemented if by_reference(obj) else _WRAPPERS[kind](obj)
        if isinstance(obj, os._Environ):
            return from_host.environment, (obj is not os.environ,)
        if not self._strict and by_reference(kind) and not self._whole(obj):
            return self._absence(kind)
        table: Mapping[type, Any] = getattr(self, "dispatch_table", copyreg.dispatch_table)
        reduce = table.get(kind)
        try:
            reduced = obj.__reduce_ex__(_PROTOCOL) if reduce is None else reduce(obj)
        except Exception:  # noqa: BLE001 - locks, files, connections: each refuses in its own way
            return self._absence(kind)
        if isinstance(reduced, str):  # its name: it is a global of a module
            return (
                NotImplemented if is_installed(getattr(obj, "__module__", None) or "builtins") else self._absence(kind)
            )
        return reduced

    def _whole(self, obj: Any) -> bool:
        """Can an object of an installed class travel whole? A client without its lock still has its key."""
        if callable(obj) and type(obj).__module__.partition(".")[0] == "opto":
            return False  # models and what wraps them
        try:
            self._serializer.dumps(obj, strict=True)
        except SandboxValueError:
            return False
        return True

    def _absence(self, kind: type) -> Any:
        why = (
            f"A {kind.__qualname__} stays in the program, it does not travel into the sandbox: pass plain data "
            "instead, or allow calls of it: ProcessExecutor(allow=[...])"
        )
        if self._strict:
            raise SandboxValueError(why)
        return from_host.absent, (why,)


def _cached_property(obj: Any) -> Any:
    return cached_property, (obj.func,), {name: part for name, part in vars(obj).items() if name != "lock"}


_WRAPPERS: dict[type, Callable[[Any], Any]] = {
    type(lru_cache(is_installed)): lambda obj: (from_host.cached, (obj.__wrapped__, obj.cache_parameters())),
    cached_property: _cached_property,
}
"""Wrappers of functions, which pickle would write as a name, or not at all because of a lock."""


def attributes_of(obj: Any) -> dict[str, Any]:
    """The attributes of an object, in its dictionary and in slots."""
    slots = [getattr(cls, "__slots__", ()) for cls in type(obj).__mro__]
    names = [name for group in slots for name in ([group] if isinstance(group, str) else group)]
    held = {name: getattr(obj, name) for name in names if not name.startswith("__") and hasattr(obj, name)}
    return {**held, **getattr(obj, "__dict__", {})}


def _function(function: FunctionType) -> Any:
    code = function.__code__
    cells = function.__closure__ or ()
    state = {
        "cells": [_content(cell) for cell in cells],
        "attributes": {k: v for k, v in vars(function).items() if k != "__wrapped__"},
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "__module__": function.__module__,
    }
    made = (marshal.dumps(code), function.__module__ or "__main__", function.__name__, len(cells))
    return from_host.make_function, made, state, None, None, from_host.fill_function


def _content(cell: Any) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:
        return []  # not assigned yet
