"""What the classic formats promise beyond those of `tests/contract`: helpers, cutting, masks, hand-made nodes."""

from __future__ import annotations

from typing import Any

import pytest

from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.optimizers.formats.tags import Tags, tagged_values
from opto.optimizers.optoprime_v2 import MemoryInstance, OptimizerPromptSymbolSet
from opto.optimizers.problem.problem import Part, Problem, get_fun_name, node_to_function_feedback, repr_function_call
from opto.trace.bundle import bundle
from opto.trace.nodes import MessageNode, node
from opto.trace.propagators.graph_propagator import TraceGraph, accumulate

VALUES = {"x0": (1.0, "small"), "__code0": ("def f(a):\n    return a", "The code should start with:\ndef f(a):")}


def test_helpers_that_programs_call() -> None:
    assert OptoPrimeV1.repr_node_value(VALUES).startswith("(float) x0=1.0\n(code) __code0:def f(a):")
    assert OptoPrimeV1.repr_node_constraint(VALUES).startswith("(float) x0: small\n(code) __code0: The code")
    assert '<node name="x0" type="float">\n<value>\n1.0\n</value>\n</node>\n' in OptoPrimeV2.repr_node_value(VALUES)
    assert "<constraint>\nsmall" in OptoPrimeV2.repr_node_value(VALUES, node_tag="variable")


def test_hand_made_nodes_are_named_by_their_info_or_base() -> None:
    x = node(1, name="x", trainable=True)
    told = MessageNode(2, inputs={"a": x}, description="[op] d", name="out", info={"fun_name": "compute"})
    plain = MessageNode(2, inputs={"a": x}, description="[op] d", name="out")
    assert get_fun_name(told) == "compute" and get_fun_name(plain) == "out"
    assert repr_function_call(told) == "out0 = compute(a=x0)" and repr_function_call(plain) == "out1 = out(a=x0)"


@bundle()
def shout(text: str) -> str:
    """Loud."""
    return text.upper()


def test_function_feedback_of_a_graph() -> None:
    x = node("a", name="x", trainable=True)
    shout(x).backward("fb")
    found = node_to_function_feedback(accumulate([x]))
    assert found.graph == [(1, "shout0 = shout(text=x0)")] and found.documentation == {"shout": "Loud."}
    assert found.roots == {"x0": ("a", None)} and found.output == {"shout0": ("A", "Loud.")} and found.others == {}
    assert "user_feedback='fb'" in repr(found)
    with pytest.raises(AttributeError):
        _ = found.nonsense  # type: ignore[attr-defined]


def test_a_graph_made_by_hand() -> None:
    x, y = node(1, name="x", trainable=True), node(2, name="y")
    z = x + y
    found = node_to_function_feedback(TraceGraph([(0, x), (1, z)], "fb"))  # y is missing: z is given
    assert set(found.roots) == {"x0", "add0"} and found.graph == []


def test_of_code_only_the_body_is_cut() -> None:
    text = tagged_values(VALUES, Tags("node"), limit=6)
    assert "def f(a):\n    r...(skipped due to length limit)" in text
    assert tagged_values({"__code1": ("x = 1", None)}, Tags("node"), limit=2).count("x ...(skipped") == 1


def test_a_round_of_memory_without_number() -> None:
    text = str(MemoryInstance({"x0": (1, None)}, "fb", OptimizerPromptSymbolSet()))
    assert text.startswith("<round>\n<variable>\n<name>x0</name>") and text.endswith("</feedback>\n</round>")


def test_problems_find_their_parts() -> None:
    problem = Problem(parts=(Part("x0", 1), Part("__code0", "", is_code=True)))
    found = problem.part("__code0")
    assert problem.names == ("x0", "__code0") and found is not None and found.is_code and problem.part("z") is None


def test_an_unreadable_reply_is_told_when_errors_are_not_ignored(capsys: Any) -> None:
    x = node(1, name="x", trainable=True)
    optimizer = OptoPrimeV1([x], llm=ScriptedLLM([]))
    assert optimizer.extract_llm_suggestion("garbage", ignore_extraction_error=False) == {}
    assert "garbage" in capsys.readouterr().out
    found = optimizer.extract_llm_suggestion("garbage", return_only_suggestion=False)
    assert found == {"reasoning": "", "variables": {}}


def test_the_llm_can_be_replaced_and_settings_stay_apart() -> None:
    x = node(1, name="x", trainable=True)
    first = OptoPrime([x], llm=ScriptedLLM([]), json_keys={"suggestion": "changes"})
    second = OptoPrime([x], llm=ScriptedLLM([]))
    assert first.json_keys["suggestion"] == "changes" and second.json_keys["suggestion"] == "suggestion"
    assert first.by_own_methods and not second.by_own_methods
    second.llm = llm = ScriptedLLM(['{"suggestion": {"x0": 2}}'])
    second.backward(x + 1, "more")
    second.step()
    assert len(llm.calls) == 1


@pytest.mark.parametrize("cls", [OptoPrime, OptoPrimeV1, OptoPrimeV2])
def test_unknown_keywords_are_swallowed(cls: Any) -> None:
    x = node(1, name="x", trainable=True)
    assert cls([x], ScriptedLLM([]), "extra", llm_profiles=["a"], llm_weights=None).parameters == [x]
