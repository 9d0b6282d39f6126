"""Objects that hold parameters: the parts of an agent, found by looking and never by running.

`ParameterContainer` reads its attributes *statically* — the instance's own values, then those of its class — so that
asking an agent for its parameters executes no property and no `__getattr__` of the user.
"""

from __future__ import annotations

import copy
import functools
from collections import UserDict, UserList
from collections.abc import Mapping
from types import MemberDescriptorType
from typing import Any, TypeAlias, TypeGuard, TypeVar

from opto.trace.nodes import ParameterNode

__all__ = [
    "BOUND_METHOD",
    "RESERVED",
    "SELF_NODE",
    "Map",
    "Member",
    "NodeContainer",
    "ParameterContainer",
    "Seq",
    "assign",
    "copy_refused",
    "is_bundled",
    "member_of",
    "own_attributes",
    "put_attribute",
    "trainable_method",
    "users_attributes",
]

RESERVED = "__TRACE_RESERVED_"
"""Attributes that start so are not among the parameters."""

BOUND_METHOD = f"{RESERVED}bundle_"
"""The tape keeps an instance's own copy of a bundled method under a name that starts so."""

SELF_NODE = f"{RESERVED}self_node"
"""The attribute under which the tape keeps the node of an instance."""

Member: TypeAlias = "ParameterNode[Any] | ParameterContainer"
_Self = TypeVar("_Self", bound="ParameterContainer")
_Seq = TypeVar("_Seq", bound="Seq")
_Map = TypeVar("_Map", bound="Map")


class NodeContainer:
    """Marks a class whose attributes may hold nodes: traced functions and `apply_op` look inside it."""


class ParameterContainer(NodeContainer):
    """An object whose attributes may be parameters, other containers, or trainable bundled methods.

    >>> from opto.trace import node
    >>> class Agent(ParameterContainer):
    ...     def __init__(self):
    ...         self.prompt = node("Say hello.", trainable=True)
    ...         self.turns = 0
    >>> list(Agent().parameters_dict())
    ['prompt']
    """

    def parameters(self) -> list[ParameterNode[Any]]:
        """Every parameter once, those of nested containers in place, attributes in alphabetical order."""
        found: dict[int, ParameterNode[Any]] = {}
        visited: set[int] = set()
        ahead: list[Member] = [self]
        while ahead:
            member = ahead.pop()
            if isinstance(member, ParameterNode):
                found.setdefault(id(member), member)
            elif id(member) not in visited:
                visited.add(id(member))
                ahead.extend(reversed(list(member.parameters_dict().values())))
        return list(found.values())

    def parameters_dict(self) -> dict[Any, Any]:
        """Attribute name → parameter or nested container; a trainable bundled method stands for its code parameter.

        Raises `ValueError` for a trainable bundled function inside `functools.partial`: its code could not be replaced.
        """
        return self._members()

    def copy(self: _Self) -> _Self:
        """Copies everything deeply but the parameters, which both share: one agent, many samples at once."""
        return _copied(self)

    def _members(self) -> dict[str, Member]:
        members: dict[str, Member] = {}
        own = own_attributes(self)
        inherited = {name: value for base in reversed(type(self).__mro__) for name, value in vars(base).items()}
        for name, value in sorted({**inherited, **own}.items()):
            if not name.startswith(RESERVED):
                bound = name not in own and is_bundled(value) and value.trainable
                member = member_of(getattr(self, name) if bound else value, name)
                if member is not None:
                    members[name] = member
        return members

    def _set(self, new: Mapping[Any, Any] | ParameterContainer) -> None:
        """Writes values into the parameters in place; names that are not here yet become new attributes.

        Raises `AssertionError` when one of the current parameters is missing from `new`.
        """
        values = _mapping_of(new)
        current = self.parameters_dict()
        missing = [str(name) for name in current if name not in values]
        assert not missing, f"no value given for the parameters {', '.join(missing)}"
        for name, value in values.items():
            if name in current:
                assign(current[name], value)
            else:
                self._attach_member(name, value)

    # What files hold: keys that are the same in another process, and only models add their other attributes.

    def _stored_members(self) -> dict[Any, Member]:
        return self.parameters_dict()

    def _stored_attributes(self) -> dict[str, Any] | None:
        return None

    def _attach_member(self, key: Any, member: Member) -> None:
        setattr(self, str(key), member)


def _copied(container: _Self) -> _Self:
    try:
        return copy.deepcopy(container, {id(p): p for p in container.parameters()})
    except TypeError as error:
        raise copy_refused(container, error) from error


def copy_refused(container: ParameterContainer, error: TypeError) -> TypeError:
    """The error of a container that cannot be copied; it names the attribute at fault, if there is one."""
    if "cannot be copied" in str(error):  # a container inside has named its own
        return error
    for name, value in users_attributes(container).items():
        try:
            copy.deepcopy(value, {})
        except TypeError as reason:
            return TypeError(
                f"{type(container).__name__}.{name} cannot be copied ({reason}): share it between copies, by a class "
                "whose __deepcopy__ returns self, or make it where it is used."
            )
    return error


def trainable_method(method: object) -> bool:
    """Is this a bundled function whose code is a parameter?"""
    return is_bundled(method) and bool(method.trainable)


def is_bundled(value: object) -> TypeGuard[Any]:
    """Bundled functions are the containers that bind to instances (descriptors) and may carry a code parameter."""
    return isinstance(value, ParameterContainer) and hasattr(type(value), "__get__") and hasattr(value, "parameter")


