"""Faults that users of the existing library ran into, one regression test each.

Those with a longer test elsewhere keep a short one here, so that this file is the list of them.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from opto.trace import ExecutionError, Module, bundle, model, node, operators, stop_tracing
from opto.trace.containers import Map, Seq
from opto.trace.nodes import ExceptionNode
from opto.trace.propagators import SumPropagator

SHARED_LOCK = __import__("threading").Lock()


def error_node(call: Any) -> ExceptionNode:
    with pytest.raises(ExecutionError) as e:
        call()
    return e.value.exception_node


def test_abs_and_round_on_nodes() -> None:
    assert abs(node(-2)).data == 2 and round(node(2.345), 1).data == 2.3
    assert operators.abs(node(-2)).data == 2 and operators.round(node(2.5), 0).data == 2.0


def test_nested_stop_tracing() -> None:
    x = node(1)
    with stop_tracing():
        with stop_tracing():
            pass
        assert (x + 1).parents == []
    assert (x + 1).parents


def test_trainable_bundle_under_stop_tracing() -> None:
    @bundle(trainable=True)
    def f(x):
        return x

    with stop_tracing():
        assert f(1).data == 1 and f(1).parents == []


def test_children_removal_by_identity_with_arrays() -> None:
    np = pytest.importorskip("numpy")
    x = node(np.ones(3), trainable=True)
    a, b = x * 1, x * 1
    b.backward("fb")
    assert len(x.children) == 1 and x.children[0] is a
    a.backward("fb")
    assert x.children == []


def test_per_call_info() -> None:
    @bundle()
    def f(x):
        return 1 / x

    one, two = f(1), f(2)
    error = error_node(lambda: f(0))
    three = f(4)
    assert [n.info["inputs"]["args"][0] for n in (one, two, three)] == [1, 2, 4]
    assert error.info["traceback"] and not three.info["traceback"] and not three.info["error_comment"]
    assert one.info is not two.info


def test_inner_error_through_an_outer_bundle() -> None:
    @bundle()
    def inner(x):
        return x / 0

    @bundle()
    def outer(x):
        return inner(x)

    assert "outer" in error_node(lambda: outer(1)).name


def test_exceptions_without_arguments() -> None:
    @bundle()
    def f(x):
        raise KeyError

    e = error_node(lambda: f(1))
    assert e.data.startswith("(KeyError)") and "<---" in e.info["error_comment"]


def test_multi_line_signatures() -> None:
    @bundle(trainable=True)
    def f(
        x,
        y=2,
    ):
        return x + y

    assert f(1).data == 3 and "y=2" in f.parameter.description


@bundle(trainable=True)
def module_level(x):
    """At module level, next to modules and locks."""
    with SHARED_LOCK:
        return x + 1


def test_copies_of_module_level_bundles() -> None:
    for dup in (copy.copy(module_level), copy.deepcopy(module_level), module_level.copy(), module_level.detach()):
        assert dup(1).data == 2


@model
class Odd:
    constant = 3
    table = {"k": 1}  # noqa: RUF012

    class Inside:
        pass

    def __init__(self) -> None:
        self.text = node("1 + 1", trainable=True)

    @property
    def doubled(self) -> int:
        return self.constant * 2

    @bundle("[same] one")
    def one(self, x):
        return x + 1

    @bundle("[same] two")
    def two(self, x):
        return x + 2


@model
class Odder(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.more = node(1, trainable=True)


def test_models_with_constants_properties_inheritance() -> None:
    o = Odder()
    assert o.doubled == 6 and o.constant == 3 and o.table == {"k": 1} and len(o.parameters()) == 2
    assert copy.deepcopy(o).doubled == 6


def test_same_op_on_two_methods() -> None:
    o = Odd()
    assert (o.one(0).data, o.two(0).data) == (1, 2)


def test_export_of_text_that_looks_like_code(tmp_path: Any) -> None:
    path = tmp_path / "odd.py"
    Odd().export(str(path))
    namespace: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    assert namespace["Odd"]().text == "1 + 1"


def test_text_of_an_execution_error_without_traceback() -> None:
    e = ExceptionNode(ValueError("no"), inputs={"x": node(1)})
    assert "(ValueError) no" in str(ExecutionError(e))


def test_sum_propagator() -> None:
    x = node(1, trainable=True)
    (x + x + x).backward(1, propagator=SumPropagator())
    assert sum(sum(v) for v in x.feedback.values()) == 2  # two consumers, one parent each


def test_call_llm_without_llm(monkeypatch: pytest.MonkeyPatch, scripted: Any) -> None:
    import opto.utils.llm as llms

    llm, calls = scripted("hello")
    monkeypatch.setattr(llms, "LLM", lambda *a, **k: llm)
    assert operators.call_llm("system", "user").data == "hello"
    assert [m["role"] for m in calls[0]["messages"]] == ["system", "user"]


def test_per_instance_json_keys(scripted: Any) -> None:
    from opto.optimizers import OptoPrimeV1

    x = node(1, trainable=True)
    llm, _ = scripted("{}")
    first = OptoPrimeV1([x], llm=llm, json_keys={"reasoning": "why", "answer": None, "suggestion": "todo"})
    second = OptoPrimeV1([x], llm=llm)
    third = copy.deepcopy(first)
    x.backward("fb")
    assert "todo" not in second.construct_prompt(second.summarize())[0]
    assert "todo" in first.construct_prompt(first.summarize())[0]
    assert "todo" in third.construct_prompt(third.summarize())[0]


def test_memory_with_example(scripted: Any) -> None:
    from opto.optimizers import OptoPrimeV1

    x = node(1, name="x", trainable=True)
    llm, _ = scripted("{}")
    o = OptoPrimeV1([x], llm=llm, memory_size=2, include_example=True)
    o.backward(x + 1, "the feedback")
    o.construct_prompt(o.summarize())
    assert "(int) x0=1" in o.construct_prompt(o.summarize())[1]


class Holder(Module):
    def __init__(self) -> None:
        self.s = Seq(node(1, trainable=True), Seq(node(2, trainable=True)))
        self.m = Map({"a": node(3, trainable=True), "b": Map({"c": node(4, trainable=True)})})


def test_seq_and_map_load(tmp_path: Any) -> None:
    h, path = Holder(), str(tmp_path / "h.pkl")
    values = [p.data for p in h.parameters()]
    h.save(path)
    for p in h.parameters():
        p._data = 0
    h.load(path)
    assert [p.data for p in h.parameters()] == values and sorted(values) == [1, 2, 3, 4]


def test_optimizer_load_keeps_parameters(tmp_path: Any) -> None:
    from opto.optimizers import OptoPrimeV1

    x = node(1, trainable=True)
    o = OptoPrimeV1([x], llm=module_model())
    o.save(str(tmp_path / "o.pkl"))
    o.load(str(tmp_path / "o.pkl"))
    assert o.parameters[0] is x and len(o.parameters) == 1


def no_answer(*args: Any, **kwargs: Any) -> str:
    return "{}"


def module_model() -> Any:
    from opto.utils.llm import DummyLLM

    return DummyLLM(no_answer)


def test_extract_everything_from_garbage(scripted: Any) -> None:
    from opto.optimizers import OptoPrimeV1

    o = OptoPrimeV1([node(1, trainable=True)], llm=module_model())
    out = o.extract_llm_suggestion("garbage", return_only_suggestion=False)
    assert not out["reasoning"] and not out["variables"]


def test_litellm_pickles() -> None:
    from opto.utils.llm import LiteLLM

    assert pickle.loads(pickle.dumps(LiteLLM(model="m"))).model_name == "m"


def test_a_model_holding_an_llm_saves(tmp_path: Any) -> None:
    from opto.utils.llm import LiteLLM

    @model
    class WithModel:
        def __init__(self) -> None:
            self.llm = LiteLLM(model="m")
            self.prompt = node("p", trainable=True)

    a = WithModel()
    a.prompt._data = "new"
    a.save(str(tmp_path / "a.pkl"))
    b = WithModel()
    b.load(str(tmp_path / "a.pkl"))
    assert b.prompt.data == "new" and b.llm.model_name == "m"


def test_profile_parameters() -> None:
    from opto.utils.llm import LLMFactory

    LLMFactory.register_profile("fault test", "LiteLLM", model="m", temperature=0.1, max_tokens=10)
    assert LLMFactory.get_llm("fault test").model_name == "m"
