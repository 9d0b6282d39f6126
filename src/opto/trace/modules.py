"""Agents as objects: `Module`, the base class for parts with parameters, and `@model`, which makes one of any class.

May import: the standard library, `containers`, `spaces` and `saving`.
"""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import types
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any, TypeVar, overload
from weakref import WeakValueDictionary

from opto.trace.containers import (
    Member,
    ParameterContainer,
    copy_refused,
    is_bundled,
    put_attribute,
    users_attributes,
)
from opto.trace.saving.export import export_source
from opto.trace.saving.parameter_file import load_into, save_to, write_atomic
from opto.trace.saving.safe_pickle import register_maker
from opto.trace.spaces.formatting import BlackCodeFormatter
from opto.trace.spaces.space import Projection

__all__ = ["Model", "Module", "blank_model", "model"]

_Class = TypeVar("_Class", bound=type)
_MODELS: WeakValueDictionary[tuple[str, str], type] = WeakValueDictionary()
"""Every model class by module and qualified name, so that instances of classes made in functions pickle too."""


class Module(ParameterContainer):
    """A callable container of parameters; subclasses write `forward`, callers call the object.

    >>> from opto.trace import node
    >>> class Double(Module):
    ...     def __init__(self):
    ...         self.factor = node(2, trainable=True)
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Double()(4).data
    8
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward(): define it, it is what a call runs")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the values of all parameters to a JSON file; makes missing directories."""
        save_to(path, self)

    def load(self, path: str | os.PathLike[str], *, known: Iterable[type] = ()) -> None:
        """Reads values back into the same parameters. Never runs code of the file's choice.

        Objects of your own classes are made only of the classes in `known` and of those that the attributes hold now.
        Raises `LoadError` for a damaged, foreign or unsafe file, `AssertionError` if it lacks one of the parameters.
        """
        load_into(path, self, known)

    def export(self, filename: str | os.PathLike[str], projections: list[Projection] | None = None) -> None:
        """Writes the class as a plain Python file with the current code and values; it runs without this library.

        `projections` are applied to the text, by default black's formatting.
        """
        text = export_source(self)
        for projection in [BlackCodeFormatter()] if projections is None else projections:
            text = projection.project(text)
        write_atomic(filename, text.encode())


class Model(Module):
    """The base that `@model` adds to a class: its instances pickle, copy, save and load with all their attributes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _MODELS[cls.__module__, cls.__qualname__] = cls

    def __getstate__(self) -> dict[str, Any]:
        members = self._members()
        others = {
            name: value for name, value in users_attributes(self).items() if name not in members or is_bundled(value)
        }
        return {"parameters_dict": members, "non_parameters_dict": others}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"parameters_dict", "non_parameters_dict"}:  # the class has a __getstate__ of its own
            state = {"parameters_dict": {}, "non_parameters_dict": state}
        for name, value in state["non_parameters_dict"].items():
            put_attribute(self, name, value)
        for name, member in state["parameters_dict"].items():
            self._attach_member(name, member)

    def __copy__(self) -> Any:
        twin, state = _blank_copy(self, lambda value: value)
        methods = {name: member for name, member in state.get("parameters_dict", {}).items() if self._is_method(name)}
        if methods:
            state = {
                **state,
                "parameters_dict": {k: v for k, v in state["parameters_dict"].items() if k not in methods},
            }
        twin.__setstate__(state)
        for name, parameter in methods.items():
            getattr(twin, name).parameter._set(parameter)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin, state = _blank_copy(self, lambda value: copy.deepcopy(value, memo))
        memo[id(self)] = twin
        try:
            copied = copy.deepcopy(state, memo)
        except TypeError as error:
            raise copy_refused(self, error) from error
        twin.__setstate__(copied)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self).__reduce__ is not object.__reduce__:
            return self.__reduce__()
        reduced: Any = object.__reduce_ex__(self, 4)
        make, (cls, *arguments), *rest = reduced
        if _found(cls.__module__, cls.__qualname__) is cls:
            return make, (cls, *arguments), *rest
        return blank_model, (cls.__module__, cls.__qualname__, *arguments), *rest

    def _is_method(self, name: str) -> bool:
        return is_bundled(users_attributes(self).get(name, getattr(type(self), name, None)))

    def _stored_attributes(self) -> dict[str, Any]:
        members = self.parameters_dict()
        return {name: value for name, value in users_attributes(self).items() if name not in members}

    def _attach_member(self, key: Any, member: Member) -> None:
        if not self._is_method(key):
            put_attribute(self, key, member)
            return
        method = getattr(self, key)
        if getattr(self, key) is method and getattr(type(self), key, None) is not method:
            method.parameter = member
        else:  # a static or class method: its code belongs to the class
            method.parameter._set(member)


@overload
def model(cls: _Class) -> _Class: ...


@overload
def model(cls: None = None) -> Callable[[_Class], _Class]: ...


def model(cls: Any = None) -> Any:
    """Class decorator: the class becomes a `Model` (and so a `Module`) under its own name. `@model()` does the same.

    >>> from opto.trace import bundle, node
    >>> @model
    ... class Greeter:
    ...     def __init__(self):
    ...         self.word = node("Hello", trainable=True)
    ...     def forward(self, name):
    ...         return self.word + " " + name
    >>> greeter = Greeter()
    >>> greeter("Ada").data, len(greeter.parameters())
    ('Hello Ada', 1)
    """
    if cls is None:
        return model
    if not isinstance(cls, type):
        raise TypeError(f"model decorates a class, not {type(cls).__name__}: a function is bundled with @bundle().")
    names = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__wrapped_model__": cls,
        **_fields(cls),
    }
    made: Any = types.new_class(cls.__name__, (cls, Model), exec_body=lambda body: body.update(names))
    if parameters := getattr(cls, "__parameters__", ()):  # of a Generic: Agent[int] is to be written as before
        made.__parameters__ = parameters
    _MODELS[made.__module__, made.__qualname__] = made
    return made


def _fields(cls: type) -> dict[str, Any]:
    """The annotations of a class and their defaults, for a `@dataclass` or attrs that is written above `@model`."""
    if "__dataclass_fields__" in vars(cls) or "__attrs_attrs__" in vars(cls):
        return {}
    annotations = inspect.get_annotations(cls)
    defaults = {name: vars(cls)[name] for name in annotations if name in vars(cls)}
    return {"__annotations__": annotations, **defaults} if annotations else {}


def blank_model(module: str, qualname: str, *arguments: Any) -> Any:
    """An instance without state of the model class with that name, for pickle."""
    cls = _MODELS.get((module, qualname))
    if cls is None:
        raise pickle.UnpicklingError(
            f"no model class {module}.{qualname} is defined: run the code that defines it, then load"
        )
    return cls.__new__(cls, *arguments)


register_maker(blank_model)


def _blank_copy(original: Model, copied: Any) -> tuple[Any, Any]:
    """A new instance with the items that built-in containers hold, and the state that it still needs."""
    reduced: Any = object.__reduce_ex__(original, 4)
    make, (cls, *arguments), *rest = reduced
    state, items, pairs = (*rest, None, None, None)[:3]
    twin = make(cls, *[copied(argument) for argument in arguments])
    for item in items or ():
        twin.append(copied(item))
    for key, value in pairs or ():
        twin[copied(key)] = copied(value)
    return twin, state or {}


def _found(module: str, qualname: str) -> Any:
    try:
        return attrgetter(qualname)(import_module(module))
    except (ImportError, AttributeError):
        return None
