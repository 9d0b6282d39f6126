"""The default propagator: each parameter gets the part of the graph that lies between it and the output.

A `TraceGraph` is that part together with the user's feedback. Graphs are lazy: adding two costs nothing, and the nodes
are collected once, in O(V + E), when the graph is read. `backward` gives each parameter a `SubgraphFromWalk` over one
shared walk instead of a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

from opto.registry import implementation
from opto.show import show, text_of
from opto.trace.nodes import GRAPH, MessageNode, Node, ancestors_by_level
from opto.trace.propagators.propagators import AbstractFeedback, Propagator
from opto.trace.propagators.readable import readable
from opto.trace.records import same_value

__all__ = ["GraphPropagator", "SubgraphFromWalk", "TraceGraph", "accumulate", "sum_feedback"]

Item = tuple[int, Node[Any]]
_by_level = itemgetter(0)
_SHOWN = 200  # characters of a feedback in messages


def _reached(order: list[MessageNode[Any]], starts: set[Any]) -> list[Node[Any]]:
    """The nodes of the walk that a start leads to, each after its inputs; some more than once."""
    found: list[Node[Any]] = []
    for node in reversed(order):
        inputs = node._inputs
        if node in starts or not starts.isdisjoint(inputs):
            starts.add(node)
            found.extend(inputs)
            found.append(node)
    return found


class TraceGraph(AbstractFeedback):
    """A part of the graph, as `(level, node)` sorted by level, and the user's feedback on its output.

    `outputs` pairs each output with the feedback that it got: one pair as a rule, several after
    `accumulate`. Adding two graphs unites them; their feedback must agree (AssertionError).
    """

    __slots__ = ("_graph", "_parts", "outputs", "user_feedback")

    def __init__(
        self,
        graph: list[Item],
        user_feedback: Any,
        *,
        outputs: list[tuple[Node[Any], Any]] | None = None,
        parts: tuple[TraceGraph, ...] = (),
    ) -> None:
        self._graph: list[Item] | None = None if parts else graph
        self._parts = parts
        self.user_feedback = user_feedback
        if outputs is None:
            outputs = [(graph[-1][1], user_feedback)] if graph and user_feedback is not None else []
        self.outputs = outputs

    @property
    def graph(self) -> list[Item]:
        """`(level, node)` for each node, sorted by level."""
        if self._graph is None:
            self._graph = self._collect()
            self._parts = ()
        return self._graph

    @graph.setter
    def graph(self, graph: list[Item]) -> None:
        self._graph, self._parts = graph, ()

    def _collect(self) -> list[Item]:
        found: dict[Node[Any], None] = {}
        walks: dict[int, tuple[list[MessageNode[Any]], set[Any]]] = {}
        order, starts = list[MessageNode[Any]](), set[Any]()  # of the part before: as a rule the next has the same
        stack: list[TraceGraph] = [self]
        seen: set[int] = set()
        while stack:
            part = stack.pop()
            if isinstance(part, SubgraphFromWalk) and part._graph is None:
                if part.order is not order:
                    order, starts = walks.setdefault(id(part.order), (part.order, set()))
                starts.add(part.start)
            elif id(part) not in seen:
                seen.add(id(part))
                stack.extend(reversed(part._parts))
                if part._graph:
                    found.update((node, None) for _, node in part._graph)
        for order, starts in walks.values():
            found.update(dict.fromkeys(_reached(order, starts)))
        return sorted([(node._level, node) for node in found], key=_by_level)

    def empty(self) -> bool:
        """No nodes and no feedback."""
        return self.user_feedback is None and not self._parts and not self.graph

    def __len__(self) -> int:
        return len(self.graph)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.graph)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TraceGraph):
            return NotImplemented
        mine, theirs = ([id(node) for _, node in g.graph] for g in (self, other))
        return mine == theirs and bool(self.user_feedback == other.user_feedback)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TraceGraph({len(self)} nodes, user_feedback={show(self.user_feedback, _SHOWN)})"

    def __add__(self, other: Any) -> TraceGraph:
        if not isinstance(other, TraceGraph):
            return self if isinstance(other, int) and other == 0 else NotImplemented
        if self.empty() and other.empty():
            return TraceGraph([], None)
        assert self.user_feedback is not None or other.user_feedback is not None, (
            "Neither of two graphs to be added has feedback."
        )
        if self.user_feedback is not None and other.user_feedback is not None:
            assert same_value(self.user_feedback, other.user_feedback), (
                f"Two graphs with different feedback are not added: {show(self.user_feedback, _SHOWN)}, "
                f"{show(other.user_feedback, _SHOWN)}. "
                "Call zero_feedback() between backward passes, or use accumulate()."
            )
        feedback = other.user_feedback if self.user_feedback is None else self.user_feedback
        return TraceGraph([], feedback, outputs=_united((self, other)), parts=(self, other))

    def visualize(self, simple_visualization: bool = True, reverse_plot: bool = False, print_limit: int = 100) -> Any:
        """A picture of the graph (a graphviz Digraph where that package is installed); edges of whole calls only."""
        draw = implementation("digraph")
        return draw(self.graph, simple=simple_visualization, reverse=reverse_plot, print_limit=print_limit)

    def _repr_svg_(self) -> str:
        svg: str = implementation("picture")(self.graph).svg()
        return svg

    @staticmethod
    def expand(node: MessageNode[Any]) -> TraceGraph:
        """The graph inside a call of a traceable function; needs `GRAPH.ALLOW_NESTED_GRAPHS` (ValueError)."""
        if not GRAPH.ALLOW_NESTED_GRAPHS:
            raise ValueError("Set GRAPH.ALLOW_NESTED_GRAPHS = True before the calls that are to be expanded.")
        output = node.info.get("output") if isinstance(node.info, dict) else None
        if not isinstance(output, MessageNode):
            return TraceGraph([], None)
        found = {id(n): n for call in reversed(ancestors_by_level(output, 0)) for n in (*call._inputs, call)}
        return TraceGraph(sorted(((n._level, n) for n in found.values()), key=_by_level), "")


class SubgraphFromWalk(TraceGraph):
    """The part of a backward walk that a root reaches: the nodes from `start` to the output, and their inputs.

    `order` is the walk: the visited MessageNodes, highest level first (shared by the subgraphs of all roots).
    """

    __slots__ = ("order", "start")

    def __init__(
        self, order: list[MessageNode[Any]], start: Node[Any], user_feedback: Any, outputs: list[tuple[Node[Any], Any]]
    ) -> None:
        self._graph, self._parts = None, ()
        self.order = order
        self.start = start
        self.user_feedback = user_feedback
        self.outputs = outputs


def _united(graphs: Iterable[TraceGraph]) -> list[tuple[Node[Any], Any]]:
    pairs: dict[int, tuple[Node[Any], Any]] = {}
    for graph in graphs:
        for output, feedback in graph.outputs:
            pairs.setdefault(id(output), (output, feedback))
    return list(pairs.values())


class GraphPropagator(Propagator):
    """Gives each parent the child's graph together with all the child's inputs.

    Every parameter thus ends with the minimal subgraph of Cheng, Nie, Swaminathan (2024, arXiv
    2406.16218, section 3.2): what lies between it and the output, with the direct inputs of that.
    """

    def init_feedback(self, node: Node[Any], feedback: Any) -> TraceGraph:
        assert feedback is not None, "None is no feedback; give a text, a number or an object."
        return TraceGraph([(node.level, node)], feedback)

    def _propagate(self, child: MessageNode[Any]) -> dict[Any, Any]:
        above = self.aggregate(child.feedback)
        assert above.user_feedback is not None, "None is no feedback; give a text, a number or an object."
        inputs = TraceGraph([(parent.level, parent) for parent in child.parents], above.user_feedback, outputs=[])
        share = above + inputs
        return {receiver: share for receiver in (*child.parents, *child.hidden_dependencies)}

    def aggregate(self, feedback: dict[Any, list[TraceGraph]]) -> TraceGraph:
        """The sum of one graph per child; the empty graph if there is none."""
        for child, graphs in feedback.items():
            assert len(graphs) == 1, f"{len(graphs)} graphs came from {child.name}, not one."
        graphs = [graphs[0] for graphs in feedback.values()]
        return sum(graphs[1:], graphs[0]) if graphs else TraceGraph([], None)


def _received(nodes: Iterable[Node[Any]]) -> list[Any]:
    found: list[Any] = []
    for node in nodes:
        rare = node._rare
        if rare is not None and rare.feedback:
            for items in rare.feedback.values():
                found.extend(items)
    return found


def sum_feedback(nodes: Iterable[Node[Any]]) -> Any:
    """The sum of all feedback on `nodes`; 0 if there is none. Graphs with different feedback: AssertionError."""
    items = _received(nodes)
    if not items or not all(isinstance(item, TraceGraph) for item in items):
        return sum(items)
    first = next((g.user_feedback for g in items if g.user_feedback is not None), None)
    for graph in items:
        assert graph.user_feedback is None or same_value(graph.user_feedback, first), (
            f"The nodes hold different feedback: {show(first, _SHOWN)} and "
            f"{show(graph.user_feedback, _SHOWN)}. "
            "Call zero_feedback() between backward passes, or use accumulate()."
        )
    return items[0] if len(items) == 1 else TraceGraph([], first, outputs=_united(items), parts=tuple(items))


def accumulate(nodes: Iterable[Node[Any]]) -> TraceGraph:
    """All feedback on `nodes` as one graph, as gradients add up: each output keeps its own feedback.

    `user_feedback` is the common feedback, or one line `output: feedback` an output where they differ.
    """
    received = _received(nodes)
    kinds = {kind for kind in set(map(type, received)) if issubclass(kind, TraceGraph)}
    items: list[TraceGraph] = [item for item in received if type(item) in kinds]
    pairs: list[tuple[Node[Any], Any]] = []
    seen: dict[int, list[Any]] = {}
    for outputs in {id(graph.outputs): graph.outputs for graph in items}.values():
        for output, feedback in outputs:
            known = seen.setdefault(id(output), [])
            if not any(same_value(feedback, other) for other in known):
                known.append(feedback)
                pairs.append((output, feedback))
    if not pairs:
        return TraceGraph([], None, parts=tuple(items))
    first = pairs[0][1]
    text = (
        first
        if all(same_value(feedback, first) for _, feedback in pairs)
        else "\n".join(f"{output.py_name}: {text_of(readable(feedback))}" for output, feedback in pairs)
    )
    return TraceGraph([], text, outputs=pairs, parts=tuple(items))
