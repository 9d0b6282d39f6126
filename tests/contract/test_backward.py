"""Walking back, feedback, propagators and TraceGraph."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.trace import GRAPH, bundle, node
from opto.trace.bundle import ExecutionError
from opto.trace.nodes import MessageNode, Node, ParameterNode
from opto.trace.propagators import GraphPropagator, Propagator, SumPropagator, TraceGraph
from opto.trace.utils import contain, sum_feedback


def only(feedback: Any) -> Any:
    """The single item of a feedback mapping."""
    assert len(feedback) == 1
    (items,) = feedback.values()
    assert len(items) == 1
    return items[0]


def shown(graph: TraceGraph) -> list[tuple[int, str]]:
    return sorted((level, n.name) for level, n in graph)


# --- backward -------------------------------------------------------------------------------------------------------


def test_first_vector() -> None:
    x, y = node(1, name="x", trainable=True), node(2, name="y")
    w = (x * y) + 1
    w.backward("fb")
    assert [k.name for k in x.feedback] == ["multiply:0"]
    graph = only(x.feedback)
    assert isinstance(graph, TraceGraph) and graph.user_feedback == "fb"
    assert shown(graph) == [(0, "int:0"), (0, "x:0"), (0, "y:0"), (1, "multiply:0"), (2, "add:0")]
    assert [level for level, _ in graph] == [0, 0, 0, 1, 2]
    assert not y.feedback
    assert x.children == []
    assert [p.name for p in w.parents] == ["multiply:0", "int:0"]


def test_second_backward_is_refused() -> None:
    x, y = node(1, name="x", trainable=True), node(2, name="y")
    z = x * y
    w = z + 1
    other = z + 2
    w.backward("fb")
    with pytest.raises(AttributeError):
        w.backward("fb")
    with pytest.raises(AttributeError):
        z.backward("fb")
    with pytest.raises(AttributeError):
        other.backward("fb")
    with pytest.raises(AttributeError):
        (z + 3).backward()


def test_default_feedback_and_propagator() -> None:
    x = node(1, trainable=True)
    (x + 1).backward()
    assert only(x.feedback).user_feedback == ""


def test_backward_returns_none() -> None:
    x = node(1, trainable=True)
    assert (x + 1).backward("fb") is None


def test_retain_graph_appends() -> None:
    x = node(1, name="x", trainable=True)
    w = x + 1
    w.backward("a", retain_graph=True)
    w.backward("b", retain_graph=True)
    (items,) = x.feedback.values()
    assert [g.user_feedback for g in items] == ["a", "b"]
    assert [c is w for c in x.children] == [True]
    with pytest.raises(AssertionError):
        sum_feedback([x])
    x.zero_feedback()
    w.backward("c", retain_graph=True)
    assert sum_feedback([x]).user_feedback == "c"


def test_two_outputs_of_one_parameter() -> None:
    x = node(1, name="x", trainable=True)
    y, z = x + 1, x + 2
    y.backward("fb")
    assert len(x.children) == 1 and x.children[0] is z and len(x.feedback) == 1
    z.backward("fb")
    assert len(x.children) == 0 and len(x.feedback) == 2


def test_diamond() -> None:
    x = node(1, name="x", trainable=True)
    c = (x + 1) + (x * 2)
    c.backward("fb")
    assert len(x.feedback) == 2
    total = sum_feedback([x])
    assert len(total) == 6 and total.user_feedback == "fb"


def test_backward_on_a_root() -> None:
    x = node(1, name="x", trainable=True)
    for k in range(3):
        x.backward("zz")
        assert sum(len(v) for v in x.feedback.values()) == k + 1
    graph = next(iter(x.feedback.values()))[0]
    assert [(level, n is x) for level, n in graph] == [(0, True)]
    x.zero_feedback()
    x.backward("zz")
    assert only(x.feedback).user_feedback == "zz"


def test_key_of_a_direct_backward_is_a_helper_node() -> None:
    x = node(1, trainable=True)
    x.backward("fb")
    (key,) = x.feedback
    assert isinstance(key, Node) and key.data == "FEEDBACK_ORACLE"


def test_no_parameters() -> None:
    a = node(1, name="a")
    b = a + 1
    c = b * 2
    c.backward("fb")
    assert not a.feedback and not b.feedback


def test_parameter_free_parents_are_skipped() -> None:
    a, k = node(1, name="a", trainable=True), node(10, name="k")
    side = k * 2
    d = (a + side) - a
    d.backward("fb")
    assert not k.feedback and not side.feedback
    assert any(c is side for c in k.children)
    names = {n.py_name for _, n in sum_feedback([a])}
    assert names == {"a0", "multiply0", "add0", "subtract0"}


def test_shared_constants_do_not_tie_passes_together() -> None:
    p, q, k = node(1, name="p", trainable=True), node(2, name="q", trainable=True), node(3, name="k")
    side = k * 2
    a, b = p + side, q + side
    a.backward("one")
    b.backward("two")
    assert only(p.feedback).user_feedback == "one" and only(q.feedback).user_feedback == "two"
    assert {n.name for _, n in sum_feedback([q])} == {"q:0", "multiply:0", "add:1"}


def test_frozen_parameters_still_get_feedback() -> None:  # the flag decides about updates, not about the walk
    p = node(1, name="p", trainable=True)
    p.trainable = False
    (p + 1).backward("fb")
    assert only(p.feedback).user_feedback == "fb"


def test_message_feedback_is_cleared() -> None:
    x = node(1, trainable=True)
    y = x + 1
    z = y * 2
    z.backward("fb", retain_graph=True)
    assert not y.feedback and not z.feedback


def test_detached_after_backward() -> None:
    x = node(1, trainable=True)
    y = x + 1
    z = y * 2
    z.backward("fb")
    assert x.children == [] and y.children == [] and z.children == []
    assert y.parents[0] is x and z.parents[0] is y


def test_children_are_removed_by_identity() -> None:
    np = pytest.importorskip("numpy")
    x = node(np.array([1, 2]), trainable=True)
    y, z, w = x + 1, x + 1, x + 1
    z.backward("fb")
    assert [c is d for c, d in zip(x.children, (y, w), strict=True)] == [True, True]


def test_levels_not_insertion_decide() -> None:  # all children before parents
    x = node(1, name="x", trainable=True)
    a = x + 1
    b = a * 2
    c = b + a
    d = c - x
    d.backward("fb")
    assert {k.py_name for k in x.feedback} == {"add0", "subtract0"}
    assert len(sum_feedback([x])) == len({id(n) for _, n in sum_feedback([x])})


def test_parameters_of_other_optimizers_keep_feedback() -> None:
    a, b = node(1, name="a", trainable=True), node(2, name="b", trainable=True)
    y = a + b
    y.backward("F1", retain_graph=True)
    b.zero_feedback()
    y.backward("F2")
    assert only(b.feedback).user_feedback == "F2"
    assert [g.user_feedback for g in a.feedback[y]] == ["F1", "F2"]


def test_exception_node_backward() -> None:
    x = node(1, name="x", trainable=True)
    with pytest.raises(ExecutionError) as e:
        x / 0
    e.value.exception_node.backward("fix it")
    assert only(x.feedback).user_feedback == "fix it"


def test_plain_roots_take_feedback_too() -> None:
    x = node(1)
    x.backward("a")
    x.backward("b")
    assert sum(len(v) for v in x.feedback.values()) == 2


# --- where feedback is kept -----------------------------------------------------------------------------------------


def test_sum_of_nothing_is_zero() -> None:
    assert sum_feedback([node(1, trainable=True)]) == 0
    assert sum_feedback([]) == 0


def test_sum_over_nodes() -> None:
    a, b = node(1, name="a", trainable=True), node(2, name="b", trainable=True)
    ((a + 1) * (b + 2)).backward("fb")
    total = sum_feedback([a, b])
    assert isinstance(total, TraceGraph) and len(total) == 7


# --- TraceGraph -------------------------------------------------------------------------------------------------


def graph_of(feedback: Any, *nodes: Node) -> TraceGraph:
    return TraceGraph([(n.level, n) for n in nodes], feedback)


def test_trace_graph() -> None:
    x = node(1, name="x")
    y = x + 1
    g = graph_of("fb", x, y)
    assert len(g) == 2 and [n is m for (_, n), m in zip(g, (x, y), strict=True)] == [True, True]
    assert not g.empty() and g.user_feedback == "fb" and next(iter(g.graph))[0] == 0
    empty = TraceGraph([], None)
    assert empty.empty() and (empty + TraceGraph([], None)).empty()
    assert len(0 + g) == 2 and len(sum([g, g])) == 2


def test_addition_of_feedback() -> None:
    x, y = node(1, name="x"), node(1, name="y")
    empty = TraceGraph([], None)
    assert (graph_of("fb", x) + empty).user_feedback == "fb"
    assert (empty + graph_of("fb", x)).user_feedback == "fb"
    assert (graph_of("fb", x) + graph_of("fb", y)).user_feedback == "fb"
    with pytest.raises(AssertionError):
        graph_of("a", x) + graph_of("b", y)
    with pytest.raises(AssertionError):
        graph_of(None, x) + graph_of(None, y)


def test_union_is_by_identity() -> None:
    x, y = node(1, name="x"), node(1, name="y")
    assert len(graph_of("fb", x) + graph_of("fb", y)) == 2
    assert len(graph_of("fb", x, y) + graph_of("fb", y)) == 2


def test_union_of_arrays() -> None:  # nodes may not be compared with ==
    np = pytest.importorskip("numpy")
    x, y = node(np.zeros(2), trainable=True), node(np.zeros(2), trainable=True)
    z = (x + y) * (x - y)
    z.backward("fb")
    assert len(sum_feedback([x, y])) == 5


# --- propagators ------------------------------------------------------------------------------------------------


def test_register_overrides_an_op() -> None:
    x = node(1, name="x", trainable=True)
    seen = []
    propagator = GraphPropagator()

    def rule(child: MessageNode) -> dict[Node, Any]:
        seen.append(child.name)
        graph = propagator.aggregate(child.feedback)
        return {p: TraceGraph([(0, p)], f"for {graph.user_feedback}") for p in child.parents}

    propagator.register("multiply", rule)
    ((x * 2) + 1).backward("fb", propagator=propagator)
    assert seen == ["multiply:0"] and only(x.feedback).user_feedback == "for fb"


def test_subclass_is_asked_for_every_node() -> None:
    seen = []

    class Watching(GraphPropagator):
        def _propagate(self, child: MessageNode) -> dict[Node, Any]:
            seen.append(child.name)
            return super()._propagate(child)

    x = node(1, name="x", trainable=True)
    ((x + 1) * 2).backward("fb", propagator=Watching())
    assert seen == ["multiply:0", "add:0"] and len(only(x.feedback)) == 5


@pytest.mark.parametrize("subclass", [False, True])
def test_graph_of_one_parameter(subclass: bool) -> None:  # a subclass that adds nothing gives the same
    class Same(GraphPropagator):
        pass

    a, b = node(1, name="a", trainable=True), node(2, name="b", trainable=True)
    c = (a + b) * (a - 3) + node(5, name="k") * 2
    c.backward("fb", propagator=Same() if subclass else GraphPropagator())
    on_paths = [(1, "add:0"), (1, "multiply:1"), (1, "subtract:0"), (2, "multiply:0"), (3, "add:1")]
    assert sorted(k.name for k in a.feedback) == ["add:0", "subtract:0"]
    assert shown(sum_feedback([b])) == [(0, "a:0"), (0, "b:0"), *on_paths]
    assert shown(sum_feedback([a, b])) == [(0, "a:0"), (0, "b:0"), (0, "int:0"), *on_paths]


def test_aggregate() -> None:
    p = GraphPropagator()
    x = node(1, name="x")
    y, z = x + 1, x + 2
    assert p.aggregate({}).empty()
    total = p.aggregate({y: [graph_of("fb", x)], z: [graph_of("fb", z)]})
    assert len(total) == 2
    with pytest.raises(AssertionError):
        p.aggregate({y: [graph_of("fb", x), graph_of("fb", x)]})


def test_init_feedback() -> None:
    x = node(1, name="x")
    y = x + 1
    g = GraphPropagator().init_feedback(y, "fb")
    assert g.user_feedback == "fb" and [(level, n is y) for level, n in g] == [(1, True)]


class Odd(Propagator):
    """Returns what it is told to."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def init_feedback(self, node: Node, feedback: Any) -> Any:
        return feedback

    def _propagate(self, child: MessageNode) -> Any:
        return self.result(child)


