"""Rebuilds values of the program in a worker: functions, classes, stand-ins for objects that stayed behind.

Runs in workers; pickles written by `to_worker` name these functions. Imports leaves only.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import marshal
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from types import CellType, FunctionType, ModuleType
from typing import Any, cast

from opto.errors import SandboxValueError

__all__ = [
    "CLASSES",
    "GLOBALS",
    "SOURCES",
    "Absent",
    "HostObject",
    "absent",
    "cached",
    "class_of",
    "environment",
    "fill_function",
    "globals_of",
    "host_object",
    "install_sources",
    "make_function",
    "module_of",
    "use_channel",
]

GLOBALS: dict[str, dict[str, Any]] = {}
"""The globals of the program's modules, as far as functions that came here read them."""

CLASSES: dict[int, Any] = {}
"""Classes that came once and are meant by number since."""

SOURCES: dict[str, tuple[str, bool]] = {}
"""Modules of the program that may be imported here: their text, and whether they are packages."""


def globals_of(module: str) -> dict[str, Any]:
    """The globals that stand for those of a module of the program."""
    known = GLOBALS.get(module)
    if known is None:
        known = GLOBALS[module] = {"__builtins__": builtins, "__name__": module}
    return known


def make_function(code: bytes, module: str, name: str, cells: int) -> FunctionType:
    """A function without its closure, defaults and attributes, which `fill_function` adds."""
    closure = tuple(CellType() for _ in range(cells))
    return FunctionType(marshal.loads(code), globals_of(module), name, None, closure)


def fill_function(function: FunctionType, state: dict[str, Any]) -> None:
    """Adds cells, attributes and defaults, which may refer to the function itself."""
    for cell, content in zip(function.__closure__ or (), state.pop("cells"), strict=True):
        if content:
            cell.cell_contents = content[0]
    function.__dict__.update(state.pop("attributes"))
    for name, value in state.items():
        setattr(function, name, value)


def class_of(number: int) -> Any:
    """A class that was sent before."""
    return CLASSES[number]


def module_of(name: str, inside: Sequence[str] = ()) -> ModuleType:
    """A module, imported here, and modules `inside` of it where they can be."""
    module = importlib.import_module(name)
    for inner in inside:
        with suppress(ImportError):
            importlib.import_module(inner)
    return module


def cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """A function with an empty cache of its results."""
    return lru_cache(**parameters)(function)


class Absent:
    """Stands for an object that stayed in the program; using it raises an error that says so."""

    __slots__ = ("_why",)

    def __init__(self, why: str) -> None:
        object.__setattr__(self, "_why", why)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise SandboxValueError(self._why)

    def __setattr__(self, name: str, value: object) -> None:
        raise SandboxValueError(self._why)

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise SandboxValueError(self._why)

    __call__ = __iter__ = __len__ = __getitem__ = __contains__ = __add__ = __enter__ = __exit__ = _refuse
    __str__ = __int__ = __float__ = __bool__ = __instancecheck__ = __subclasscheck__ = _refuse

    def __repr__(self) -> str:
        return "<an object that stayed outside of the sandbox>"


def absent(why: str) -> Absent:
    """Makes an `Absent`. Pickles name this function and not the class, as results may be of the classes they name."""
    return Absent(why)


_CHANNEL: list[Callable[[int, str, tuple[Any, ...], dict[str, Any]], Any]] = []


def use_channel(ask: Callable[[int, str, tuple[Any, ...], dict[str, Any]], Any]) -> None:
    """Sets how calls reach the program."""
    _CHANNEL[:] = [ask]


class HostObject:
    """Stands for an object of the program that may be called from here, itself and its public methods."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _CHANNEL[0](self._number, "", args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> Any:
            return _CHANNEL[0](self._number, name, args, kwargs)

        return method


def host_object(number: int) -> HostObject:
    """Makes a `HostObject`; a function for the same reason as `absent`."""
    return HostObject(number)


def environment(in_bytes: bool) -> Any:
    """The environment here, in place of the program's, which holds keys."""
    return os.environb if in_bytes else os.environ


class _Sources:
    """Imports modules of the program from their texts."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        known, loader = SOURCES.get(name), cast(Any, self)
        return None if known is None else importlib.machinery.ModuleSpec(name, loader, is_package=known[1])

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        GLOBALS.setdefault(name, vars(module))
        exec(compile(SOURCES[name][0], f"<{name}>", "exec", dont_inherit=True), vars(module))


def install_sources() -> None:
    """Lets modules whose texts are in `SOURCES` be imported."""
    if not any(isinstance(finder, _Sources) for finder in sys.meta_path):
        finder: Any = _Sources()
        sys.meta_path.append(finder)
