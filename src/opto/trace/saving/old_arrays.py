"""Arrays out of a file that nobody vouches for: numpy's own way to unpickle them trusts what the file says.

A file may say that eight bytes of its choice are a pointer to an object (`ndarray(1, "O", b"AAAAAAAA")`, or a dtype
whose flags deny that it holds objects). Here a dtype is made from its plain code only and must then be what numpy would
have written, and an array is made empty and filled by numpy, which checks sizes. Imports the standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opto.deferred import Deferred
from opto.errors import LoadError

if TYPE_CHECKING:
    import re
else:
    re = Deferred("re")

__all__ = ["check_state", "stand_in_for"]

_CODE = r"[<>|=]?[?a-zA-Z]\d*"


class _Ndarray:
    """Stands for `numpy.ndarray` in a file: it can be named, not called."""

    def __new__(cls, *args: Any) -> Any:
        raise LoadError("the file wants to call numpy.ndarray(...), which loading does not do")


def stand_in_for(name: str, found: Any) -> Any:
    """What a file gets for a name of numpy."""
    wrap = _STAND_INS.get(name)
    return found if wrap is None else wrap(found)


def _dtype(found: Any) -> Callable[..., Any]:
    def dtype(code: Any, *_: Any) -> Any:
        if not isinstance(code, str) or re.fullmatch(_CODE, code) is None:
            raise LoadError(f"the file holds an array of the type {code!r}, which loading does not know")
        return found(code, False, True)  # a copy: what is read next must not reach numpy's own

    return dtype


def _reconstruct(found: Any) -> Callable[..., Any]:
    def reconstruct(cls: Any, shape: Any, code: Any) -> Any:
        if cls is not _Ndarray:
            raise LoadError("the file holds an array of a class of its own")
        return sys.modules["numpy"].ndarray((0,), "b")

    return reconstruct


_STAND_INS: dict[str, Callable[[Any], Any]] = {
    "ndarray": lambda found: _Ndarray,
    "dtype": _dtype,
    "_reconstruct": _reconstruct,
}


def check_state(made: Any, state: Any) -> None:
    """Refuses a state of a dtype that numpy would not have written for it."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(made, numpy.dtype):
        return
    try:
        sound = _candidate(numpy, made, state).__reduce__()[2] == state
    except Exception as error:
        raise LoadError(f"the file holds an array of a damaged type: {error}") from error
    if not sound:
        raise LoadError("the file holds an array of a type that numpy would not have written")


def _candidate(numpy: Any, made: Any, state: Any) -> Any:
    """The dtype that the state describes, built by numpy in the open."""
    _, order, base, names, fields, size = state[:6]
    if base is not None:
        return numpy.dtype(base)
    if names is not None:
        formats, offsets = zip(*(fields[name][:2] for name in names), strict=True)
        if any(part.hasobject for part in formats):
            raise ValueError("a record that holds objects")
        layout = {"names": list(names), "formats": list(formats), "offsets": list(offsets), "itemsize": size}
        return numpy.dtype(layout, align=bool(state[7] & 0x80))
    if made.kind in "mM" and len(state) > 8:
        unit, count = state[8][1][:2]
        made = numpy.dtype(f"{made.kind}8[{count}{unit.decode()}]")
    return made.newbyteorder(order)
