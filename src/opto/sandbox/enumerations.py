"""Enumerations as code in `inprocess` makes them: no member, and so no method, has a name that a text may not spell.

`Enum("E", {"__reduce__": ...})` makes a class whose methods libraries then call. Imports `policy`.
"""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Mapping
from typing import Any

from opto.errors import SandboxForbiddenError
from opto.sandbox import policy

__all__ = ["STAND_INS"]


class _Named(enum.EnumMeta):
    def __call__(cls, value: Any, *rest: Any, **more: Any) -> Any:
        if not cls.__members__ and (rest or "names" in more):
            names, *rest = rest or (more.pop("names"),)  # type: ignore[assignment]
            more.setdefault("module", sys._getframe(1).f_globals.get("__name__"))
            return super().__call__(value, _permitted(names), *rest, **more)
        return super().__call__(value, *rest, **more)

    def __instancecheck__(cls, value: Any) -> bool:
        return type.__instancecheck__(_REAL.get(cls, cls), value)

    def __subclasscheck__(cls, kind: type) -> bool:
        return type.__subclasscheck__(_REAL.get(cls, cls), kind)


def _permitted(names: Any) -> Any:
    """What makes the same members, of names that were looked at."""
    if isinstance(names, str):
        names = str.__str__(names).replace(",", " ").split()
    pairs = list(names.items()) if isinstance(names, Mapping) else list(names)
    listed = [pair if isinstance(pair, str) else tuple(pair) for pair in pairs]
    for name in (pair if isinstance(pair, str) else pair[0] for pair in listed):
        if type(name) is not str or policy.refused(name):
            raise SandboxForbiddenError(f"the code may not use {name!r} as the name of a member")
    return listed


def _made(base: Any) -> Any:
    def fill(body: Any) -> None:
        body["__module__"], body["__qualname__"] = base.__module__, base.__qualname__

    return types.new_class(base.__name__, (base,), {"metaclass": _Named}, fill)


_BASES = ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag")
_REAL: dict[Any, Any] = {_made(vars(enum)[name]): vars(enum)[name] for name in _BASES if name in vars(enum)}
STAND_INS: dict[int, Any] = {id(real): stand_in for stand_in, real in _REAL.items()}
"""What the code sees instead, by the id of the class of the library."""
