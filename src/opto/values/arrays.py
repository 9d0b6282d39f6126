"""Rows for numpy's arrays and numbers: dtype and shape stay as they are, or the value is refused."""

from __future__ import annotations

import re
import sys
from typing import Any

from opto.errors import ReplyError
from opto.show import text_of
from opto.values.scalars import finite, truth, whole
from opto.values.value_types import MISSING, Place, ValueType, Wanted, convert, literal, no_such, plain, register
from opto.values.written_data import Call, Name, data_of

__all__: list[str] = []  # rows only

_GAP = re.compile(r"(?<=[\w.\]'\"])\s+(?=[-+\w.\['\"])")


def _array(said: Any, wanted: Wanted) -> Any:
    numpy: Any = sys.modules["numpy"]
    current = wanted.current
    data = _items(said)
    given = numpy.asarray(data) if current is MISSING or current.dtype.kind != "O" else _objects(data, current)
    if current is MISSING:
        return given
    if given.shape != current.shape:
        raise ReplyError(f"an array of the shape {current.shape} is expected, not of {given.shape}")
    if current.dtype.kind != "O":
        given = _of_dtype(given, current.dtype, wanted)
    return finite(given.view(type(current)) if type(current) is not numpy.ndarray else given, current)


def _items(said: Any) -> Any:
    """What is said as nested lists; numpy's own form of text has blanks in the place of commas."""
    data = data_of(said)
    if isinstance(data, Call) and data.name.rpartition(".")[2] in ("array", "ndarray") and data.arguments:
        data = data.arguments[0]
    if isinstance(data, str) and data.strip().startswith("["):
        data = data_of(_GAP.sub(", ", data.strip()))
    if isinstance(data, (str, bytes)) and isinstance(said, str) and said.strip().startswith("["):
        raise ReplyError(f"{text_of(said, 60)!r} is not an array that can be read: write nested lists")
    return data


def _objects(data: Any, current: Any) -> Any:
    """An array of objects, each read as the one that stands in its place."""
    numpy: Any = sys.modules["numpy"]
    found = numpy.empty(current.shape, dtype=object)
    for place in numpy.ndindex(current.shape):
        item = data
        for index in place:
            item = item[index]
        found[place] = convert(item, current[place])
    return found


def _of_dtype(given: Any, dtype: Any, wanted: Wanted) -> Any:
    """The array in another dtype; ReplyError where that would change what is said."""
    numpy: Any = sys.modules["numpy"]
    if dtype.kind == "b":
        flat = [truth(item, wanted) for item in given.ravel().tolist()]
        return numpy.array(flat, dtype=dtype).reshape(given.shape)
    if dtype.kind in "iufc" and (given.dtype.kind in "bO" or (given.dtype.kind == "c" and dtype.kind != "c")):
        raise ReplyError(f"an array of numbers is expected, not of {_kind_of(given)}")
    if dtype.kind in "iu" and given.dtype.kind == "f":
        finite(given, MISSING)
        fractions = given[given != numpy.trunc(given)]
        whole(float(fractions.flat[0]) if fractions.size else 0.0, wanted.rounds)
        given = numpy.trunc(given)
    with numpy.errstate(all="ignore"):
        cast = given.astype(dtype)
    if dtype.kind in "iu" and given.dtype.kind in "iuf" and not numpy.all(cast == given):
        raise ReplyError(f"a number does not fit into {dtype}")
    if dtype.kind in "US" and not numpy.all(cast == given):
        raise ReplyError(f"a text is longer than {dtype} holds")
    return cast


def _kind_of(given: Any) -> str:
    return "true and false" if given.dtype.kind == "b" else "texts" if given.dtype.kind in "US" else "other things"


def _nested(value: Any) -> Any:
    """Nested lists of Python's values, floats as short as they can be written."""
    if value.ndim:
        return [_nested(item) if getattr(item, "ndim", 0) else _one(item) for item in value]
    return _one(value[()])


def _one(item: Any) -> Any:
    kind = getattr(item, "dtype", None)
    if kind is None:
        return plain(item)
    if kind.kind == "f":
        return float(str(item))
    if kind.kind in "c":
        return str(complex(item)).strip("()")
    return str(item) if kind.kind in "Mm" else item.item()


def _array_words(value: Any) -> str:
    return f"nested lists of the shape {value.shape}, of {value.dtype}"


def _array_literal(value: Any, place: Place) -> str | None:
    numpy: Any = sys.modules["numpy"]
    if value.dtype.kind not in "biufU" or type(value) is not numpy.ndarray:
        return None
    text = literal(value.tolist(), place)
    return f"{place(numpy.array)}({text}, dtype={str(value.dtype)!r})" if text else None


def _scalar(said: Any, wanted: Wanted) -> Any:
    numpy: Any = sys.modules["numpy"]
    if type(said) is wanted.kind:
        return finite(said, wanted.current)
    data = data_of(said)
    if isinstance(data, Call) and len(data.arguments) == 1 and data.name.rpartition(".")[2] == wanted.kind.__name__:
        data = data.arguments[0]
    if issubclass(wanted.kind, numpy.bool_):
        data = data.path.rpartition(".")[2].rstrip("_") if isinstance(data, Name) else data
        return wanted.kind(truth(data, wanted))
    if issubclass(wanted.kind, numpy.number):
        pattern = 1j if issubclass(wanted.kind, numpy.complexfloating) else 1.0
        pattern = 1 if issubclass(wanted.kind, numpy.integer) else pattern
        if not isinstance(said, str) or not isinstance(data, (list, tuple, dict, set)):
            said = data
        if wanted.current is not MISSING and not numpy.isfinite(wanted.current):
            pattern = wanted.current.item()
        data = convert(said, pattern, rounds=wanted.rounds)
    found = numpy.asarray(data).astype(numpy.dtype(wanted.kind))[()]
    if issubclass(wanted.kind, numpy.integer) and found != data:
        raise ReplyError(f"{data} does not fit into {wanted.kind.__name__}")
    if type(found) is not wanted.kind:
        raise no_such(said, wanted.kind)
    return finite(found, wanted.current)


def _scalar_literal(value: Any, place: Place) -> str | None:
    if value.dtype.kind not in "biufU":
        return None
    text = literal(value.item(), place)
    return None if text is None else f"{place(type(value))}({text})"


register("numpy.ndarray", ValueType(_array, _nested, _array_words, literal=_array_literal))
register(
    "numpy.generic",
    ValueType(_scalar, _one, lambda value: f"a value of {value.dtype}", literal=_scalar_literal),
)
