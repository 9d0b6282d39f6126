"""Pickling nodes flat: a graph of any length is written without recursion.

A node pickles together with its past. The first node that a pickler meets
hands it a `_Past`, whose items are all its ancestors, roots first; pickle draws
them one by one from a generator and memoizes each, so that by the time a node
is written its inputs are known already. Feedback and children are not written.
Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import local
from typing import Any

__all__ = ["reduce_node"]


class _Covered(local):
    """Ids of the nodes whose past is being written by this thread, as a stack of sets."""

    def __init__(self) -> None:
        self.ids: list[set[int]] = []


_COVERED = _Covered()

def reduce_node(node: Any) -> tuple[Any, ...]:
    """The pickled form of `node`, for `__reduce_ex__`."""
    if any(id(node) in ids for ids in _COVERED.ids):
        return _restore, (type(node), _state(node))
    return _last, (_Past(node),)


class _Past(list[Any]):
    """A node and all its ancestors, roots first."""

    def __init__(self, node: Any = None) -> None:
        super().__init__()
        self.node = node

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _Past, (), None, _cover(self.node)


def _cover(node: Any) -> Iterator[Any]:
    seen = {id(node): node}
    stack = [node]
    while stack:
        for parent in stack.pop()._inputs:
            if id(parent) not in seen:
                seen[id(parent)] = parent
                stack.append(parent)
    ids = set(seen)
    _COVERED.ids.append(ids)
    try:
        yield from sorted(seen.values(), key=_level)
    finally:
        _COVERED.ids.remove(ids)


def _level(node: Any) -> int:
    return int(node._level)


def _last(past: list[Any]) -> Any:
    return past[-1]


def _state(node: Any) -> dict[str, Any]:
    op, more = node._op, node._more
    state: dict[str, Any] = {"_data": node._data, "_index": node._index}
    state["op"] = (op.base, op.description, op.keys, op.fun_name)
    links = node._links()
    if links is not None:
        state["links"] = links
    if more is not None:
        kept = {k: getattr(more, k) for k in ("name", "trainable", "projections") if getattr(more, k) is not None}
        if isinstance(more.info, dict):
            kept["info"] = {k: v for k, v in more.info.items() if isinstance(v, str)}
        state["more"] = kept
    if hasattr(node, "__dict__"):
        state["dict"] = vars(node)
    return state


def _restore(cls: Any, state: dict[str, Any]) -> Any:
    return cls._unpickled(state)
