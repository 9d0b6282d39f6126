"""Feedback accumulates over several outputs, as gradients do."""

from __future__ import annotations

from typing import Any

import pytest

from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.trace import bundle, node
from opto.trace.propagators.graph_propagator import accumulate
from opto.trace.utils import sum_feedback


def two_outputs() -> tuple[Any, Any, Any]:
    x = node(1, name="x", trainable=True)
    return x, x + 1, x * 2


def outputs(graph: Any) -> list[tuple[str, Any]]:
    return sorted((n.py_name, feedback) for n, feedback in graph.outputs)


def test_pairs_are_kept() -> None:
    x, a, b = two_outputs()
    a.backward("too low")
    b.backward("too high")
    graph = accumulate([x])
    assert outputs(graph) == [("add0", "too low"), ("multiply0", "too high")]
    assert sorted(graph.user_feedback.splitlines()) == ["add0: too low", "multiply0: too high"]
    assert {n.py_name for _, n in graph} == {"x0", "int0", "int1", "add0", "multiply0"}
    levels = [level for level, _ in graph]
    assert levels == sorted(levels)


def test_the_strict_sum_stays_strict() -> None:
    x, a, b = two_outputs()
    a.backward("too low")
    b.backward("too high")
    with pytest.raises(AssertionError):
        sum_feedback([x])


def test_equal_feedback_stays_one() -> None:
    x, a, b = two_outputs()
    a.backward("same")
    b.backward("same")
    graph = accumulate([x])
    assert graph.user_feedback == "same" and outputs(graph) == [("add0", "same"), ("multiply0", "same")]
    assert sum_feedback([x]).user_feedback == "same"


def test_one_output_is_as_before() -> None:
    x, a, _ = two_outputs()
    a.backward("fb")
    graph = accumulate([x])
    assert graph.user_feedback == "fb" and outputs(graph) == [("add0", "fb")]
    assert len(graph) == len(sum_feedback([x]))


def test_nothing_to_accumulate() -> None:
    x, _, _ = two_outputs()
    graph = accumulate([x])
    assert not graph or graph.empty()


def test_outputs_below_each_other() -> None:
    x = node(1, name="x", trainable=True)
    a = x + 1
    b = a * 2
    a.backward("on the way", retain_graph=True)
    b.backward("at the end")
    graph = accumulate([x])
    assert outputs(graph) == [("add0", "on the way"), ("multiply0", "at the end")]
    assert len(graph) == 5


def test_shared_middle() -> None:
    @bundle(trainable=True)
    def fn(q):
        """Change q."""
        return q + 1

    middle = [fn(k) for k in range(3)]
    for k, m in enumerate(middle):
        (m * 10).backward(f"feedback {k}")
    graph = accumulate(fn.parameters())
    assert len(graph.outputs) == 3 and {f for _, f in graph.outputs} == {"feedback 0", "feedback 1", "feedback 2"}
    assert sum(1 for _, n in graph if n.op_name == "eval") == 3


def test_the_same_output_twice() -> None:
    x, a, _ = two_outputs()
    a.backward("one", retain_graph=True)
    a.backward("two", retain_graph=True)
    assert outputs(accumulate([x])) == [("add0", "one"), ("add0", "two")]


@pytest.mark.parametrize("kind", [OptoPrimeV1, OptoPrimeV2], ids=lambda k: k.__name__)
def test_every_output_is_under_outputs(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    low, high = x + 1, (x * 2) * 3
    llm, _ = scripted("{}")
    o = kind([x], llm=llm)
    o.backward(low, "one")
    o.backward(high, "two")
    s = o.summarize()
    assert set(s.output) == {"add0", "multiply1"} and set(s.others) == {"multiply0"}


def test_zeroing_starts_anew() -> None:
    x, a, b = two_outputs()
    a.backward("old")
    x.zero_feedback()
    b.backward("new")
    graph = accumulate([x])
    assert outputs(graph) == [("multiply0", "new")] and graph.user_feedback == "new"


def test_parameters_seeing_different_outputs() -> None:
    p, q = node(1, name="p", trainable=True), node(2, name="q", trainable=True)
    a, b = p + 1, p * q
    a.backward("for p")
    b.backward("for both")
    assert outputs(accumulate([q])) == [("multiply0", "for both")]
    assert outputs(accumulate([p, q])) == [("add0", "for p"), ("multiply0", "for both")]


@pytest.mark.parametrize("kind", [OptoPrime, OptoPrimeV1, OptoPrimeV2], ids=lambda k: k.__name__)
def test_the_problem_shows_each_output(kind: Any, scripted: Any) -> None:
    x, a, b = two_outputs()
    text = (
        "<reasoning>r</reasoning><variable><name>x0</name><value>7</value></variable>"
        if kind is OptoPrimeV2
        else {"reasoning": "r", "answer": "a", "suggestion": {"x0": 7}}
    )
    llm, calls = scripted(text)
    o = kind([x], llm=llm)
    o.zero_feedback()
    o.backward(a, "the sum is too low")
    o.backward(b, "the product is too high")
    o.step()
    assert x.data == 7
    prompt = "\n".join(m["content"] for m in calls[0]["messages"])
    lines = prompt.splitlines()
    for name, feedback in (("add", "the sum is too low"), ("multiply", "the product is too high")):
        k = next(k for k, line in enumerate(lines) if feedback in line)
        near = lines[k] if kind is not OptoPrime else "\n".join(lines[max(0, k - 2) : k + 1])
        assert (name if kind is OptoPrime else f"{name}0") in near
