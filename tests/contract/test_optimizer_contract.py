"""The base of all optimizers, and what the first three have in common."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.optimizers.optimizer import AbstractOptimizer, Optimizer
from opto.trace import bundle, node
from opto.trace.nodes import ParameterNode
from opto.trace.projections import Projection
from opto.trace.propagators import GraphPropagator, SumPropagator, TraceGraph

SHIPPED = [OptoPrime, OptoPrimeV1, OptoPrimeV2]


class Clip(Projection):
    def project(self, x: Any) -> Any:
        return min(x, 3)


class Fixed(Optimizer):
    """Proposes what it was told."""

    def __init__(self, parameters: Any, value: Any = None, **kwargs: Any) -> None:
        super().__init__(parameters, **kwargs)
        self.value, self.options = value, {}

    def _step(self, *args: Any, **kwargs: Any) -> dict[ParameterNode, Any]:
        self.options = kwargs
        return dict.fromkeys(self.parameters, self.value)


def v1_reply(**values: Any) -> dict[str, Any]:
    return {"reasoning": "r", "answer": "a", "suggestion": values}


def reply_for(kind: type, **values: Any) -> Any:
    """A reply that the optimizer's own format asks for."""
    if kind is OptoPrimeV2:
        blocks = "".join(
            f"<variable>\n<name>{k}</name>\n<value>\n{v}\n</value>\n</variable>\n" for k, v in values.items()
        )
        return f"<reasoning>\nr\n</reasoning>\n{blocks}"
    return v1_reply(**values)


# --- the base -------------------------------------------------------------------------------------------------------


def test_parameters_are_checked() -> None:
    p = node(1, trainable=True)
    assert issubclass(Optimizer, AbstractOptimizer)
    for bad in ((p,), [], [node(1)], {p: 1}, [p, 3], None):
        with pytest.raises(AssertionError):
            Fixed(bad)
    with pytest.raises(AssertionError):
        Fixed([p], propagator=3)
    assert Fixed([p, p]).parameters[0] is p  # duplicates are tolerated (21)


def test_propagator() -> None:
    p = node(1, trainable=True)
    assert isinstance(Fixed([p]).propagator, GraphPropagator)
    assert isinstance(Fixed([p]).default_propagator(), GraphPropagator)
    mine = SumPropagator()
    assert Fixed([p], propagator=mine).propagator is mine

    class Own(Fixed):
        def default_propagator(self) -> Any:
            return mine

    assert Own([p]).propagator is mine


def test_backward_and_zero_feedback() -> None:
    p, q = node(1, trainable=True), node(2, trainable=True)
    o = Fixed([p, q])
    o.backward(p + q, "fb")
    graph = o.trace_graph
    assert isinstance(graph, TraceGraph) and graph.user_feedback == "fb" and len(graph) == 3
    o.zero_feedback()
    assert not p.feedback and not q.feedback
    y = p + q
    o.backward(y, "one", retain_graph=True)
    o.zero_feedback()
    assert o.backward(y, "two", visualize=False) is None
    assert o.trace_graph.user_feedback == "two"


def test_step() -> None:
    p = ParameterNode(1, name="p", projections=[Clip()])
    o = Fixed([p], 5)
    out = o.step(bypassing=True)
    assert out == {p: 3} and p.data == 1
    out = o.step(num_threads=4)
    assert next(iter(out)) is p and out[p] == 3 and p.data == 3
    assert o.options["num_threads"] == 4


def test_propose_project_update() -> None:
    p = ParameterNode(1, name="p", projections=[Clip()])
    o = Fixed([p], 5)
    raw = o.propose()
    assert raw == {p: 5}
    o.project(raw)
    assert raw == {p: 3}  # in place
    o.update({p: 2})
    assert p.data == 2


def test_projections_apply_in_order() -> None:
    class Add(Projection):
        def project(self, x: Any) -> Any:
            return x + 10

    p = ParameterNode(1, projections=[Clip(), Add()])
    assert Fixed([p], 50).step()[p] == 13


