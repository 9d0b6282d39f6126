"""Nothing grows, nothing recurses, and gradients are exact (experiments A6)."""

# ruff: noqa: RUF005  (concatenation of nodes is what is tested)
from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from opto.trace import bundle, node, stop_tracing
from opto.trace.nodes import MessageNode, Node, ParameterNode
from opto.trace.propagators import Propagator
from opto.trace.utils import sum_feedback

LONG = 200_000


@pytest.fixture
def collected() -> Iterator[None]:
    """Only reference counting frees anything inside the test."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@bundle()
def plus(a, b):
    """Add."""
    return a + b


@bundle(trainable=True)
def coded(x):
    """Code."""
    return x * 3


def garbage() -> int:
    return gc.collect()


# --- nothing stays --------------------------------------------------------------------------------------------------


def test_forward_only_calls_leave_nothing(collected: None) -> None:
    p = node([1], name="p", trainable=True)
    refs = []
    for k in range(20):
        y = plus(p, [k]) + [k]
        refs.append(weakref.ref(y))
        del y
    z = coded(2)
    refs.append(weakref.ref(z))
    del z
    assert [r() for r in refs] == [None] * 21
    assert p.children == [] and coded.parameter.children == []


def test_number_of_objects_stays(collected: None) -> None:
    p = node(1.5, name="p", trainable=True)

    def calls(count: int) -> None:
        for k in range(count):
            plus(p, k) * 2
            coded(p)
            for _ in node([1, 2]):
                pass

    calls(30)
    before = len(gc.get_objects())
    calls(300)
    assert len(gc.get_objects()) - before < 30


def test_forward_leaves_no_cycles(collected: None) -> None:
    p = node(1, name="p", trainable=True)
    y = plus(p, 1) + coded(p)
    del y
    assert garbage() == 0


def test_backward_leaves_no_cycles(collected: None) -> None:
    p = node(1, name="p", trainable=True)
    for _ in range(3):
        y = plus(p, 1) + coded(p)
        y.backward("fb")
        graph = sum_feedback([p, coded.parameter])
        assert len(graph) > 4
        del y, graph
        p.zero_feedback()
        coded.parameter.zero_feedback()
    assert garbage() == 0


def test_errors_leave_no_graph(collected: None) -> None:
    p = node(0, name="p", trainable=True)

    @bundle()
    def fails(x):
        return 1 / x

    ref = None
    try:
        fails(p + 0)
    except Exception as e:
        ref = weakref.ref(e.exception_node)  # type: ignore[attr-defined]
    gc.collect()
    assert ref is not None and ref() is None and p.children == []


def test_backward_frees_the_outputs(collected: None) -> None:
    p = node(1, name="p", trainable=True)
    y = plus(p, 1)
    ref = weakref.ref(y)
    y.backward("fb")
    del y
    p.zero_feedback()
    assert ref() is None


def test_stopped_calls_leave_nothing(collected: None) -> None:
    p = node(1, trainable=True)
    with stop_tracing():
        y = coded(p) + 1
    ref = weakref.ref(y)
    del y
    assert ref() is None and p.children == []


def test_a_graph_keeps_its_past_only(collected: None) -> None:
    p = node(1, trainable=True)
    a = p + 1
    b = a + 1
    ra, rb = weakref.ref(a), weakref.ref(b)
    del a
    assert ra() is not None
    del b
    assert rb() is None and ra() is None


def test_results_of_instances_are_freed(collected: None) -> None:
    class Agent:
        @bundle(trainable=True)
        def act(self, x):
            """Act."""
            return x

    agent = Agent()
    y = agent.act(3)
    ref = weakref.ref(y)
    del y
    assert ref() is None
    owner = weakref.ref(agent)
    del agent
    gc.collect()
    assert owner() is None


# --- long graphs ----------------------------------------------------------------------------------------------------


def chain(length: int) -> tuple[Any, Any]:
    p = node(0, name="p", trainable=True)
    y: Any = p
    for _ in range(length):
        y = y + 1
    return p, y


def test_long_chain(shallow_stack: Any) -> None:
    with shallow_stack(200):
        p, y = chain(LONG)
        assert y.data == LONG and y.level == LONG
        assert y.parameter_dependencies == {p}
        y.backward("fb", retain_graph=True)
        graph = sum_feedback([p])
        assert len(graph) == 2 * LONG + 1
        alone = copy.deepcopy(y)
        assert alone.data == LONG and alone.parents == []
        del graph, alone
        p.zero_feedback()
        y.backward("fb")
        ref = weakref.ref(y)
        p.zero_feedback()
        del y
        assert ref() is None and p.children == []


def test_long_chain_pickles(shallow_stack: Any) -> None:
    with shallow_stack(200):
        _, y = chain(LONG // 4)
        data = pickle.dumps(y)
        del y
        back = pickle.loads(data)
        assert back.data == LONG // 4 and back.level == LONG // 4 and not back.feedback
        first: Any = back
        while first.parents:
            first = first.parents[0]
        assert isinstance(first, ParameterNode) and first.data == 0
        assert back.parameter_dependencies == {first}
        back.backward("fb")
        assert len(first.feedback) == 1


def test_deep_structures_of_nodes_copy(shallow_stack: Any) -> None:
    with shallow_stack(300):
        p, y = chain(5_000)
        dup = copy.deepcopy({"y": y, "p": p})
        assert dup["y"].data == 5_000 and dup["y"].parents == [] and dup["p"].data == 0


def test_diamond_ladder(shallow_stack: Any) -> None:
    with shallow_stack(200):
        p = node(1, name="p", trainable=True)
        y: Any = p
        for _ in range(3_000):
            y = (y + 0) - (y * 0)
        y.backward("fb")
        assert y.data == 1 and len(sum_feedback([p])) == 1 + 5 * 3_000


def test_wide_graph() -> None:
    parameters = [node(k, name="p", trainable=True) for k in range(1_000)]
    total = sum(parameters)
    total.backward("fb")
    graph = sum_feedback(parameters)
    assert graph.user_feedback == "fb" and len(graph) == 1_000 + 1 + 1_000


def test_long_pickle_keeps_sharing() -> None:
    p = node([1], name="p", trainable=True)
    a = p + [2]
    b, c = pickle.loads(pickle.dumps((a + a, a)))
    assert b.parents[0] is c and c.parents[0].data == [1]


# --- exact gradients ------------------------------------------------------------------------------------------------


class Gradient(Propagator):
    """Numbers as feedback: reverse-mode differentiation."""

    def init_feedback(self, node: Node, feedback: Any) -> Any:
        return feedback

    def _propagate(self, child: MessageNode) -> dict[Node, Any]:
        total = sum(sum(v) for v in child.feedback.values())
        x, y = list(child.inputs.values())
        a, b = x._data, y._data
        rules = {"add": (1, 1), "subtract": (1, -1), "multiply": (b, a), "divide": (1 / b, -a / b**2) if b else None}
        out: dict[Node, Any] = dict.fromkeys(child.parents, 0)
        for parent, slope in zip((x, y), rules[child.op_name], strict=True):  # type: ignore[arg-type]
            out[parent] += total * slope
        return out


def descend(loss: Any, start: float, step: float, count: int) -> list[float]:
    x = node(start, name="x", trainable=True)
    path = []
    for _ in range(count):
        x.zero_feedback()
        loss(x).backward(1.0, propagator=Gradient())
        x._data = x.data - step * sum(sum(v) for v in x.feedback.values())
        path.append(x.data)
    return path


def hinge(x: Any) -> Any:
    """x^2/2, less (5/4 - x)/8 once x is below 5/4: Python's own branch is part of the program."""
    y = x * x / 2
    return y - (1.25 - x) / 8 if x < 1.25 else y


