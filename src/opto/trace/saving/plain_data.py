"""Values ↔ JSON: values that can be written as data, which no reader could mistake for a program.

`None`, booleans, numbers, text, lists and dicts with text keys look as they do in JSON; other plain values are objects
with a single key that starts with `$`. May import: the standard library, `nodes`.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from typing import Any

from opto.errors import LoadError
from opto.execution import SuggestedText
from opto.trace.nodes import AbstractNode, Node, ParameterNode
from opto.trace.records import CODE_NAME
from opto.trace.spaces.space import plain_value

__all__ = ["Encoder", "NotPlainError", "decode", "node_record", "parameter_of"]

Path = tuple[Any, ...]
_BIG = 10**4000  # Python refuses to write or read longer numbers in decimal


class NotPlainError(Exception):
    """The value is not a tree of plain data; it needs another form."""


class Encoder:
    """Turns values into JSON trees; `members` are the parameters that are written elsewhere, by id.

    `seen` collects the ids of everything mutable that was met: a tree may hold none of them twice.
    """

    def __init__(self, members: Mapping[int, Path] | None = None) -> None:
        self.members = members or {}
        self.seen: set[int] = set()

    def encode(self, value: Any) -> Any:
        """Raises NotPlainError for other types, subclasses of plain types, shared parts and cycles."""
        if id(value) in self.members:
            return {"$member": [self.encode(key) for key in self.members[id(value)]]}
        if value is None or type(value) in (bool, float, str):
            return value
        if type(value) is SuggestedText:
            return {"$suggested": str(value)}
        if type(value) is int:
            return value if abs(value) < _BIG else {"$int": hex(value)}
        if type(value) is tuple:
            return {"$tuple": [self.encode(item) for item in value]}
        if type(value) is bytes:
            return {"$bytes": b2a_base64(value, newline=False).decode()}
        if type(value) is complex:
            return {"$complex": [value.real, value.imag]}
        return self._mutable(value)

    def _mutable(self, value: Any) -> Any:
        if id(value) in self.seen:
            raise NotPlainError("one object in two places")
        self.seen.add(id(value))
        if type(value) is list:
            return [self.encode(item) for item in value]
        if type(value) is dict:
            return self._dict(value)
        if type(value) in (set, frozenset):
            return {f"${type(value).__name__}": [self.encode(item) for item in value]}
        if isinstance(value, AbstractNode):
            kind = "$parameter" if isinstance(value, ParameterNode) else "$node"
            return {kind: node_record(value, self.encode)}
        raise NotPlainError(type(value).__name__)

    def _dict(self, value: dict[Any, Any]) -> Any:
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: self.encode(item) for key, item in value.items()}
        return {"$dict": [[self.encode(key), self.encode(item)] for key, item in value.items()]}


def node_record(node: Any, encode: Callable[[Any], Any]) -> dict[str, Any]:
    """A node as data: without its past, under the base of its name."""
    record = {"name": node.name.rsplit(":", 1)[0], "value": encode(plain_value(node)), "description": node._description}
    if isinstance(node, ParameterNode) and not node.trainable:
        record["trainable"] = False
    if isinstance(node, ParameterNode) and node._user_texts():
        record["own"] = list(node._user_texts())
    if isinstance(node, ParameterNode) and node.is_code and record["name"] != CODE_NAME:
        record["code"] = True
    return record


def parameter_of(record: Mapping[str, Any], value: Any) -> ParameterNode[Any]:
    """A new parameter as `record` describes it."""
    parameter: ParameterNode[Any] = ParameterNode(
        value,
        name=str(record["name"]),
        description=record.get("description"),
        trainable=bool(record.get("trainable", True)),
    )
    if record.get("code"):
        parameter._rare_attributes().code = True
    return parameter


def decode(tree: Any, resolve: Callable[[Path], Any] | None = None) -> Any:
    """The value that `tree` stands for; `resolve` finds the parameters that are stored elsewhere.

    Raises LoadError for a tree that no Encoder writes.
    """
    if isinstance(tree, list):
        return [decode(item, resolve) for item in tree]
    if not isinstance(tree, dict):
        return tree
    tag = next(iter(tree), "")
    if len(tree) != 1 or not tag.startswith("$"):
        return {key: decode(item, resolve) for key, item in tree.items()}
    content = tree[tag]
    try:
        if tag in _TAGS:
            return _TAGS[tag](decode(content, resolve))
        if tag == "$member" and resolve is not None:
            return resolve(tuple(decode(content, resolve)))
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        raise LoadError(f"the entry {tag!r} is damaged: {error}") from error
    raise LoadError(f"the entry {tag!r} is not known to this version: the file is damaged or newer")


def _node(record: Mapping[str, Any]) -> Node[Any]:
    description = record.get("description")
    if description is not None:  # a result comes back as a plain node, not as one of its operator
        description = description.split("]", 1)[-1].strip() or None
    return Node(record["value"], name=str(record["name"]), description=description)


_TAGS: dict[str, Callable[[Any], Any]] = {
    "$int": lambda text: int(text, 16),
    "$suggested": SuggestedText,
    "$tuple": tuple,
    "$bytes": a2b_base64,
    "$complex": lambda parts: complex(*parts),
    "$set": set,
    "$frozenset": frozenset,
    "$dict": dict,
    "$node": _node,
    "$parameter": lambda record: parameter_of(record, record["value"]),
}
