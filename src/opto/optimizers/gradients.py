"""Criticism in words, walked back over the graph: from what was said of the outputs to each parameter.

The walk is linear and knows no model; `criticize` and `merge` say what one does with a call and with several
criticisms of one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opto.trace.nodes import MessageNode, Node
from opto.trace.propagators.graph_propagator import TraceGraph

__all__ = ["textual_gradients"]

Criticize = Callable[[MessageNode[Any], Node[Any], str], str]
Merge = Callable[[Node[Any], list[str]], str]


def textual_gradients(
    graph: TraceGraph, parameters: Iterable[Node[Any]], criticize: Criticize, merge: Merge
) -> dict[Node[Any], str]:
    """The criticism of each parameter that feedback reaches.

    `criticize(call, parent, criticism)` is asked once for each edge on a way to a parameter, later calls first;
    `merge(node, criticisms)` once for each node with several different ones.
    """
    nodes: list[Any] = [node for _, node in graph]
    targets = {id(p) for p in parameters}
    within = _leading_to(nodes, targets)
    said: dict[int, list[str]] = {}
    for output, feedback in graph.outputs:
        said.setdefault(id(output), []).append(str(feedback))
    found: dict[Node[Any], str] = {}
    for node in reversed(nodes):
        criticisms = list(dict.fromkeys(said.get(id(node), ())))
        if not criticisms or id(node) not in within:
            continue
        criticism = criticisms[0] if len(criticisms) == 1 else merge(node, criticisms)
        if id(node) in targets:
            found[node] = criticism
        for parent in {id(p): p for p in node._inputs if id(p) in within}.values():
            said.setdefault(id(parent), []).append(criticize(node, parent, criticism))
    return found


def _leading_to(nodes: list[Any], targets: set[int]) -> set[int]:
    """The nodes among `nodes` (in topological order) that are targets or made from one."""
    within: set[int] = set()
    for node in nodes:
        if id(node) in targets or any(id(parent) in within for parent in node._inputs):
            within.add(id(node))
    return within