def test_golden_descent() -> None:  # experiments A6
    assert descend(hinge, 2.0, 0.25, 4) == [1.5, 1.125, 0.8125, 0.578125]
    assert descend(lambda x: x * x, 2.0, 0.125, 4) == [1.5, 1.125, 0.84375, 0.6328125]


def test_descent_against_torch() -> None:  # experiments A6
    torch = pytest.importorskip("torch")
    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.25)
    path = []
    for _ in range(6):
        optimizer.zero_grad()
        hinge(x).backward()
        optimizer.step()
        path.append(x.item())
    assert path == descend(hinge, 2.0, 0.25, 6)


def test_gradient_of_a_reused_parameter() -> None:
    a, b = node(Fraction(2, 3), name="a", trainable=True), node(Fraction(5), name="b", trainable=True)
    c = a * b + a / b - (a + b) * a
    c.backward(Fraction(1), propagator=Gradient())
    grads = [sum(sum(v) for v in p.feedback.values()) for p in (a, b)]
    av, bv = Fraction(2, 3), Fraction(5)
    assert grads == [bv + 1 / bv - (2 * av + bv), av - av / bv**2 - av]


def test_gradients_through_a_deep_chain() -> None:
    x = node(1.0, name="x", trainable=True)
    y: Any = x
    for _ in range(5_000):
        y = y + x
    y.backward(1.0, propagator=Gradient())
    assert sum(sum(v) for v in x.feedback.values()) == 5_001
