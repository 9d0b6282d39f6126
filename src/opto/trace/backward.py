"""`Node.backward`: feedback on an output walks back to the parameters.

The default propagator needs no work per node beyond the walk itself: the parameters share one walk, and each keeps the
node at which it enters the walk. Any other propagator is called for each node. May import nodes and propagators.
"""

from __future__ import annotations

from typing import Any

from opto.registry import implementation
from opto.trace.formatted import ACTIVE, forget_finished, warn_of_lost_texts
from opto.trace.nodes import GRAPH, MessageNode, Node, ancestors_by_level
from opto.trace.propagators.graph_propagator import GraphPropagator, SubgraphFromWalk, TraceGraph
from opto.trace.propagators.propagators import Propagator
from opto.trace.records import DEPENDS, DETACHED, DONE

__all__ = ["backward"]


def backward(  # noqa: PLR0913 - the signature is a promise
    self: Node[Any],
    feedback: Any = "",
    propagator: Propagator | None = None,
    retain_graph: bool = False,
    visualize: bool = False,
    simple_visualization: bool = True,
    reverse_plot: bool = False,
    print_limit: int = 100,
) -> Any:
    """Send `feedback` on this node back to every parameter it depends on.

    feedback: text, number or object; what it becomes is the propagator's matter (default GraphPropagator).
    retain_graph: keep the graph usable for another backward; feedback then adds up until zero_feedback().
    visualize: return a picture of what was visited (a graphviz Digraph where that package is installed).
    Raises AttributeError if feedback has gone through this node, or one that it needs, already.

    Example:
        >>> from opto.trace import node
        >>> x = node(2, name="x", trainable=True)
        >>> (x * 3).backward("too small")
        >>> [graph.user_feedback for [graph] in x.feedback.values()]
        ['too small']
    """
    propagator = propagator or GraphPropagator()
    order = ancestors_by_level(self, 0 if GRAPH.ALLOW_NESTED_GRAPHS else DEPENDS) if self._inputs else []
    _refuse_finished(order)
    first = propagator.init_feedback(self, feedback)
    if not self._inputs:
        self._add_feedback(Node("FEEDBACK_ORACLE", name="FEEDBACK_ORACLE"), first)
    elif type(propagator) is GraphPropagator and not propagator.override:
        _share_walk(order, first)
    else:
        _propagate_each(order, first, propagator)
    if not retain_graph:
        _finish(order)
    if ACTIVE:
        warn_of_lost_texts()
        forget_finished()
    if visualize:
        draw_walk = implementation("picture of a walk")
        return draw_walk(self, order, simple=simple_visualization, reverse=reverse_plot, limit=print_limit)
    return None


def _refuse_finished(order: list[MessageNode[Any]]) -> None:
    for visited in order:
        if visited._flags & DONE:
            raise AttributeError(
                f"Feedback has gone through {visited.name} already. Run the program again, "
                "or call backward(..., retain_graph=True) the first time."
            )


def _share_walk(order: list[MessageNode[Any]], first: TraceGraph) -> None:
    """Let every root that the walk meets note the walk, and the node at which it enters."""
    nested = GRAPH.ALLOW_NESTED_GRAPHS
    outputs = first.outputs
    for child in order:
        seen = None
        for parent in child._inputs:
            if not parent._inputs and (parent._flags & DEPENDS or nested) and parent is not seen:
                seen = parent
                _note_walk(parent, child, order, first.user_feedback, outputs)
        if child._rare is not None:
            for parameter in child.hidden_dependencies:
                _note_walk(parameter, child, order, first.user_feedback, outputs)


def _note_walk(root: Any, child: Any, order: list[MessageNode[Any]], feedback: Any, outputs: list[Any]) -> None:
    items = root.feedback[child]
    # x * y * x: one entry a pass
    if not items or not isinstance(items[-1], SubgraphFromWalk) or items[-1].order is not order:
        items.append(SubgraphFromWalk(order, child, feedback, outputs))


def _propagate_each(order: list[MessageNode[Any]], first: Any, propagator: Propagator) -> None:
    """Ask the propagator at each node, children before parents; roots get their shares when all have answered."""
    if not order:
        return
    nested = GRAPH.ALLOW_NESTED_GRAPHS
    received: list[tuple[Any, Any, Any]] = []
    try:
        order[0]._add_feedback(Node("FEEDBACK_ORACLE", name="FEEDBACK_ORACLE"), first)
        for child in order:
            for parent, share in propagator(child).items():
                if not (nested or parent._flags & DEPENDS):
                    continue
                if parent._inputs:
                    parent._add_feedback(child, share)
                else:
                    received.append((parent, child, share))
            child.zero_feedback()
    except BaseException:
        for visited in order:  # so that the walk may begin again
            visited.zero_feedback()
        raise
    for root, child, share in received:
        root._add_feedback(child, share)


def _finish(order: list[MessageNode[Any]]) -> None:
    """Refuse a second walk, and take the visited nodes off their parents' children."""
    done = DONE if GRAPH.LEGACY_GRAPH_BEHAVIOR else DONE | DETACHED
    for visited in order:
        visited._flags |= done
