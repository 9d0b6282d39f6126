"""Values ↔ JSON: how results leave the sandbox. Decoding makes plain values and known classes, and runs no code.

Trees only: one object in two places comes back as two equal ones, and an object that contains itself is refused, so
that no short message can unfold into a huge value. Imports leaves only, and numpy only for numpy's own values.
"""

from __future__ import annotations

import datetime
import enum
import re
import sys
from binascii import a2b_base64, b2a_base64
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from pathlib import Path, PurePath
from types import MemberDescriptorType, SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from opto.errors import SandboxValueError
from opto.execution import OMITTED_DEFAULT

__all__ = ["decode", "encode"]

T = TypeVar("T")

_BIG = 10**4000  # Python refuses to write or read longer numbers in decimal
_DEEPEST = 200
_LONGEST_NUMBER = 1 << 14  # bits
_MOST_ALIKE = 64
_ZONES = (type(None), datetime.timezone, ZoneInfo)
_PLAIN: tuple[Any, ...] = (str, int, float, bytes)
_FACTORIES: dict[str, Any] = {t.__name__: t for t in (list, dict, set, int, float, str, tuple, bool)}
_ARRAY = re.compile(r"[<>|=]?([biufcSUV?]\d*|[mM]8(\[\d*\w+\])?)\Z")


def encode(value: Any, depth: int = 0) -> Any:
    """`value` as a tree that `json` can write; SandboxValueError names the first part that cannot travel."""
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is float:
        return value
    if kind is int:
        return value if -_BIG < value < _BIG else {"$int": hex(value)}
    if depth > _DEEPEST:
        raise SandboxValueError("The result is nested too deeply, or contains itself.")
    if kind is list:
        return [encode(item, depth + 1) for item in value]
    if kind is dict:
        return _dict(value, depth)
    writer = _WRITERS.get(kind)
    if writer is not None:
        tag, convert = writer
        return {tag: encode(convert(value), depth + 1)}
    return _rarer(value, kind, depth)


def _dict(value: dict[Any, Any], depth: int) -> Any:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: encode(item, depth + 1) for key, item in value.items()}
    return {"$dict": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]}


def _rarer(value: Any, kind: type, depth: int) -> Any:
    if kind.__module__ == "numpy" and (array := _from_numpy(value)) is not None:
        return {"$array": array}
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if isinstance(value, enum.Flag):
        return {"$flag": [kind.__module__, kind.__qualname__, encode(value.value)]}
    if isinstance(value, enum.Enum):
        return {"$enum": [kind.__module__, kind.__qualname__, value.name]}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {"$named": [kind.__module__, kind.__qualname__, [encode(item, depth + 1) for item in value]]}
    for plain in _PLAIN:
        if isinstance(value, plain) and not getattr(value, "__dict__", None):
            return encode(plain(value), depth)
    if isinstance(value, BaseException):
        raise SandboxValueError(f"The result holds an exception, {kind.__name__}, which is not data: raise it.")
    return {"$object": [kind.__module__, kind.__qualname__, encode(_state(value), depth + 1)]}


def _state(value: Any) -> dict[str, Any]:
    """The attributes of an object of an ordinary class; SandboxValueError for other things."""
    kind: Any = type(value)
    own = kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__
    own = own or any(base.__module__ == "builtins" for base in kind.__mro__[:-1])  # a list with methods, say
    if own or callable(value) or kind.__module__ in ("builtins", "types", "_io"):
        raise SandboxValueError(
            f"A {kind.__name__} cannot leave the sandbox: return plain data instead, or let the code run in your "
            'program, at your own risk: with opto.sandbox.using("unsafe")'
        )
    slots = {name: getattr(value, name) for name in _slots(kind) if hasattr(value, name)}
    return {**slots, **getattr(value, "__dict__", {})}


def _slots(cls: type) -> list[str]:
    """The names of its slots, as member descriptors."""
    return [name for base in cls.__mro__ for name, slot in vars(base).items() if isinstance(slot, MemberDescriptorType)]


def _from_numpy(value: Any) -> Any:
    numpy = sys.modules["numpy"]
    if not isinstance(value, numpy.ndarray | numpy.generic) or isinstance(value, numpy.matrix):
        return None
    if value.dtype.names is not None or not _ARRAY.match(value.dtype.str):
        return None
    data = b2a_base64(numpy.ascontiguousarray(value).tobytes(), newline=False).decode()
    return [value.dtype.str, None if isinstance(value, numpy.generic) else list(value.shape), data]


def _default_dict(value: defaultdict[Any, Any]) -> list[Any]:
    names = [name for name, factory in _FACTORIES.items() if factory is value.default_factory]
    return [names[0] if names else None, dict(value)]


