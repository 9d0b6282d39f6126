"""From the graph to the problem: the only place of the optimizers that looks at nodes of a run.

One linear walk over a `TraceGraph` gives a `Problem`; `FunctionFeedback` is the contract's older view of
the same, with the calls as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opto.optimizers.problem import Call, Given, Outcome, Part, Problem
from opto.trace.nodes import ExceptionNode, MessageNode, Node
from opto.trace.propagators.graph_propagator import TraceGraph

__all__ = [
    "FunctionFeedback",
    "collect",
    "get_fun_name",
    "node_to_function_feedback",
    "repr_function_call",
    "unique_parameters",
]

Described = tuple[Any, str | None]


@dataclass
class FunctionFeedback:
    """The run behind an output: its calls as `(level, text)`, and values `(data, description)` by name.

    `variables` are the roots that may change, `inputs` the other roots; `Optimizer.summarize` sets both.
    """

    graph: list[tuple[int, str]]
    documentation: dict[str, str | None]
    others: dict[str, Described]
    roots: dict[str, Described]
    output: dict[str, Described]
    user_feedback: Any
    variables: dict[str, Described] = field(default_factory=dict[str, Described])
    inputs: dict[str, Described] = field(default_factory=dict[str, Described])
    problem: Problem = field(default_factory=Problem, repr=False, compare=False)


def get_fun_name(node: Node[Any]) -> str:
    """The name of the function that made a node, as call texts show it."""
    info = node._more.info if node._more is not None else None
    if isinstance(info, dict) and "fun_name" in info:
        return str(info["fun_name"])
    if node._op.info is not None:
        return node._op.fun_name
    return node.name.split(":")[0]


def repr_function_call(child: MessageNode[Any]) -> str:
    """The call that made a node, as text: `add0 = add(x=x0, y=int0)`."""
    return _Collector().call(child).text


class _Collector:
    """Makes records of nodes; remembers names and the descriptions of operations, which many nodes share."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.descriptions: dict[int, str | None] = {}

    def name(self, node: Any) -> str:
        found = self.names.get(id(node))
        if found is None:
            found = self.names[id(node)] = node.py_name
        return found

    def description(self, node: Any) -> str | None:
        key = id(node._op)
        if key not in self.descriptions:
            self.descriptions[key] = node.description
        return self.descriptions[key]

    def call(self, node: Any) -> Call:
        plain = node._op.info is None and (node._more is None or node._more.info is None)
        return Call(
            self.name(node),
            get_fun_name(node),
            tuple([(key, self.name(parent)) for key, parent in zip(node._op.keys, node._inputs, strict=False)]),
            node._data,
            self.description(node),
            node._level,
            plain,
            isinstance(node, ExceptionNode),
        )


def unique_parameters(parameters: Iterable[Any]) -> list[Any]:
    """The parameters, each once, in order (a list may name one twice)."""
    return list({id(p): p for p in parameters}.values())


def collect(graph: TraceGraph, parameters: Iterable[Any] = ()) -> Problem:
    """The problem of a trace graph: `parameters` that are roots of it become parts, other roots are given.

    A node some of whose parents are outside the graph counts as given, too.
    """
    mine = {id(p) for p in parameters if p.trainable}
    seen: set[int] = set()
    parts: list[Part] = []
    given: dict[str, Given] = {}
    calls: list[Call] = []
    reader = _Collector()
    for _, node in graph:
        inputs = node._inputs
        name = reader.name(node)
        if inputs and all([id(parent) in seen for parent in inputs]):
            calls.append(reader.call(node))
        elif id(node) in mine:
            parts.append(Part(name, node._data, node.description))
        else:
            given[name] = Given(name, node._data, reader.description(node))
        seen.add(id(node))
    outcomes = tuple([Outcome(output.py_name, output._data, feedback) for output, feedback in graph.outputs])
    return Problem(tuple(parts), given, tuple(calls), outcomes, graph.user_feedback)


def node_to_function_feedback(node_feedback: TraceGraph) -> FunctionFeedback:
    """The run of a trace graph in the contract's terms; all roots together."""
    return to_function_feedback(node_feedback, collect(node_feedback))


def to_function_feedback(graph: TraceGraph, problem: Problem) -> FunctionFeedback:
    """The contract's view of `problem`, which was collected from `graph`."""
    highest = max((level for level, _ in graph), default=0)
    several = {outcome.name for outcome in problem.outcomes} if len(problem.outcomes) > 1 else set[str]()
    outputs = {call.name for call in problem.calls if call.level == highest} | several
    variables: dict[str, Described] = {p.name: (p.value, p.description) for p in problem.parts}
    inputs: dict[str, Described] = {g.name: (g.value, g.description) for g in problem.given.values()}
    names = (node.py_name for _, node in graph)
    values: dict[str, Described] = {call.name: (call.value, call.description) for call in problem.calls}
    return FunctionFeedback(
        graph=[(call.level, call.text) for call in problem.calls],
        documentation={call.function: call.description for call in problem.calls},
        others={name: value for name, value in values.items() if name not in outputs},
        roots={name: variables[name] if name in variables else inputs[name] for name in names if name not in values},
        output={name: value for name, value in values.items() if name in outputs},
        user_feedback=problem.feedback,
        variables=variables,
        inputs=inputs,
        problem=problem,
    )
