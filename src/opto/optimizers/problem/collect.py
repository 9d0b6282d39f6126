"""From the graph to the problem: the only place of the optimizers that looks at nodes of a run.

One linear walk over a `TraceGraph` gives a `Problem`; `FunctionFeedback` is the existing library's view of
the same, with the calls as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opto.optimizers.problem.problem import Call, Given, Outcome, Part, Problem
from opto.trace.nodes import ExceptionNode, MessageNode, Node, Operation
from opto.trace.operators.table import TABLE
from opto.trace.propagators.graph_propagator import TraceGraph
from opto.trace.spaces.space import constraints_of, plain_value

__all__ = [
    "FunctionFeedback",
    "collect",
    "function_feedback",
    "get_fun_name",
    "node_to_function_feedback",
    "part_of",
    "repr_function_call",
    "unique_parameters",
]

_NAMED_ARGUMENTS = ("call", "call_llm")  # operators whose arguments mean little without their names
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


class _LazyFeedback(FunctionFeedback):
    """The same, worked out from a problem when first looked at: lean prompts need none of it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.user_feedback = problem.feedback
        self.variables = {p.name: (p.value, p.conditions) for p in problem.parts}

    def __getattr__(self, name: str) -> Any:
        if name not in ("graph", "documentation", "others", "roots", "output", "inputs"):
            raise AttributeError(name)
        problem = self.problem
        highest = max((call.level for call in problem.calls), default=0)
        several = {outcome.name for outcome in problem.outcomes} if len(problem.outcomes) > 1 else set[str]()
        outputs = {call.name for call in problem.calls if call.level == highest} | several
        values: dict[str, Described] = {call.name: (call.value, call.description) for call in problem.calls}
        self.graph = [(call.level, call.text) for call in problem.calls]
        self.documentation = {call.function: call.description for call in problem.calls}
        self.others = {name: value for name, value in values.items() if name not in outputs}
        self.output = {name: value for name, value in values.items() if name in outputs}
        self.inputs = {g.name: (g.value, g.description) for g in problem.given.values()}
        self.roots = {**self.variables, **self.inputs}
        return self.__dict__[name]


def get_fun_name(node: Node[Any]) -> str:
    """The name of the function that made a node, as call texts show it."""
    made_by_hand = node._rare is not None and node._rare.info is not None
    info = node.info if made_by_hand or isinstance(node, ExceptionNode) else None  # deriving it costs time
    if isinstance(info, dict) and "fun_name" in info:
        return str(info["fun_name"])
    if node._op.info is not None:
        return node._op.fun_name
    return node.name.split(":")[0]


def repr_function_call(child: MessageNode[Any]) -> str:
    """The call that made a node, as text: `add0 = add(x=x0, y=int0)`."""
    inputs = tuple([(key, parent.py_name) for key, parent in child.inputs.items()])
    return _Collector().call(child, child.py_name, inputs).text


class _Collector:
    """Makes records of calls; remembers what the many nodes of one operation have in common."""

    def __init__(self) -> None:
        self.known: dict[Operation, tuple[str, str | None, bool]] = {}

    def facts(self, node: Any) -> tuple[str, str | None, bool]:
        """(function, description, whether it is an operator of the language, whose arguments need no names)."""
        operator = TABLE.get(node._op.base)
        plain = operator is not None and operator.description == node._op.description
        return get_fun_name(node), node.description, plain and node._op.base not in _NAMED_ARGUMENTS

    def call(self, node: Any, name: str, inputs: tuple[tuple[str, str], ...]) -> Call:
        op = node._op
        facts = self.known.get(op) if node._rare is None else self.facts(node)
        if facts is None:
            facts = self.known[op] = self.facts(node)
        function, description, is_operator = facts
        failed = type(node) is not MessageNode and isinstance(node, ExceptionNode)
        return Call(name, function, inputs, node._data, description, node._level, is_operator, failed)


def unique_parameters(parameters: Iterable[Any]) -> list[Any]:
    """The parameters, each once, in order (a list may name one twice)."""
    return list(dict.fromkeys(parameters))


def part_of(parameter: Any, name: str) -> Part:
    """A parameter as a part, as its space shows and constrains it."""
    more = parameter._rare
    if more is None or not more.projections:
        return Part(name, parameter._data, parameter.description)
    return Part(name, plain_value(parameter), parameter.description, constraints_of(parameter))


def collect(graph: TraceGraph, parameters: Iterable[Any] = ()) -> Problem:
    """The problem of a trace graph: `parameters` that are roots of it become parts, other roots are given.

    The parameters are those that may change. A node some of whose parents are outside the graph counts as given, too.
    """
    mine = set(parameters)
    # as node.py_name, which this loop cannot afford
    names: dict[Any, str] = {
        n: f"{n._op.base}{n._index}" if (more := n._rare) is None or more.name is None else n.py_name for _, n in graph
    }
    if len({*names.values()}) < len(names):
        names = _told_apart(names, mine)
    parts: list[Part] = []
    given: dict[str, Given] = {}
    calls: list[Call] = []
    reader = _Collector()
    for node, name in names.items():
        inputs = node._inputs
        if inputs:
            try:
                inputs = tuple([(key, names[parent]) for key, parent in zip(node._op.keys, inputs)])  # noqa: B905
            except KeyError:
                inputs = ()  # some of its parents are outside
        if inputs:
            calls.append(reader.call(node, name, inputs))
        elif node in mine:
            parts.append(part_of(node, name))
        else:
            given[name] = Given(name, node._data, node.description if node._op.description != "[Node]" else None)
    return Problem(tuple(parts), given, tuple(calls), _outcomes(graph, names), graph.user_feedback)


def _told_apart(names: dict[Any, str], mine: Iterable[Any]) -> dict[Any, str]:
    """The names, each once, as `GRAPH.clear()` lets them repeat; a parameter, which a reply may name, keeps its own."""
    found = {parameter: names[parameter] for parameter in mine if parameter in names}
    taken = {*found.values()}
    repeats: Counter[str] = Counter()
    for node, name in names.items():
        if node in found:
            continue
        own = name
        while own in taken:
            repeats[name] += 1
            own = f"{name}_{repeats[name]}"
        taken.add(own)
        found[node] = own
    return {node: found[node] for node in names}


def _outcomes(graph: TraceGraph, names: dict[Any, str]) -> tuple[Outcome, ...]:
    """The outputs, each once with all that was said about it."""
    said: dict[Node[Any], list[Any]] = {}
    for output, feedback in graph.outputs:
        said.setdefault(output, []).append(feedback)
    joined = {output: told[0] if len(told) == 1 else "\n".join(map(str, told)) for output, told in said.items()}
    return tuple([Outcome(names.get(o) or o.py_name, o._data, feedback) for o, feedback in joined.items()])


def node_to_function_feedback(node_feedback: TraceGraph) -> FunctionFeedback:
    """The run of a trace graph in the terms of the existing library; all roots together."""
    return function_feedback(collect(node_feedback))


def function_feedback(problem: Problem) -> FunctionFeedback:
    """The existing library's view of `problem`."""
    return _LazyFeedback(problem)
