"""The problem an optimizer poses to a model, as pure data, and the one walk that reads it from the graph of a run.

No other file of the optimizers looks at the nodes of a run. `FunctionFeedback` is the existing library's view of
the same problem, with the calls as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from opto.show import text_of
from opto.trace.nodes import ExceptionNode, MessageNode, Node, Operation, ParameterNode
from opto.trace.operators.table import TABLE, Operator
from opto.trace.propagators.graph_propagator import TraceGraph
from opto.trace.propagators.readable import readable
from opto.trace.records import without_prefix
from opto.trace.spaces.space import constraints_of, plain_value
from opto.values import words

__all__ = [
    "Attempt",
    "Call",
    "FeedbackOfProblem",
    "FunctionFeedback",
    "Given",
    "Outcome",
    "Part",
    "Problem",
    "ValuesByName",
    "collect",
    "get_fun_name",
    "holds_code",
    "node_to_function_feedback",
    "part_of",
    "repr_function_call",
    "unique_parameters",
]

# Calls and values are named tuples: a graph has thousands, and a frozen dataclass costs thrice as much to make.


class Given(NamedTuple):
    """A value that was there before the run and may not change; `is_code` if it is the source of a function."""

    name: str
    value: Any
    description: str | None = None
    is_code: bool = False


class Call(NamedTuple):
    """One call of the run; `inputs` pairs the name of an argument with the name of its node."""

    name: str
    function: str
    inputs: tuple[tuple[str, str], ...]
    value: Any
    description: str | None = None
    level: int = 0
    is_operator: bool = False
    is_error: bool = False

    @property
    def text(self) -> str:
        """`add0 = add(x=x0, y=int0)`."""
        return f"{self.name} = {self.function}({', '.join([f'{k}={v}' for k, v in self.inputs])})"


class Outcome(NamedTuple):
    """An output and the feedback it got."""

    name: str
    value: Any
    feedback: Any


class Part(NamedTuple):
    """A parameter that may change, under the name the model knows it by.

    `constraint` is what the parameter's space demands, `form` how a reply writes a value of the type where that is not
    plain; `is_code` if the value is the source of a bundled function.
    """

    name: str
    value: Any
    description: str | None = None
    constraint: str | None = None
    is_code: bool = False
    form: str | None = None

    @property
    def kind(self) -> str:
        """The type that prompts show: `code`, or the name of the value's type."""
        return "code" if self.is_code else type(self.value).__name__

    @property
    def conditions(self) -> str | None:
        """Description, constraint and form together; None if there is none of them."""
        if self.constraint is None and self.form is None:
            return self.description
        joint = "\n" if self.is_code else "; "
        return joint.join(text for text in (self.description, self.constraint, self.form) if text) or None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An earlier step: the values that were in force, by part name, and the feedback they got."""

    values: Mapping[str, Any]
    feedback: Any


@dataclass(frozen=True, slots=True)
class Problem:
    """The parts that may change, the recorded run, and the feedback.

    `calls` are in topological order; `given` holds every value that no shown call made; `outcomes` are the
    nodes that the feedback is about. No name stands for two things.
    """

    parts: tuple[Part, ...] = ()
    given: Mapping[str, Given] = field(default_factory=dict[str, Given])
    calls: tuple[Call, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    feedback: Any = None
    objective: str = ""
    context: str | None = None
    history: tuple[Attempt, ...] = ()
    blame: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def code_names(self) -> frozenset[str]:
        """The names of the values that are code, whether they may change or not."""
        given = [value.name for value in self.given.values() if value.is_code]
        return frozenset([*given, *(part.name for part in self.parts if part.is_code)])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, in order."""
        return tuple(part.name for part in self.parts)

    def part(self, name: str) -> Part | None:
        """The part of that name, or None."""
        return next((part for part in self.parts if part.name == name), None)


_NAMED_ARGUMENTS = ("call", "call_llm")  # operators whose arguments mean little without their names
Described = tuple[Any, str | None]


class ValuesByName(dict[str, Described]):
    """Values and their descriptions by name; `code` holds the names of those that are the source of a function."""

    def __init__(self, values: Iterable[Part | Given | Call], code: Container[str]) -> None:
        super().__init__((v.name, (v.value, v.conditions if isinstance(v, Part) else v.description)) for v in values)
        self.code = code


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