def _moment(value: Any) -> list[Any]:
    zone, offset = value.tzinfo, value.utcoffset()
    if type(zone) not in _ZONES:  # of another package: what it says of this moment
        zone = None if offset is None else datetime.timezone(offset)
    return [value.replace(tzinfo=None).isoformat(), value.fold, zone]


_WRITERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    tuple: ("$tuple", list),
    set: ("$set", list),
    frozenset: ("$frozenset", list),
    bytes: ("$bytes", lambda v: b2a_base64(v, newline=False).decode()),
    bytearray: ("$bytearray", lambda v: b2a_base64(v, newline=False).decode()),
    complex: ("$complex", lambda v: [v.real, v.imag]),
    range: ("$range", lambda v: [v.start, v.stop, v.step]),
    Decimal: ("$decimal", str),
    Fraction: ("$fraction", lambda v: [v.numerator, v.denominator]),
    datetime.date: ("$date", datetime.date.isoformat),
    datetime.time: ("$time", _moment),
    datetime.datetime: ("$datetime", _moment),
    datetime.timezone: ("$timezone", lambda v: list(v.__getinitargs__())),
    ZoneInfo: ("$zone", lambda v: v.key),
    datetime.timedelta: ("$timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    UUID: ("$uuid", str),
    OrderedDict: ("$ordered", lambda v: [list(pair) for pair in v.items()]),
    Counter: ("$counter", dict),
    defaultdict: ("$defaultdict", _default_dict),
    deque: ("$deque", lambda v: [list(v), v.maxlen]),
    SimpleNamespace: ("$namespace", lambda v: dict(vars(v))),
    type(OMITTED_DEFAULT): ("$omitted", lambda v: None),
}


# --- decoding: the tree may be forged -----------------------------------------------

Known = Mapping[tuple[str, str], type]
"""The classes that may be made, by module and qualified name: those that the program sent in."""