@pytest.mark.parametrize(
    "result",
    [lambda c: None, lambda c: [], lambda c: {}, lambda c: {c.parents[0]: 1}],
    ids=["none", "list", "empty", "one missing"],
)
def test_results_are_checked(result: Any) -> None:
    a, b = node(1, trainable=True), node(2, trainable=True)
    with pytest.raises(AssertionError):
        (a + b).backward(1, propagator=Odd(result))


def test_calls_are_checked() -> None:
    x = node(1, trainable=True)
    with pytest.raises(AssertionError):
        GraphPropagator()(x)
    y = x + 1
    y.feedback[x + 3] = ["a", "b"]
    with pytest.raises(AssertionError):
        Odd(lambda c: dict.fromkeys(c.parents, 1))(y)


def test_sum_propagator() -> None:
    x = node(1, name="x", trainable=True)
    c = (x + 1) + (x * 2)
    c.backward(2, propagator=SumPropagator())
    assert sum_feedback([x]) == 4
    y = node("a", trainable=True)
    (y + "b").backward("text", propagator=SumPropagator())
    assert only(y.feedback) == "text"
    assert SumPropagator().init_feedback(y, 3) == 3


def test_hidden_dependencies_get_feedback() -> None:
    x, hidden = node(1, name="x", trainable=True), node(2, name="hidden", trainable=True)

    @bundle(traceable_code=True)
    def f(q):
        return q + hidden

    (f(x) * 2).backward("fb")
    assert only(hidden.feedback).user_feedback == "fb" and only(x.feedback).user_feedback == "fb"