def test_frozen_parameters_are_not_updated() -> None:
    p, q = node(1, trainable=True), node(2, trainable=True)
    q.trainable = False
    Fixed([p, q], 9).step()
    assert (p.data, q.data) == (9, 2)


def test_base_step_is_abstract() -> None:
    with pytest.raises((NotImplementedError, TypeError)):
        Optimizer([node(1, trainable=True)]).step()


# --- the shipped ones -----------------------------------------------------------------------------------------------


@pytest.fixture(params=SHIPPED, ids=lambda k: k.__name__)
def kind(request: Any) -> Any:
    return request.param


def test_one_step(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, calls = scripted(reply_for(kind, x0=5))
    o = kind([x], llm=llm)
    assert isinstance(o, Optimizer)
    o.zero_feedback()
    o.backward(x + 1, "make it larger")
    out = o.step()
    assert x.data == 5 and next(iter(out)) is x and out[x] == 5
    assert len(calls) >= 1
    text = " ".join(m["content"] for m in calls[0]["messages"])
    assert "make it larger" in text and "x0" in text


def test_unknown_options_are_swallowed(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, _ = scripted(reply_for(kind, x0=5))
    o = kind([x], llm=llm, llm_profiles=["cheap"], no_such_option=3)
    o.backward(x + 1, "fb")
    o.step(num_threads=3, other=4)
    assert x.data == 5


def test_bypassing(kind: Any, scripted: Any) -> None:
    p = ParameterNode(1, name="p", projections=[Clip()])
    llm, _ = scripted(reply_for(kind, p0=5))
    o = kind([p], llm=llm)
    o.backward(p + 1, "fb")
    assert o.step(bypassing=True) == {p: 3} and p.data == 1
    o.step()
    assert p.data == 3


def test_unconnected_parameter_is_updated(kind: Any, scripted: Any) -> None:
    a, b = node(1, name="a", trainable=True), node("old", name="b", trainable=True)
    llm, _ = scripted(reply_for(kind, b0="new"))
    o = kind([a, b], llm=llm)
    o.backward(a + 1, "fb")
    o.step()
    assert (a.data, b.data) == (1, "new")


def test_code_is_updated(kind: Any, scripted: Any) -> None:
    @bundle(trainable=True)
    def fn(q):
        """Do."""
        return q

    llm, _ = scripted(reply_for(kind, **{fn.parameter.py_name: 'def fn(q):\n    """Do."""\n    return q * 10'}))
    o = kind(fn.parameters(), llm=llm)
    o.backward(fn(2), "ten times")
    o.step()
    assert fn(2).data == 20


def test_deepcopy_keeps_parameters(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, _ = scripted(reply_for(kind, x0=5))
    o = copy.deepcopy(kind([x], llm=llm))
    assert o.parameters[0] is x
    o.backward(x + 1, "fb")
    o.step()
    assert x.data == 5


def constant_reply(*args: Any, **kwargs: Any) -> str:
    return "{}"


def test_save_and_load(kind: Any, tmp_path: Any) -> None:
    from opto.utils.llm import DummyLLM

    x, z = node(1, name="x", trainable=True), node(2, name="z", trainable=True)
    path = str(tmp_path / "new" / "optimizer.pkl")
    o = kind([x], llm=DummyLLM(constant_reply), max_tokens=77)
    o.objective = "mine"
    o.save(path)
    other = kind([z], llm=DummyLLM(constant_reply))
    other.load(path)
    assert other.parameters[0] is z and len(other.parameters) == 1
    assert other.max_tokens == 77 and other.objective == "mine"


def test_set_context(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, calls = scripted(reply_for(kind, x0=5))
    o = kind([x], llm=llm)
    o.set_context("lessons learnt so far")
    o.backward(x + 1, "fb")
    o.step()
    assert "lessons learnt so far" in " ".join(m["content"] for m in calls[0]["messages"])


def test_objective(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, calls = scripted(reply_for(kind, x0=5))
    o = kind([x], llm=llm)
    o.objective = "Find the hidden treasure. " + str(o.default_objective)
    o.backward(x + 1, "fb")
    o.step()
    assert "Find the hidden treasure." in " ".join(m["content"] for m in calls[0]["messages"])


def test_log(kind: Any, scripted: Any) -> None:
    import json

    x = node(1, name="x", trainable=True)
    llm, _ = scripted(reply_for(kind, x0=5))
    o = kind([x], llm=llm)
    assert o.log == [] and o.summary_log == []
    o.backward(x + 1, "fb")
    o.step()
    assert len(o.log) == len(o.summary_log) == 1
    assert set(o.log[0]) >= {"system_prompt", "user_prompt", "response"}
    json.dumps(o.log)
    assert set(o.summary_log[0]) >= {"problem_instance", "summary"}
    silent = kind([x], llm=llm, log=False)
    assert silent.log is None and silent.summary_log is None
    silent.zero_feedback()
    silent.backward(x + 1, "fb")
    silent.step()


def test_terminate(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, _ = scripted("TERMINATE")
    o = kind([x], llm=llm)
    o.backward(x + 1, "fb")
    assert o.step() == {} and x.data == 1
    if kind is not OptoPrime:
        assert o.log == []


def test_garbage_changes_nothing(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, _ = scripted("I would rather not.")
    o = kind([x], llm=llm)
    o.backward(x + 1, "fb")
    assert o.step() == {} and x.data == 1


def test_a_reply_without_text_changes_nothing(kind: Any) -> None:
    import types

    message = types.SimpleNamespace(content=None)
    x = node(1, name="x", trainable=True)
    reply = types.SimpleNamespace(choices=[types.SimpleNamespace(message=message)])
    o = kind([x], llm=lambda *args, **kwargs: reply)
    o.backward(x + 1, "fb")
    assert o.step() == {} and x.data == 1


def test_step_without_feedback_asks_in_the_formats_of_the_existing_library(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, calls = scripted(reply_for(kind, x0=5))
    optimizer = kind([x], llm=llm)
    optimizer.step()
    assert bool(calls) is optimizer.by_own_methods


def test_no_trainable_parameter_does_not_crash(kind: Any, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    x.trainable = False
    llm, _ = scripted(reply_for(kind, x0=5))
    o = kind([x], llm=llm)
    o.backward(x + 1, "fb")
    o.step()
    assert x.data == 1


def test_plain_backward_then_step(kind: Any, scripted: Any) -> None:
    x = node("a", name="x", trainable=True)
    llm, calls = scripted(reply_for(kind, x0="b"))
    x.backward("use b")
    kind([x], llm=llm).step()
    assert x.data == "b" and "use b" in " ".join(m["content"] for m in calls[0]["messages"])


def test_two_optimizers(kind: Any, scripted: Any) -> None:
    a, b = node(1, name="a", trainable=True), node(2, name="b", trainable=True)
    first, _ = scripted(reply_for(kind, a0=10))
    second, _ = scripted(reply_for(kind, b0=20))
    o1, o2 = kind([a], llm=first), kind([b], llm=second)
    y = a + b
    o1.zero_feedback()
    o1.backward(y, "F1", retain_graph=True)
    o1.step()
    o2.zero_feedback()
    o2.backward(y, "F2")
    summary = o2.summarize()
    assert "a0" in summary.inputs and "b0" in summary.variables and summary.user_feedback == "F2"
    o2.step()
    assert (a.data, b.data) == (10, 20)


@pytest.mark.parametrize("shape", ["json", "fenced", "xml", "prose"])
def test_replies_in_any_known_shape(kind: Any, shape: str, scripted: Any) -> None:
    import json

    body = json.dumps(v1_reply(x0=5))
    text = {
        "json": body,
        "fenced": f"Here:\n```json\n{body}\n```",
        "xml": reply_for(OptoPrimeV2, x0=5),
        "prose": f"I think so. {body} That is all.",
    }[shape]
    x = node(1, name="x", trainable=True)
    llm, _ = scripted(text)
    o = kind([x], llm=llm)
    o.backward(x + 1, "fb")
    o.step()
    assert x.data == 5
