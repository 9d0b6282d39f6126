"""The core of the tape beyond what the existing library has: names, views, pickles, refused conversions."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.trace import GRAPH, ExecutionError, bundle, node, operators, stop_tracing
from opto.trace.nodes import MessageNode, Node, ParameterNode
from opto.trace.propagators import SumPropagator
from opto.trace.propagators.graph_propagator import TraceGraph, accumulate, sum_feedback
from opto.trace.value_methods import ValueMethods


def chain(start: Node[int], length: int) -> Node[int]:
    x = start
    for _ in range(length):
        x = x + 1
    return x


def test_stop_tracing_also_stops_recording_reads() -> None:
    outside = node(7)

    @bundle()
    def f(x: int) -> int:
        with stop_tracing():
            return x + outside.data

    assert f(1).data == 8


def test_a_pickled_failure_keeps_its_comment() -> None:
    @bundle()
    def f(x: int) -> float:
        return x / 0

    with pytest.raises(ExecutionError) as caught:
        f(1)
    again = pickle.loads(pickle.dumps(caught.value)).exception_node
    assert "<---" in again.create_feedback("full")
    assert again.data == caught.value.exception_node.data


def test_pickled_nodes_share_their_past() -> None:
    x = node(1, name="x", trainable=True)
    y, z = x + 1, x * 2
    x2, y2, z2 = pickle.loads(pickle.dumps([x, y, z]))
    assert y2.parents[0] is x2 and z2.parents[0] is x2
    assert isinstance(x2, ParameterNode) and [n.name for n in (x2, y2, z2)] == [x.name, y.name, z.name]
    assert {id(c) for c in x2.children} == {id(y2), id(z2)}
    y2.backward("again")
    assert len(x2.feedback) == 1


def test_nodes_inside_values_pickle() -> None:
    inner = node(1) + 1
    outer = node([inner, inner])
    again = pickle.loads(pickle.dumps(outer))
    assert again.data[0] is again.data[1] and again.data[0].data == 2


@pytest.mark.parametrize("convert", [int, float, complex, math.sqrt, range, np.asarray, open])
def test_conversions_that_would_lose_the_trace_say_what_to_write(convert: object) -> None:
    with pytest.raises(TypeError, match=r"write|use"):
        convert(node(4))  # type: ignore[operator]


def test_numpy_functions_are_traced() -> None:
    x = node(np.array([1.0, 4.0]), name="x", trainable=True)
    y = np.sum(np.sqrt(x))
    assert y.data == 3.0 and y.name == "sum:0" and y.parents[0].name == "sqrt:0"
    total = np.array([1.0, 1.0]) + x
    assert isinstance(total, MessageNode) and list(total.data) == [2.0, 5.0]
    with pytest.raises(TypeError, match="use"):
        np.add.reduce(x)


def test_numpy_on_the_left_of_equals_compares_data() -> None:
    x = node(np.array([1.0, 4.0]))
    assert (np.float64(2) == node(2)) is np.True_ and (np.int64(2) != node(2)) is np.False_
    for equal in (np.array([1.0, 3.0]) == x, x == np.array([1.0, 3.0])):
        assert type(equal) is np.ndarray and equal.tolist() == [True, False]


def test_numpy_takes_lists_of_nodes() -> None:
    x, y = node(np.array([1.0, 2.0]), trainable=True), node(np.array([3.0, 4.0]), trainable=True)
    joined = np.concatenate([x, (y * 2)])
    assert joined.data.tolist() == [1.0, 2.0, 6.0, 8.0] and joined.parameter_dependencies == {x, y}
    assert np.stack((x, [0.0, 0.0]), axis=1).data.tolist() == [[1.0, 0.0], [2.0, 0.0]]
    assert np.block([[x, y], [y, x]]).data.tolist() == [[1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 1.0, 2.0]]
    assert np.stack(node([x, y])).data.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert np.add([node(1.0), 2.0], x).data.tolist() == [2.0, 4.0]


def test_nodes_that_numpy_cannot_be_given_say_what_to_write() -> None:
    x = node(np.ones(2))
    hidden = np.empty(1, dtype=object)
    hidden[0] = x
    with pytest.raises(TypeError, match=r"numpy\.concatenate .* lists and tuples of nodes, or plain values"):
        np.concatenate(hidden)
    for convert in (np.array, lambda value: np.array(value, copy=False), lambda value: np.array([value, 1])):
        with pytest.raises(TypeError, match=r"write x\.data"):  # and no DeprecationWarning before it
            convert(node(1.0))


def test_a_dropped_output_is_freed_and_children_are_swept() -> None:
    x = node(1, trainable=True)
    seen = weakref.ref(x + 1)
    assert seen() is None and x.children == []
    kept = [x + i for i in range(40)]
    for _ in range(500):
        x + 1
    assert [c.data for c in x.children] == [c.data for c in kept]
    assert len(x._children) < 200


def test_a_walk_that_failed_begins_again() -> None:
    class Failing(SumPropagator):
        def _propagate(self, child: MessageNode[int]) -> dict[Node[int], int]:
            if child.op_name == "add":
                raise ConnectionError
            return super()._propagate(child)

    x = node(1, trainable=True)
    y = (x + 1) * (x * 2)
    with pytest.raises(ConnectionError):
        y.backward(1, propagator=Failing())
    assert not x.feedback
    y.backward(2, propagator=SumPropagator())
    assert list(x.feedback.values()) == [[2], [2]]


def test_feedback_leaves_no_garbage() -> None:
    x = node(1, trainable=True)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            chain(x, 5).backward("more")
            x.zero_feedback()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_copies_are_records_of_their_own() -> None:
    x = node(1, name="x", trainable=True)
    y = x + 1
    twin = copy.copy(y)
    assert twin.parents == y.parents and twin.name != y.name and twin.data == y.data
    x.projections = []
    assert copy.deepcopy(x).projections is not x.projections


def test_renaming_keeps_the_number_for_others() -> None:
    x = node(1)
    x._name = "other:7"
    assert (x.name, x.py_name, x.id) == ("other:7", "other7", "7")


def test_a_graph_of_the_registry_counts() -> None:
    node(1), node(2), node("a")
    assert GRAPH.count("int") == 2 and len(GRAPH) == 3 and "int: 2" in str(GRAPH) and GRAPH
    with pytest.raises(AssertionError):
        GRAPH.count("nothing")
    with pytest.raises(ValueError, match="LEGACY"):
        GRAPH.get("int:0")


def test_legacy_mode_stores_nodes() -> None:
    GRAPH.LEGACY_GRAPH_BEHAVIOR = True
    try:
        GRAPH.clear()
        x = node(1, name="x", trainable=True)
        y = x + 1
        assert GRAPH.get("x:0") is x and {n.name for n in GRAPH.roots} == {"x:0", "int:0"}
        y.backward("fb")
        assert x.children == [y]
    finally:
        GRAPH.LEGACY_GRAPH_BEHAVIOR = False
        GRAPH.clear()


def test_tracing_can_be_switched_by_the_registry() -> None:
    GRAPH.TRACE = False
    try:
        assert (node(1) + 1).parents == []
    finally:
        GRAPH.TRACE = True


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=30))
def test_the_collected_graph_is_what_a_plain_search_finds(edges: list[tuple[int, int]]) -> None:
    parameters = [node(1, name="p", trainable=True), node(1, name="q", trainable=True)]
    nodes = [*parameters, node(1, name="c")]
    for a, b in edges:
        nodes.append(nodes[a % len(nodes)] + nodes[b % len(nodes)])
    y = nodes[-1]
    y.backward("fb", retain_graph=True)
    for p in parameters:
        graph = sum_feedback([p])
        assert ({id(n) for _, n in graph} if graph else set()) == on_ways(p, y)
        levels = [level for level, _ in graph] if graph else []
        assert levels == sorted(levels)


def in_past(output: Node[int], sought: Node[int]) -> bool:
    return output is sought or any(in_past(parent, sought) for parent in output.parents)


def on_ways(p: Node[int], y: Node[int]) -> set[int]:
    """Ids of the calls between p and y, and of all their inputs, by the definition."""
    found: set[int] = set()
    seen: set[int] = set()
    stack = [y]
    while stack:
        n = stack.pop()
        if id(n) in seen:
            continue
        seen.add(id(n))
        if n.parents and in_past(n, p):
            found |= {id(n), *(id(parent) for parent in n.parents)}
        stack.extend(n.parents)
    return found


def test_adding_graphs_follows_the_rules() -> None:
    x = node(1, name="x", trainable=True)
    empty = TraceGraph([], None)
    one, other = TraceGraph([(0, x)], "a"), TraceGraph([(0, x)], "b")
    assert (empty + empty).empty() and sum([one, one]) == one and repr(one) == "TraceGraph(1 nodes, user_feedback='a')"
    assert 0 + one is one and one != other and one != 3 and bool(empty)
    with pytest.raises(AssertionError):
        one + other
    with pytest.raises(AssertionError):
        TraceGraph([(0, x)], None) + TraceGraph([(0, x)], None)
    with pytest.raises(TypeError):
        one + "a"
    changed = TraceGraph([], "a")
    changed.graph = [(0, x)]
    assert len(changed) == 1 and sum_feedback([x]) == 0


def test_feedback_of_several_outputs_accumulates() -> None:
    x = node(1, name="x", trainable=True)
    y, z = x + 1, x * 3
    y.backward("low")
    z.backward("high")
    graph = accumulate([x])
    assert [(n.name, said) for n, said in graph.outputs] == [("add:0", "low"), ("multiply:0", "high")]
    assert graph.user_feedback == "add0: low\nmultiply0: high"
    assert {n.name for _, n in graph} == {"x:0", "int:0", "int:1", "add:0", "multiply:0"}
    with pytest.raises(AssertionError, match="accumulate"):
        sum_feedback([x])
    x.zero_feedback()
    arrays = [x + 1, x + 2]
    for out in arrays:
        out.backward(np.array([1, 2]))
    assert len(accumulate([x]).outputs) == 2


def test_containers_of_nodes_print_readably() -> None:
    x = node(1, name="x", trainable=True)
    assert repr({x: [x]}) == f"{{<ParameterNode {x.name}>: [<ParameterNode {x.name}>]}}"


def test_operators_say_in_help_what_they_do() -> None:
    docs = {name: method.__doc__ for name, method in vars(ValueMethods).items() if callable(method)}
    named = {name: doc.split("`")[1].rpartition(".")[2] for name, doc in docs.items() if doc.startswith("Traced, as")}
    assert named["__radd__"] == "add" and named["__rshift__"] == "rshift" and named["len"] == "len_"
    assert all(hasattr(operators, name) for name in named.values())
    assert {"__int__", "__float__", "__contains__", "__format__"}.isdisjoint(named)  # these leave the graph