def test_none_is_no_feedback_on_roots_and_calls() -> None:
    x = node(1, trainable=True)
    for output in (x, x + 1, (x + 1) * (x + 2)):
        with pytest.raises(AssertionError, match="None is no feedback"):
            output.backward(None)
    assert not x.feedback


@pytest.mark.parametrize("order", [("p", "q"), ("q", "p"), ("q", "p", "q")])
def test_one_parameter_among_the_inputs_is_enough_wherever_it_stands(order: tuple[str, ...]) -> None:
    inputs = {"p": node(1, trainable=True), "q": node(2)}
    made = MessageNode(3, inputs={f"{i}": inputs[key] for i, key in enumerate(order)}, description="[sum] of all")
    total = bundle()(added)(*[inputs[key] for key in order])
    for output in (made, made + 1, total, total + 1):
        output.backward("fb", retain_graph=True)
        assert output.parameter_dependencies == {inputs["p"]}
        assert len(inputs["p"].feedback) == 1 and not inputs["q"].feedback
        inputs["p"].zero_feedback()


def added(*numbers: int) -> int:
    return sum(numbers)


class Gradient(Propagator):
    """Numbers instead of graphs: the derivative rules of the custom-optimizer tutorial."""

    def init_feedback(self, node: Node, feedback: Any) -> Any:
        return feedback

    def _propagate(self, child: MessageNode) -> dict[Node, Any]:
        total = sum(sum(v) for v in child.feedback.values())
        x, y = (n._data for n in child.inputs.values())
        rules = {"add": (1, 1), "subtract": (1, -1), "multiply": (y, x)}
        out = dict.fromkeys(child.parents, 0)
        for parent, slope in zip(child.inputs.values(), rules[child.op_name], strict=True):
            out[parent] += total * slope
        return out


