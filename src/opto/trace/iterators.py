"""Walking through nodes that hold containers: each element is a node linked to its container.

May import `nodes` and the operator table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opto.trace.nodes import Node
from opto.trace.operators.table import TABLE

__all__ = ["DictIterable", "SeqIterable", "items", "iterate"]


class SeqIterable:
    """The elements `x[0], x[1], …` of a node that holds a sequence."""

    def __init__(self, wrapped: Node[Any]) -> None:
        self.wrapped = wrapped

    def __iter__(self) -> Iterator[Any]:
        getitem, index = TABLE["getitem"], 0
        while index < len(self.wrapped._data):
            yield getitem(self.wrapped, index)
            index += 1


class DictIterable:
    """The pairs (key node, value node) of a node that holds a dict."""

    def __init__(self, wrapped: Node[Any]) -> None:
        self.wrapped = wrapped
        self.keys = TABLE["keys"](wrapped)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        getitem = TABLE["getitem"]
        for key in SeqIterable(self.keys):
            yield key, getitem(self.wrapped, key)


def items(node: Node[Any]) -> Iterator[tuple[Any, Any]]:
    """The pairs of a node that holds a dict."""
    return iter(DictIterable(node))


def iterate(node: Node[Any]) -> Iterator[Any]:
    """The elements of a node: of a sequence in order, of a dict its keys, of anything else through a list.

    Raises ExecutionError, with the node as input, if its value cannot be walked through.
    """
    data = node._data
    if isinstance(data, dict):
        return iter(SeqIterable(TABLE["keys"](node)))
    return iter(SeqIterable(node if _by_position(data) else TABLE["to_list"](node)))


def _by_position(data: Any) -> bool:
    """Is `data[0]` its first element? It is a label where there are `keys`, and arrays of no dimension have none."""
    kind = type(data)
    if not (hasattr(kind, "__getitem__") and hasattr(kind, "__len__")) or hasattr(kind, "keys"):
        return False
    return getattr(data, "shape", None) != ()
