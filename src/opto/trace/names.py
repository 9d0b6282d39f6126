"""The registry `GRAPH`: it hands out names and holds the switches of tracing.

It stores counters, not nodes, so it keeps nothing alive. Only the legacy mode
(`GRAPH.LEGACY_GRAPH_BEHAVIOR = True`, then `GRAPH.clear()`) stores nodes.
Imports: `context` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import length_hint
from typing import Any

from opto.trace.context import TRACING

__all__ = ["COUNTERS", "GRAPH", "NAME_SCOPES", "Graph", "next_index"]

NAME_SCOPES: list[str] = []
"""While not empty, its last entry is put before the names of new nodes: `scope/base:k`."""

_ENDLESS = range(2**62)
COUNTERS: dict[str, Iterator[int]] = {}
"""One counter a base name. `next()` on a range iterator is atomic, so names are unique across threads."""


def next_index(base: str) -> int:
    """Draw the next number of the name `base:<number>`."""
    counter = COUNTERS.get(base)
    if counter is None:
        counter = COUNTERS.setdefault(base, iter(_ENDLESS))
    return next(counter)


class Graph:
    """Names and switches of the tape; `GRAPH` is the only instance.

    Attributes: `TRACE` (is recording on in this context), `ALLOW_NESTED_GRAPHS`
    (backward also visits what no parameter reaches, so that `TraceGraph.expand`
    works), `LEGACY_GRAPH_BEHAVIOR` (after the next `clear()` nodes are stored
    and backward leaves the graph attached).
    """

    def __init__(self) -> None:
        self.ALLOW_NESTED_GRAPHS = False
        self.LEGACY_GRAPH_BEHAVIOR = False
        self.nodes: dict[str, Any] | None = None

    @property
    def TRACE(self) -> bool:
        """Whether operations are recorded in this thread or task."""
        return TRACING.get()

    @TRACE.setter
    def TRACE(self, on: bool) -> None:
        TRACING.set(bool(on))

    def clear(self) -> None:
        """Start all names at 0 again; nodes that exist keep theirs."""
        COUNTERS.clear()
        self.nodes = {} if self.LEGACY_GRAPH_BEHAVIOR else None

    def register(self, node: Any) -> None:
        """Give `node` the next free name of its base (and store it in legacy mode)."""
        node._index = next_index(node._op.base)
        self.store(node)

    def store(self, node: Any) -> None:
        """Remember `node` by its name if this is legacy mode."""
        if self.nodes is not None:
            self.nodes[node.name] = node

    def count(self, base: str) -> int:
        """How many nodes named `base:…` were made since the last `clear()`; AssertionError if none ever was."""
        counter = COUNTERS.get(base)
        assert counter is not None, f"No node has the base name {base!r}."
        return len(_ENDLESS) - length_hint(counter)

    def get(self, name: str) -> Any:
        """The node called `name`; ValueError unless in legacy mode."""
        return self._stored()[name]

    @property
    def roots(self) -> list[Any]:
        """All stored nodes without parents; ValueError unless in legacy mode."""
        return [node for node in self._stored().values() if node.is_root]

    def _stored(self) -> dict[str, Any]:
        if self.nodes is None:
            raise ValueError("Nodes are not stored: set GRAPH.LEGACY_GRAPH_BEHAVIOR = True, then GRAPH.clear().")
        return self.nodes

    def __len__(self) -> int:
        return sum(self.count(base) for base in list(COUNTERS))

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        counts = ", ".join(f"{base}: {self.count(base)}" for base in list(COUNTERS))
        return f"Graph({counts})"


GRAPH = Graph()
