"""Pickle without its danger: a reader that makes values of known classes only and calls no function of a file's choice.

Plain data classes of the standard library and numpy arrays are always known. Classes of the user are known when the
caller names them; their instances are made blank and given their state, their constructors are never called.
May import: the standard library, `nodes`, `containers`, `plain_data`.
"""

from __future__ import annotations

import enum
import io
import pickle
import re
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from opto.errors import LoadError
from opto.execution import SuggestedText
from opto.trace.containers import is_bundled, own_attributes
from opto.trace.nodes import AbstractNode, ParameterNode
from opto.trace.saving.plain_data import Path, decode, node_record

__all__ = ["PROGRAM", "OldObject", "classes_in", "dumps", "loads", "loads_old", "register_maker"]

PROGRAM = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type, partial)
"""Values of these types are program, not data: files do not hold them."""

_SAFE: dict[str, str] = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "types": "SimpleNamespace",
    "uuid": "SafeUUID UUID",
    "numpy": "dtype ndarray",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    SuggestedText.__module__: "SuggestedText",
    __name__: "_stored_node",
}
_NAMES = {(module, name) for module, names in _SAFE.items() for name in names.split()}


def register_maker(function: Callable[..., Any]) -> None:
    """Lets files call `function`, which must be harmless whatever its arguments are."""
    _NAMES.add((function.__module__, function.__qualname__))


def dumps(value: Any, members: Mapping[int, Path] | None = None) -> bytes:
    """Pickles `value`, nodes without their past; objects whose id is in `members` become references.

    Raises what pickle raises, and `LoadError` if `loads` could not read the result.
    """
    buffer = io.BytesIO()
    _write(value, buffer, members or {})
    written = buffer.getvalue()
    loads(written, known=classes_in(value), resolve=lambda path: None)
    return written


def loads(data: bytes, *, known: Iterable[type] = (), resolve: Callable[[Path], Any] | None = None) -> Any:
    """Reads a pickle that `dumps` wrote. Raises LoadError for damaged data and for classes that are not known."""
    return _read(_Reader(known, resolve), data)


def loads_old(data: bytes) -> Any:
    """Reads a pickle of the earlier library; its own objects come as `OldObject`, other classes are refused."""
    return _read(_OldReader(), data)


def classes_in(value: Any) -> set[type]:
    """The classes of the user's objects inside `value`, however deep."""
    found = {type(item) for item in _walk(value) if not isinstance(item, AbstractNode)}
    return {cls for cls in found if cls.__module__.partition(".")[0] not in sys.stdlib_module_names}


def _walk(value: Any) -> Iterator[Any]:
    """`value` and all data inside it, each object once; functions, classes and modules are not entered."""
    visited: dict[int, Any] = {}
    ahead = [value]
    while ahead:
        item = ahead.pop()
        if id(item) in visited:
            continue
        visited[id(item)] = item
        yield item
        if not (isinstance(item, PROGRAM) or is_bundled(item)):
            ahead.extend(_parts(item))


def _parts(item: Any) -> list[Any]:
    if isinstance(item, AbstractNode):
        return [item._data]
    parts: list[Any] = []
    if isinstance(item, dict):
        parts += [*item.keys(), *item.values()]
    elif isinstance(item, list | tuple | set | frozenset):
        parts += list(item)
    if isinstance(item, defaultdict):
        parts.append(item.default_factory)
    return parts + list(own_attributes(item).values())


def _write(value: Any, buffer: io.BytesIO, members: Mapping[int, Path]) -> None:
    class Writer(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return members.get(id(obj))

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, AbstractNode):
                kind = "$parameter" if isinstance(obj, ParameterNode) else "$node"
                return _stored_node, (kind, node_record(obj, lambda value: value))
            return NotImplemented

    Writer(buffer, protocol=4).dump(value)


def _stored_node(kind: str, record: dict[str, Any]) -> Any:
    value = record.pop("value")
    node = decode({kind: {**record, "value": None}})
    node._data = value
    return node