def member_of(value: object, name: str) -> Member | None:
    """The member that `value`, held under `name`, is of its owner; None if it holds no parameter."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, functools.partial):
        if trainable_method(value.func):
            raise ValueError(
                f"{name!r} is a trainable bundled function inside functools.partial, which hides its code parameter: "
                "hold the bundled function itself, or make it untrainable"
            )
        return None
    if is_bundled(value):
        parameter: ParameterNode[Any] | None = value.parameter if value.trainable else None
        return parameter
    return value if isinstance(value, ParameterNode | ParameterContainer) else None


def own_attributes(obj: object) -> dict[str, Any]:
    """The instance's own attributes, `__dict__` and slots, without asking `__getattr__`."""
    found: dict[str, Any] = {}
    for cls in type(obj).__mro__:
        for name, slot in vars(cls).items():
            if isinstance(slot, MemberDescriptorType):
                try:
                    found.setdefault(name, slot.__get__(obj, type(obj)))
                except AttributeError:
                    continue  # declared, not yet assigned
    found.update(getattr(obj, "__dict__", {}))
    return found


def users_attributes(obj: object) -> dict[str, Any]:
    """The instance's own attributes without those that the tape put there: bound methods and the node of `self`."""
    return {
        name: value
        for name, value in own_attributes(obj).items()
        if name != SELF_NODE and not (name.startswith(BOUND_METHOD) and is_bundled(value))
    }


def put_attribute(obj: object, name: str, value: object) -> None:
    """Sets an instance attribute, `__dict__` or slot, without asking `__setattr__` or properties."""
    for cls in type(obj).__mro__:
        slot = vars(cls).get(name)
        if isinstance(slot, MemberDescriptorType):
            slot.__set__(obj, value)
            return
    obj.__dict__[name] = value


def assign(target: Member, value: object) -> None:
    """Writes `value` (raw, a node, or for containers a mapping or container) into an existing member."""
    if isinstance(target, ParameterNode):
        target._set(value)
        return
    assert isinstance(value, Mapping | ParameterContainer), (
        f"{type(target).__name__} holds several parameters and takes a dict or a container, not {type(value).__name__}"
    )
    target._set(value)


def _mapping_of(new: object) -> Mapping[Any, Any]:
    if isinstance(new, ParameterContainer):
        return new.parameters_dict()
    assert isinstance(new, Mapping), f"parameters are set from a dict or a container, not {type(new).__name__}"
    return new


def _put(members: dict[Any, Any], key: object, member: Member) -> None:
    """Adds under `key`; another member that already has it stays, and this one gets a number behind its text."""
    free, count = key, 1
    while free in members and members[free] is not member:
        free, count = f"{key}#{count}", count + 1
    members[free] = member


class Seq(ParameterContainer, UserList[Any]):
    """A list that may hold parameters and containers. `Seq(a, b)` and `Seq([a, b])` are the same.

    Parameters are keyed by their name, nested containers by their text.
    """

    def __init__(self, *args: Any) -> None:
        sequence: Any = args
        if len(args) == 1 and _is_sequence(args[0]):
            sequence = args[0]
        super().__init__(sequence)

    def copy(self: _Seq) -> _Seq:
        return _copied(self)

    def parameters_dict(self) -> dict[Any, Any]:
        members: dict[Any, Any] = {}
        for position, item in enumerate(self.data):
            member = member_of(item, f"item {position}")
            if member is not None:
                _put(members, member.name if isinstance(member, ParameterNode) else str(member), member)
        return members

    def _set(self, new: Mapping[Any, Any] | ParameterContainer) -> None:
        """By name where the names fit, else by position: names of nodes differ from one process to the next."""
        values = _mapping_of(new)
        current = self.parameters_dict()
        if any(name not in values for name in current) or isinstance(new, Seq):
            assert len(values) >= len(current), (
                f"{len(values)} values given for a sequence of {len(current)} parameters"
            )
            values = {**dict(zip(current, values.values(), strict=False)), **dict(list(values.items())[len(current) :])}
        for name, value in values.items():
            if name in current:
                assign(current[name], value)
            else:
                self.data.append(value)

    def _stored_members(self) -> dict[Any, Member]:
        found = {position: member_of(item, f"item {position}") for position, item in enumerate(self.data)}
        return {position: member for position, member in found.items() if member is not None}

    def _attach_member(self, key: Any, member: Member) -> None:
        self.data.append(member)


class Map(ParameterContainer, UserDict[Any, Any]):
    """A dict that may hold parameters and containers as values, and parameters as keys."""

    def __init__(self, mapping: Any = None, /, **items: Any) -> None:
        super().__init__({} if mapping is None else mapping, **items)

    def copy(self: _Map) -> _Map:
        return _copied(self)

    def parameters_dict(self) -> dict[Any, Any]:
        members: dict[Any, Any] = {}
        for key, item in self.data.items():
            if isinstance(key, ParameterContainer):
                raise TypeError(f"a {type(key).__name__} cannot be the key of a Map: use a parameter or a plain value")
            member = member_of(item, f"item {key!r}")
            if member is not None:
                _put(members, key, member)
            if isinstance(key, ParameterNode):
                _put(members, str(key), key)
        return members

    def _stored_members(self) -> dict[Any, Member]:
        """Parameters that are keys, or whose key is one, go by their place: their text differs in another process."""
        members: dict[Any, Member] = {}
        for position, (key, item) in enumerate(self.data.items()):
            member = member_of(item, f"item {key!r}")
            if member is not None:
                members[f"value {position}" if isinstance(key, ParameterNode) else key] = member
            if isinstance(key, ParameterNode):
                members[f"key {position}"] = key
        return members

    def _attach_member(self, key: Any, member: Member) -> None:
        self.data[key] = member


def _is_sequence(value: object) -> bool:
    """A lone parameter is an item even though it can be measured and indexed."""
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, ParameterNode)
