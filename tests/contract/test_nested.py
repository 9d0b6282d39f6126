"""Nested graphs and their expansion."""

from __future__ import annotations

from typing import Any

import pytest

from opto.trace import GRAPH, bundle, node
from opto.trace.propagators import GraphPropagator, TraceGraph
from opto.trace.utils import contain, sum_feedback

HIDDEN = node(10, name="hidden", trainable=True)


@bundle(traceable_code=True)
def inner(x):
    return x * 2


@bundle(traceable_code=True)
def outer(x):
    return inner(x) + 1 + HIDDEN


@pytest.fixture
def nested() -> Any:
    GRAPH.ALLOW_NESTED_GRAPHS = True
    yield
    HIDDEN.zero_feedback()


def bases(graph: TraceGraph) -> list[str]:
    return sorted(n.name.split(":")[0] for _, n in graph)


def test_parameter_free_branches_are_visited(nested: Any) -> None:
    a, k = node(1, name="a", trainable=True), node(10, name="k")
    side = k * 2
    d = (a + side) - a
    d.backward("fb")
    assert k.feedback
    assert contain([n for _, n in sum_feedback([a, k])], k)


def test_expand_needs_the_switch() -> None:
    x = node(1, name="x", trainable=True)
    z = outer(x)
    z.backward("fb", retain_graph=True)
    with pytest.raises(ValueError):
        TraceGraph.expand(z)
    HIDDEN.zero_feedback()


def test_expand_vector(nested: Any) -> None:
    x = node(1, name="x", trainable=True)
    z = outer(x)
    (z + 5).backward("fb")
    before = dict(HIDDEN.feedback)
    graph = TraceGraph.expand(z)
    assert isinstance(graph, TraceGraph) and len(graph) == 6
    assert bases(graph) == ["add", "add", "hidden", "inner", "int", "x0_copy"]
    assert contain([n for _, n in graph], HIDDEN) and not contain([n for _, n in graph], x)
    assert dict(HIDDEN.feedback).keys() == before.keys()
    assert [len(v) for v in HIDDEN.feedback.values()] == [len(v) for v in before.values()]


def test_expand_twice_and_on_an_instance(nested: Any) -> None:
    x = node(1, name="x", trainable=True)
    z = outer(x)
    z.backward("fb")
    graph = sum_feedback([x])
    assert len(graph.expand(z)) == 6 and len(graph.expand(z)) == 6


def test_raw_inner_output_is_empty(nested: Any) -> None:
    @bundle(traceable_code=True)
    def raw(x):
        return 3

    z = raw(node(1, trainable=True))
    z.backward("fb")
    assert TraceGraph.expand(z).empty()


def test_three_levels(nested: Any) -> None:
    @bundle(traceable_code=True)
    def level1(x):
        return x + HIDDEN

    @bundle(traceable_code=True)
    def level2(x):
        return level1(x) * HIDDEN

    @bundle(traceable_code=True)
    def level3(x):
        return level2(x) - HIDDEN

    x = node(1, name="x", trainable=True)
    z = level3(x)
    assert z.data == 100 and z.hidden_dependencies == {HIDDEN}
    z.backward("fb")
    current, seen = z, []
    while current is not None:
        assert contain(current.expandable_dependencies, current)
        graph = TraceGraph.expand(current)
        seen.append(" ".join(bases(graph)))
        below = [n for _, n in graph if contain(n.expandable_dependencies, n)]
        current = below[0] if below else None
    assert len(seen) == 3
    assert "level2" in seen[0] and "level1" in seen[1] and "level" not in seen[2]
    assert all("hidden" in text for text in seen)


@bundle(traceable_code=True)
def reads_hidden(x):
    return x + HIDDEN


@bundle(traceable_code=True)
def calls_it(x):
    return reads_hidden(x) * 2


@bundle(traceable_code=True)
def calls_that(x):
    return calls_it(x) - 1


class OwnPropagator(GraphPropagator):
    """One that is asked at each node."""


@pytest.mark.parametrize("call", [reads_hidden, calls_it, calls_that])
@pytest.mark.parametrize("after", [lambda y: y, lambda y: y + 1])
@pytest.mark.parametrize("propagator", [GraphPropagator, OwnPropagator])
def test_a_hidden_parameter_gets_feedback_however_deep(call, after, propagator) -> None:
    HIDDEN.zero_feedback()
    x = node(1)
    made = call(x)
    assert made.hidden_dependencies == {HIDDEN} and made.parameter_dependencies == set()
    assert made in after(made).expandable_dependencies
    after(made).backward("too small", propagator=propagator())
    assert [child is made for child in HIDDEN.feedback] == [True]
    assert not x.feedback


def test_a_parameter_that_was_given_is_not_hidden_at_any_depth() -> None:
    @bundle(traceable_code=True)
    def outer(x, h):
        return reads_hidden(x) + h

    assert outer(node(1), HIDDEN).hidden_dependencies == frozenset()