class _Reader:
    """Reads pickles, and decides which names they may hold.

    Written in Python, where each state can be looked at before an object gets it.
    """

    def __init__(self, known: Iterable[type] = (), resolve: Callable[[Path], Any] | None = None) -> None:
        self.known = {(cls.__module__, cls.__qualname__): cls for cls in known}
        self.resolve = resolve

    def load(self, data: bytes) -> Any:
        reader: Any = pickle._Unpickler(io.BytesIO(data))
        build = reader.dispatch[pickle.BUILD[0]]

        def checked(at: Any) -> None:
            _check_dtype(*at.stack[-2:])
            build(at)

        reader.dispatch = {**reader.dispatch, pickle.BUILD[0]: checked}
        reader.find_class, reader.persistent_load = self.find_class, self.persistent_load
        return reader.load()

    def persistent_load(self, pid: Any) -> Any:
        if self.resolve is None:
            raise LoadError("the file refers to parameters that are not in it")
        return self.resolve(pid)

    def find_class(self, module: str, name: str) -> Any:
        module = "pathlib" if module == "pathlib._local" else module  # as Python 3.13 calls it
        if (module, name) in _NAMES:
            found = getattr(import_module(module), name)
            if module.startswith("numpy"):
                return _numpy_stand_in(name, found)
            return found if _unchangeable(found) else _stand_in(found, may_call=True)
        cls = self.known.get((module, name))
        if cls is None:
            raise LoadError(
                f"the file holds an object of {module}.{name}, which is not among the known classes; loading it would "
                "run code that the file chose. If the class is yours, pass it: load(path, known=[...])"
            )
        return _stand_in(cls, may_call=issubclass(cls, enum.Enum))


class _StandIn(type):
    """Stands in a file for a class or function: through it nothing can be changed, and little called.

    A pickle may make blank instances of a user's class, but not call its constructor.
    """

    may_call: Callable[..., Any] | None

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.may_call is None:
            raise LoadError(f"the file wants to call {cls.__qualname__}(...), which loading does not do")
        return cls.may_call(*args, **kwargs)


def _stand_in(target: Any, *, may_call: bool) -> type:
    def blank(_: type, *args: Any, **kwargs: Any) -> Any:
        return target.__new__(target, *args, **kwargs)

    members = {"__new__": blank, "may_call": staticmethod(target) if may_call else None}
    return _StandIn(target.__qualname__, (), members)


def _unchangeable(found: Any) -> bool:
    """Is it written in C? A file could overwrite the attributes of other classes and functions."""
    flags = getattr(found, "__flags__", 0)
    return isinstance(found, types.BuiltinFunctionType) or (
        isinstance(found, type) and (not flags & _HEAP_TYPE or bool(flags & _IMMUTABLE_TYPE))
    )


_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8  # of CPython's type flags


class OldObject:
    """An object of the earlier library, read as the record of its state."""

    kind = ""

    state: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> OldObject:
        self = super().__new__(cls)
        self.state = {}
        return self

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            self.state.update(part or {})


class _OldReader(_Reader):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[:2] == ["opto", "trace"] and (module, name) not in _NAMES:
            return type("OldObject", (OldObject,), {"kind": name})
        return super().find_class(module, name)


def _read(reader: _Reader, data: bytes) -> Any:
    try:
        value = reader.load(data)
    except LoadError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise LoadError(f"the data is damaged: {type(error).__name__}: {error}") from error
    for item in _walk(value):
        if isinstance(item, _StandIn) or item is _numpy_stand_in("ndarray", None):
            raise LoadError(f"the file holds the class {item.__qualname__} itself as a value, not only objects of it")
    return value


# --- arrays -------------------------------------------------------------------------------------
#
# numpy's own way to unpickle arrays trusts what the file says: that eight bytes of its choice are a pointer to an
# object (`ndarray(1, "O", b"AAAAAAAA")`), or that a dtype holds no objects although it does. Here a dtype is made from
# its plain code only and must then be what numpy would have written; an array is made empty and filled by numpy, which
# checks sizes.

_DTYPE_CODE = r"[<>|=]?[?a-zA-Z]\d*"


class _Ndarray:
    """Stands for `numpy.ndarray` in a file: it can be named, not called."""

    def __new__(cls, *args: Any) -> Any:
        raise LoadError("the file wants to call numpy.ndarray(...), which loading does not do")


def _numpy_stand_in(name: str, found: Any) -> Any:
    """The object that a file gets for a name of numpy."""
    make = _NUMPY_STAND_INS.get(name)
    return found if make is None else make(found)


def _dtype(found: Any) -> Callable[..., Any]:
    def dtype(code: Any, *_: Any) -> Any:
        if not isinstance(code, str) or re.fullmatch(_DTYPE_CODE, code) is None:
            raise LoadError(f"the file holds an array of the type {code!r}, which loading does not know")
        return found(code, False, True)  # a copy: what is read next must not reach numpy's own

    return dtype


def _reconstruct(found: Any) -> Callable[..., Any]:
    def reconstruct(cls: Any, shape: Any, code: Any) -> Any:
        if cls is not _Ndarray:
            raise LoadError("the file holds an array of a class of its own")
        return sys.modules["numpy"].ndarray((0,), "b")

    return reconstruct


_NUMPY_STAND_INS: dict[str, Callable[[Any], Any]] = {
    "ndarray": lambda found: _Ndarray,
    "dtype": _dtype,
    "_reconstruct": _reconstruct,
}


def _check_dtype(made: Any, state: Any) -> None:
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