def decode(tree: Any, known: Known) -> Any:
    """The value of a tree; SandboxValueError for one that `encode` does not write or whose classes are not known."""
    try:
        return _read(tree, known)
    except SandboxValueError:
        raise
    except (ArithmeticError, AttributeError, ImportError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise SandboxValueError(f"The sandbox sent a damaged value: {type(error).__name__}: {error}") from None


def _read(tree: Any, known: Known) -> Any:
    if isinstance(tree, list):
        return [_read(item, known) for item in tree]
    if not isinstance(tree, dict):
        return tree
    tag = next(iter(tree), "")
    if not tag.startswith("$"):
        return {key: _read(item, known) for key, item in tree.items()}
    (content,) = tree.values()
    if tag in _OF_CLASSES:
        return _OF_CLASSES[tag](content, known)
    return _READERS[tag](_read(content, known))


def _class(content: Iterable[Any], known: Known, base: type) -> Any:
    module, name, _ = content
    cls = known.get((module, name))
    if cls is None or not issubclass(cls, base):
        raise SandboxValueError(
            f"The result holds an object of {module}.{name}, a class that the code made itself: return plain data, or "
            "an object of a class that the code was given."
        )
    return cls


def _object(content: Any, known: Known) -> Any:
    """An instance made without its constructor."""
    cls, state = _class(content, known, object), _exactly(dict, _read(content[2], known))
    if hasattr(cls, "__del__") or cls.__reduce_ex__ is not object.__reduce_ex__:
        raise SandboxValueError(f"An object of {cls.__qualname__} cannot leave the sandbox: making one runs code.")
    made, slots = object.__new__(cls), _slots(cls)
    for name in slots:
        if name in state:
            object.__setattr__(made, name, state[name])
    if hasattr(made, "__dict__"):
        made.__dict__.update({name: value for name, value in state.items() if name not in slots})
    return made


def _named(content: Any, known: Known) -> Any:
    cls, items = _class(content, known, tuple), _exactly(list, _read(content[2], known))
    if len(items) != len(cls._fields):
        raise SandboxValueError(f"The sandbox sent a {cls.__qualname__} of {len(items)} fields.")
    return tuple.__new__(cls, items)


def _flag(content: Any, known: Known) -> Any:
    cls = _class(content, known, enum.Flag)
    (value,) = _numbers(content[2:])
    return cls(value)


def _member(content: Any, known: Known) -> Any:
    return _class(content, known, enum.Enum)[content[2]]


def _array(content: Any) -> Any:
    kind, shape, data = _exactly(list, content)
    if not _ARRAY.match(kind):
        raise SandboxValueError(f"The sandbox sent an array of the unknown kind {kind!r}.")
    numpy = import_module("numpy")
    wanted = numpy.dtype(kind)
    if wanted.itemsize == 0 and shape is None:
        return wanted.type()
    stored = numpy.dtype("u1") if wanted.kind == "b" else wanted
    flat = numpy.frombuffer(bytearray(a2b_base64(data)), dtype=stored)
    if wanted.kind == "b":
        flat = flat != 0  # any other byte is no truth value, and what numpy then does is not defined
    elif wanted.kind == "U" and flat.size and flat.view(wanted.byteorder + "u4").max() > sys.maxunicode:
        raise SandboxValueError("The sandbox sent an array of letters that do not exist.")
    return flat[0] if shape is None else flat.reshape(_exactly(list, shape))


def _exactly(kind: type[T], content: Any) -> T:
    """The content, which must be of exactly this kind: in place of a list, a range, which is short, would unfold."""
    if type(content) is not kind:
        raise TypeError(f"a {type(content).__name__} in place of a {kind.__name__}")
    return content


def _numbers(content: Any) -> list[Any]:
    """A list of short numbers: to compute with a very long one, or with a huge decimal, would take hours."""
    if not all(isinstance(n, int | float) for n in _exactly(list, content)):
        raise TypeError("something else in place of a number")
    if any(isinstance(n, int) and n.bit_length() > _LONGEST_NUMBER for n in content):
        raise SandboxValueError(
            f"The result holds a fraction or a range with numbers of more than {_LONGEST_NUMBER} bits: return integers."
        )
    return list(content)


def _keys(content: Any) -> list[Any]:
    """A list of keys for a set or a dict: one of many keys with the same hash would take hours to build."""
    keys = _exactly(list, content)
    if len(keys) > _MOST_ALIKE and max(Counter(map(hash, keys)).values()) > _MOST_ALIKE:
        raise SandboxValueError("The result holds a set or a dict with many keys of one hash: return a list of them.")
    return keys


def _pairs(content: Any) -> list[Any]:
    pairs = [_exactly(list, pair) for pair in _exactly(list, content)]
    _keys([key for key, _ in pairs])
    return pairs


def _moment_of(cls: Any, content: Any) -> Any:
    text, fold, zone = _exactly(list, content)
    if not isinstance(zone, _ZONES):
        raise TypeError(f"a {type(zone).__name__} in place of a time zone")
    return cls.fromisoformat(_exactly(str, text)).replace(fold=fold, tzinfo=zone)


def _zone(content: Any) -> ZoneInfo:
    try:
        return ZoneInfo(_exactly(str, content))
    except OSError:  # a folder of zones
        raise ValueError("a time zone that does not exist") from None


def _defaultdict(content: Any) -> Any:
    name, items = _exactly(list, content)
    return defaultdict(None if name is None else _FACTORIES[name], _exactly(dict, items))


def _deque(content: Any) -> Any:
    items, longest = _exactly(list, content)
    return deque(_exactly(list, items), longest)


_READERS: dict[str, Callable[[Any], Any]] = {
    "$int": lambda text: int(_exactly(str, text), 16),
    "$dict": lambda pairs: dict(_pairs(pairs)),
    "$tuple": lambda items: tuple(_exactly(list, items)),
    "$set": lambda items: set(_keys(items)),
    "$frozenset": lambda items: frozenset(_keys(items)),
    "$bytes": lambda text: a2b_base64(_exactly(str, text)),
    "$bytearray": lambda text: bytearray(a2b_base64(_exactly(str, text))),
    "$complex": lambda parts: complex(*_numbers(parts)),
    "$range": lambda parts: range(*_numbers(parts)),
    "$decimal": lambda text: Decimal(_exactly(str, text)),
    "$fraction": lambda parts: Fraction(*_numbers(parts)),
    "$date": datetime.date.fromisoformat,
    "$time": lambda parts: _moment_of(datetime.time, parts),
    "$datetime": lambda parts: _moment_of(datetime.datetime, parts),
    "$timezone": lambda parts: datetime.timezone(*_exactly(list, parts)),
    "$zone": _zone,
    "$timedelta": lambda parts: datetime.timedelta(*_numbers(parts)),
    "$uuid": lambda text: UUID(_exactly(str, text)),
    "$path": lambda text: Path(_exactly(str, text)),
    "$ordered": lambda pairs: OrderedDict(_pairs(pairs)),
    "$counter": lambda table: Counter(_exactly(dict, table)),
    "$defaultdict": _defaultdict,
    "$deque": _deque,
    "$namespace": lambda state: SimpleNamespace(**_exactly(dict, state)),
    "$array": _array,
    "$omitted": lambda _: OMITTED_DEFAULT,
}
_OF_CLASSES: dict[str, Callable[[Any, Known], Any]] = {
    "$object": _object,
    "$named": _named,
    "$enum": _member,
    "$flag": _flag,
}
