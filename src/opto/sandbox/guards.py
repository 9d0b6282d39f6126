"""What stands between code in the executor `inprocess` and what leads out: its builtins, imports and attributes.

Imports `policy`, `shown`.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import inspect
import operator
import re
import string
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NoReturn

from opto.errors import SandboxForbiddenError
from opto.sandbox import policy
from opto.sandbox.shown import Shows

__all__ = ["Guards"]

_FUNCTIONS = """
    __build_class__ abs aiter all anext any ascii bin callable chr dir divmod format hasattr hash hex id isinstance
    issubclass iter len max min next oct ord pow print repr round sorted sum"""
_FIELDS = re.compile(r"\.([^.\[]+)")
_REQUIRED: Any = object()
_NAP_SECONDS = 0.05


class Guards:
    """The builtins of one text, which may import `modules`."""

    def __init__(self, modules: Collection[str]) -> None:
        self._shows = Shows(modules, {**_REPLACED, **self._changers()})
        self._libraries = {name.partition(".")[0] for name in modules} | sys.stdlib_module_names
        kinds = {n: v for n, v in vars(builtins).items() if isinstance(v, type) and n not in policy.TURNED_AWAY}
        self.builtins: dict[str, Any] = {
            **kinds,
            **{name: getattr(builtins, name) for name in _FUNCTIONS.split()},
            **{name: getattr(builtins, name) for name in ("None", "True", "False", "Ellipsis", "NotImplemented")},
            "BaseException": Exception,
            "type": _Type,
            "getattr": self._getattr,
            "setattr": self._setattr,
            "delattr": self._delattr,
            "__import__": builtins.__import__,  # for the library's own imports; no text can spell it
            policy.IMPORT: self._shows.module,
            policy.IMPORT_FROM: self._import_from,
            policy.ATTRIBUTE: self.attribute,
            policy.STORE: self.store,
            policy.EXCEPTION: Exception,
        }

    def given(self, value: Any) -> Any:
        """A global of the program as the code sees it: of a module, what it may see of it."""
        return self._shows.module(value.__name__) if isinstance(value, ModuleType) else value

    def attribute(self, value: Any, name: str) -> Any:
        """What `value.name` is to the code."""
        if name.startswith("_") or name in _OF_LIBRARIES:
            if self._is_foreign(value, name):
                _refuse(f"the attribute {name!r} of {_article(value)}")
        elif name in _FORMATS and issubclass(value if isinstance(value, type) else type(value), str):
            return _FORMATS[name] if isinstance(value, type) else functools.partial(_FORMATS[name], value)
        elif (name == "obj" and isinstance(value, BaseException)) or (name == "mro" and isinstance(value, type)):
            _refuse(f"the attribute {name!r} of {_article(value)}")
        return getattr(value, name)

    def store(self, value: Any, name: str) -> Any:
        """`value`, if its attributes may be written to."""
        inner = policy.doubtful(name) and self._is_foreign(value, name)
        if inner or isinstance(value, ModuleType) or (isinstance(value, _MADE) and self._is_library(value)):
            _refuse(f"a write to {name!r} of {_article(value)}, which is not its own")
        return value

    def _changers(self) -> dict[str, dict[str, Any]]:
        """What writes to the classes and functions that it is given."""

        def update_wrapper(wrapper: Any, wrapped: Any) -> Any:
            if not isinstance(wrapper, FunctionType):
                _refuse("update_wrapper with anything but a function")
            return functools.update_wrapper(self.store(wrapper, "__name__"), wrapped)

        def wraps(wrapped: Any) -> Any:
            return functools.partial(update_wrapper, wrapped=wrapped)

        def dataclass(cls: Any = None, /, **options: Any) -> Any:
            if cls is None:
                return functools.partial(dataclass, **options)
            _check_fields(self.store(cls, "__init__"))
            return dataclasses.dataclass(cls, **options)

        def total_ordering(cls: Any) -> Any:
            return functools.total_ordering(self.store(cls, "__lt__"))

        return {
            "dataclasses": {"dataclass": dataclass},
            "functools": {"update_wrapper": update_wrapper, "wraps": wraps, "total_ordering": total_ordering},
        }

    def _is_library(self, thing: Any) -> bool:
        module = str(getattr(thing, "__module__", None))
        return module.partition(".")[0] in self._libraries or module == __name__

    def _is_foreign(self, value: Any, name: str) -> bool:
        """Whether a class of a library is where the attribute is from."""
        seen: Any = getattr(value, "__self_class__", value) if type(value) is super else value
        kinds: list[type] = [*_lineage(seen), *_lineage(type(seen))]
        owner = next((kind for kind in kinds if name in vars(kind)), kinds[0])
        return isinstance(value, _MADE[1:]) or self._is_library(owner) or self._is_library(kinds[0])

    def _getattr(self, value: Any, name: str, default: Any = _REQUIRED, /) -> Any:
        _permitted(name)
        try:
            return self.attribute(value, name) if policy.doubtful(name) else getattr(value, name)
        except AttributeError:
            if default is _REQUIRED:
                raise
            return default

    def _setattr(self, value: Any, name: str, new: Any, /) -> None:
        _permitted(name)
        setattr(self.store(value, name), name, new)

    def _delattr(self, value: Any, name: str, /) -> None:
        _permitted(name)
        delattr(self.store(value, name), name)

    def star(self, module: str) -> list[str]:
        """What `from module import *` brings."""
        names: list[str] = self._shows.module(module).__dict__["__all__"]
        return names

    def _import_from(self, module: str, name: str) -> Any:
        try:
            return getattr(self._shows.module(module), name)
        except AttributeError:
            raise ImportError(f"cannot import name {name!r} from {module!r}") from None


_MADE = (type, FunctionType, BuiltinFunctionType)
_OF_LIBRARIES = frozenset(["cffi", "ctypes", "dump", "evaluate", "tofile"])


def _lineage(thing: Any) -> tuple[type, ...]:
    """The classes that a class is made of; of anything else, none."""
    return thing.__mro__ if isinstance(thing, type) else ()


def _refuse(what: str) -> NoReturn:
    raise SandboxForbiddenError(f"the code may not use {what}")


def _article(value: Any) -> str:
    return f"{value.__name__}" if isinstance(value, (*_MADE, ModuleType)) else f"a {type(value).__name__}"


def _permitted(name: Any) -> None:
    if type(name) is not str:
        raise TypeError("attribute name must be string")
    if policy.refused(name):
        _refuse(f"{name!r}")


# --- what stands in for parts of the library ------------------------------------------------------


class _Kinds(type):
    def __call__(cls, value: Any, *rest: Any, **more: Any) -> Any:
        if rest or more:
            _refuse("type() to make a class")
        kind = type(value)
        return _Type if issubclass(kind, type) else kind

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, type)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, (type, _Type))


class _Type(metaclass=_Kinds):
    """`type` as the code sees it: it tells what an object is, and makes no class."""

    def __class_getitem__(cls, item: Any) -> Any:
        return type[item]

    def __init_subclass__(cls) -> None:
        _refuse("'type' as a base")


class _Formatter(string.Formatter):
    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        for name in _FIELDS.findall(field_name):
            if policy.refused(name) or policy.doubtful(name):
                _refuse(f"{name!r} in a format")
        return super().get_field(field_name, args, kwargs)


def _format(text: str, /, *args: Any, **kwargs: Any) -> str:
    return _Formatter().vformat(str.__str__(text), args, kwargs)


def _format_map(text: str, mapping: Mapping[str, Any], /) -> str:
    return _Formatter().vformat(str.__str__(text), (), mapping)


_FORMATS: dict[str, Callable[..., str]] = {"format": _format, "format_map": _format_map}


def _attrgetter(*names: str) -> Any:
    for name in names:
        _check_name(name, "attrgetter")
    return operator.attrgetter(*names)


def _methodcaller(name: str, /, *args: Any, **kwargs: Any) -> Any:
    _check_name(name, "methodcaller")
    return operator.methodcaller(name, *args, **kwargs)


def _check_name(name: Any, where: str) -> None:
    _permitted(name)
    if any(policy.refused(part) or policy.doubtful(part) for part in name.split(".")):
        _refuse(f"{name!r} in {where}")


def _check_fields(cls: Any) -> None:
    """The names of fields become program text: those of a class, of its bases, and of fields made by hand."""
    names: list[Any] = list(inspect.get_annotations(cls))
    for kind in cls.__mro__:
        for field in (*vars(kind).values(), *vars(kind).get("__dataclass_fields__", {}).values()):
            if isinstance(field, dataclasses.Field):
                names.append(field.name if type(field) is dataclasses.Field else field)
    for name in names:
        if name is not None and (type(name) is not str or not name.isidentifier()):
            _refuse(f"the field {name!r}")


def _sleep(seconds: float, /) -> None:
    """Sleeps by small pieces, between which the watchdog is heard."""
    end = time.monotonic() + seconds
    time.sleep(min(seconds, _NAP_SECONDS))  # complains of what is no time
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _NAP_SECONDS))


_REPLACED: dict[str, dict[str, Any]] = {
    "operator": {"attrgetter": _attrgetter, "methodcaller": _methodcaller},
    "time": {"sleep": _sleep},
}
