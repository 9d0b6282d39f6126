"""Pickling nodes flat: a graph of any length is written without recursion.

A node pickles together with its past. The first node that a pickler meets hands
it a `_Past`, a list of all its ancestors, roots first, each in a `_Cell` that
announces it; an announced node writes just itself, because its inputs stand in
the stream already. Feedback and children are not written. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import local
from typing import Any

__all__ = ["reduce_node"]


class _Announced(local):
    """The id of the node that this thread's pickler is about to meet after its past."""

    id: int | None = None


_ANNOUNCED = _Announced()


def reduce_node(node: Any) -> tuple[Any, ...]:
    """The pickled form of `node`, for `__reduce_ex__`."""
    announced, _ANNOUNCED.id = _ANNOUNCED.id, None
    if announced == id(node) or not node._inputs:
        return _restore, (type(node), _state(node))
    past = _Past()
    past.node = node
    return _last, (past,)


class _Past(list[Any]):
    """A node and all its ancestors, roots first."""

    node: Any = None

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _Past, (), None, _cells(self.node)


class _Cell:
    """Announces a node to `reduce_node`; unpickles as the node."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def __reduce__(self) -> tuple[Any, ...]:
        _ANNOUNCED.id = id(self.node)
        return _itself, (self.node,)


def _itself(node: Any) -> Any:
    return node


def _cells(node: Any) -> Iterator[_Cell]:
    seen = {id(node): node}
    stack = [node]
    while stack:
        for parent in stack.pop()._inputs:
            if id(parent) not in seen:
                seen[id(parent)] = parent
                stack.append(parent)
    return map(_Cell, sorted(seen.values(), key=_level))


def _level(node: Any) -> int:
    return int(node._level)


def _last(past: list[Any]) -> Any:
    return past[-1]


_KEPT = ("name", "trainable", "projections", "user_texts", "code")


def _state(node: Any) -> dict[str, Any]:
    op, rare = node._op, node._rare
    state: dict[str, Any] = {"_data": node._data, "_index": node._index}
    state["op"] = (op.base, op.description, op.keys, op.fun_name)
    links = node._links()
    if links is not None:
        state["links"] = links
    kept = {} if rare is None else {k: v for k in _KEPT if (v := getattr(rare, k)) not in (getattr(type(rare), k), ())}
    info = node._kept_info()
    if info is not None:
        kept["info"] = info
    if kept:
        state["more"] = kept
    if hasattr(node, "__dict__"):
        state["dict"] = vars(node)
    return state


def _restore(cls: Any, state: dict[str, Any]) -> Any:
    return cls._unpickled(state)