STEP = st.tuples(st.sampled_from(["add", "subtract", "multiply"]), st.integers(0, 50), st.integers(0, 50))


def run(steps: list[tuple[str, int, int]], leaves: list[Any]) -> Any:
    values = list(leaves)
    for op, i, j in steps:
        a, b = values[i % len(values)], values[j % len(values)]
        values.append(a + b if op == "add" else a - b if op == "subtract" else a * b)
    return sum(values)


class Dual:
    """Forward-mode oracle."""

    def __init__(self, value: int, slope: int) -> None:
        self.value, self.slope = value, slope

    def __add__(self, other: Any) -> Dual:
        return Dual(self.value + other.value, self.slope + other.slope)

    def __radd__(self, other: int) -> Dual:
        return Dual(self.value + other, self.slope)

    def __sub__(self, other: Dual) -> Dual:
        return Dual(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other: Dual) -> Dual:
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)


@given(st.lists(STEP, max_size=12), st.lists(st.integers(-3, 3), min_size=1, max_size=4))
def test_law_numbers_are_gradients(steps: list[tuple[str, int, int]], leaves: list[int]) -> None:
    parameters = [ParameterNode(v, name="p") for v in leaves]
    run(steps, parameters).backward(1, propagator=Gradient())
    for k, p in enumerate(parameters):
        duals = [Dual(v, int(i == k)) for i, v in enumerate(leaves)]
        assert sum(sum(v) for v in p.feedback.values()) == run(steps, duals).slope


@given(st.lists(STEP, max_size=12), st.lists(st.integers(-3, 3), min_size=1, max_size=4))
def test_law_topological_order(steps: list[tuple[str, int, int]], leaves: list[int]) -> None:
    parameters = [ParameterNode(v, name="p") for v in leaves]
    out = run(steps, parameters)
    out.backward("fb")
    graph = sum_feedback(parameters)
    seen: set[Node] = set()
    levels = [level for level, _ in graph]
    assert levels == sorted(levels) and len({n for _, n in graph}) == len(graph)
    for level, n in graph:
        assert level == n.level
        assert all(p in seen and p.level < level for p in n.parents)
        seen.add(n)
    assert out in seen


@given(st.permutations(range(4)))
def test_law_siblings_in_any_order(order: list[int]) -> None:
    GRAPH.clear()
    p = node(2, name="p", trainable=True)
    branches = [p + 1, p * 2, p - 3, p**2]
    total = sum(branches[k] for k in order)
    total.backward("fb")
    graph = sum_feedback([p])
    assert {n.op_name for _, n in graph} >= {"add", "multiply", "subtract", "power"}
    assert len(graph) == 1 + 4 + 4 + 4 + 1
    assert len(p.feedback) == 4 and contain([n for _, n in graph], p)