class FeedbackOfProblem(FunctionFeedback):
    """The same, worked out from a problem when first looked at: lean prompts need none of it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.user_feedback = problem.feedback

    def __getattr__(self, name: str) -> Any:
        if name == "problem" or name not in FunctionFeedback.__dataclass_fields__:
            raise AttributeError(name)
        problem = self.problem
        highest = max((call.level for call in problem.calls), default=0)
        several = {outcome.name for outcome in problem.outcomes} if len(problem.outcomes) > 1 else set[str]()
        outputs = {call.name for call in problem.calls if call.level == highest} | several
        code = problem.code_names
        self.graph = [(call.level, call.text) for call in problem.calls]
        self.documentation = {call.function: call.description for call in problem.calls}
        self.others = ValuesByName((call for call in problem.calls if call.name not in outputs), code)
        self.output = ValuesByName((call for call in problem.calls if call.name in outputs), code)
        self.variables = ValuesByName(problem.parts, code)
        self.inputs = ValuesByName(problem.given.values(), code)
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
    return _call(child, child.py_name, inputs, {}).text


_Facts = tuple[str, str | None, bool]


def _call(node: Any, name: str, inputs: tuple[tuple[str, str], ...], known: dict[Operation, _Facts]) -> Call:
    """The record of the call that made `node`; `known` keeps what all nodes of an operation have in common."""
    op = node._op
    facts = known.get(op) if node._rare is None else None
    if facts is None:
        operator = TABLE.get(op.base)
        bare = operator is not None and operator.description == op.description and op.base not in _NAMED_ARGUMENTS
        about = node.description
        if isinstance(made_by := getattr(op.info, "__self__", None), Operator) and op.base == "format":
            about = without_prefix(made_by.description)  # that of the node is its template, an input already
        facts = get_fun_name(node), about, bare
        if node._rare is None:
            known[op] = facts
    function, description, is_operator = facts
    failed = type(node) is not MessageNode and isinstance(node, ExceptionNode)
    return Call(name, function, inputs, node._data_seen(), description, node._level, is_operator, failed)


def unique_parameters(parameters: Iterable[Any]) -> list[Any]:
    """The parameters, each once, in order (a list may name one twice)."""
    return list(dict.fromkeys(parameters))


def holds_code(node: Any) -> bool:
    """Whether a node is a parameter whose value is program text."""
    return isinstance(node, ParameterNode) and node.is_code


def part_of(parameter: Any, name: str) -> Part:
    """A parameter as a part, as its space shows and constrains it."""
    rare = parameter._rare
    if rare is None:
        return Part(name, parameter._data, parameter.description, form=words(parameter._data))
    constrained = bool(rare.projections)
    return Part(
        name,
        plain_value(parameter) if constrained else parameter._data,
        parameter.description,
        constraints_of(parameter) if constrained else None,
        parameter.is_code if constrained else rare.code,
        None if constrained or rare.code else words(parameter._data),
    )


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
    known: dict[Operation, _Facts] = {}
    later: list[tuple[int, Any]] = []
    for node, name in names.items():
        inputs = node._inputs
        if inputs:
            try:
                inputs = tuple([(key, names[parent]) for key, parent in zip(node._op.keys, inputs)])  # noqa: B905
            except KeyError:
                inputs = ()  # some of its parents are outside
        if inputs:
            if node._rare is not None and node._rare.saw:
                later.append((len(calls), node))
            calls.append(_call(node, name, inputs, known))
        elif node in mine:
            parts.append(part_of(node, name))
        else:
            description = node.description if node._op.description != "[Node]" else None
            given[name] = Given(name, node._data_seen(), description, node._rare is not None and holds_code(node))
    if later:
        _show_what_they_saw(later, calls, given, names)
    return Problem(tuple(parts), given, tuple(calls), _outcomes(graph, names), readable(graph.user_feedback))


def _show_what_they_saw(
    later: list[tuple[int, Any]], calls: list[Call], given: dict[str, Given], names: dict[Any, str]
) -> None:
    """Give the calls of nodes that the program changed in between the values that they saw, each under its own name."""
    own: dict[int, str] = {}
    taken = {*names.values()}
    changed: set[str] = set()
    for at, node in later:
        inputs = list(calls[at].inputs)
        for i, parent in enumerate(node._inputs[: len(inputs)]):
            was, name = node._rare.saw.get(id(parent)), inputs[i][1]
            if was is None or name not in given:
                continue
            if id(was) not in own:
                own[id(was)] = label = next(f"{name}_{n}" for n in count(1) if f"{name}_{n}" not in taken)
                taken.add(label)
                given[label] = given[name]._replace(name=label, value=was.value_then(parent._data))
            changed.add(name)
            inputs[i] = inputs[i][0], own[id(was)]
        calls[at] = calls[at]._replace(inputs=tuple(inputs))
    read = {ref for call in calls for _, ref in call.inputs}
    for name in changed - read:
        del given[name]


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
    """The outputs, each once with all its feedback."""
    said: dict[Node[Any], list[Any]] = {}
    for output, feedback in graph.outputs:
        said.setdefault(output, []).append(feedback)
    readables = {output: [readable(feedback) for feedback in heard] for output, heard in said.items()}
    joined = {o: heard[0] if len(heard) == 1 else "\n".join(map(text_of, heard)) for o, heard in readables.items()}
    return tuple([Outcome(names.get(o) or o.py_name, o._data_seen(), feedback) for o, feedback in joined.items()])


def node_to_function_feedback(node_feedback: TraceGraph) -> FunctionFeedback:
    """The run of a trace graph in the terms of the existing library; all roots together."""
    return FeedbackOfProblem(collect(node_feedback))
