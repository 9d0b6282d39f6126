"""Criticism edge by edge, then a rewrite by parameter."""

from __future__ import annotations

from typing import Any

import pytest

from opto.llm.base import Response
from opto.llm.fakes import DummyLLM, ScriptedLLM
from opto.optimizers import TextGrad
from opto.trace.bundle import bundle
from opto.trace.nodes import GRAPH, node


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    GRAPH.clear()


def improved(value: Any) -> str:
    return f"Thinking first.\n<IMPROVED_VARIABLE>\n{value}\n</IMPROVED_VARIABLE>"


@bundle()
def join(first: str, second: str) -> str:
    """Put two texts together."""
    return first + second


def user(llm: ScriptedLLM, call: int) -> str:
    return str(llm.calls[call]["messages"][1]["content"])


def test_criticism_is_the_message_text_and_travels_along_the_edges() -> None:
    x = node("a", name="x", trainable=True, description="one letter")
    other = node("b", name="other")
    llm = ScriptedLLM(["the joined text is too dull", "x is too dull", improved("Z")])
    optimizer = TextGrad([x], llm=llm, log=True)
    optimizer.backward(join(join(x, other), "c"), "be wilder")
    assert optimizer.step() == {x: "Z"} and x.data == "Z"
    assert "be wilder" in user(llm, 0) and "join1 = join(first=join0, second=second0)" in user(llm, 0)
    assert "Put two texts together." in user(llm, 0) and "argument first be different" in user(llm, 0)
    assert "the joined text is too dull" in user(llm, 1)
    assert "x is too dull" in user(llm, 2) and "one letter" in user(llm, 2)
    assert not any("Response(" in user(llm, i) or "Choice" in user(llm, i) for i in range(3))
    assert optimizer.spent.calls == 3 and optimizer.log
    assert [set(entry) for entry in optimizer.log] == [{"user_prompt", "response"}] * 3
    assert optimizer.log[0]["response"] == "the joined text is too dull"


def test_several_criticisms_of_a_value_are_merged() -> None:
    x = node("a", name="x", trainable=True)
    llm = ScriptedLLM(["left is bad", "right is bad", "first use bad", "second use bad", "both bad", improved("q")])
    optimizer = TextGrad([x], llm=llm)
    optimizer.backward(join(join(x, "1"), join(x, "2")), "no")
    assert optimizer.step() == {x: "q"}
    assert "first use bad" in user(llm, 4) and "second use bad" in user(llm, 4) and "both bad" in user(llm, 5)
    assert optimizer.log is None


def test_equal_arguments_are_one_edge_and_equal_criticism_needs_no_merge() -> None:
    x = node("a", name="x", trainable=True)
    llm = ScriptedLLM(["same", improved("q")])
    optimizer = TextGrad([x], llm=llm)
    optimizer.backward(join(x, x), "no")
    optimizer.step()
    assert "first and second" in user(llm, 0) and x.data == "q"


def test_each_output_keeps_its_feedback() -> None:
    x, y = node("a", name="x", trainable=True), node(1.5, name="y", trainable=True)
    llm = DummyLLM(lambda messages, **_: _answer(messages[1]["content"]))
    optimizer = TextGrad([x, y], llm=llm)
    optimizer.backward(join(x, "!"), "about x")
    optimizer.backward(y * 2, "about y")
    assert optimizer.step() == {x: "new", y: 7.0}


def _answer(prompt: str) -> str:
    if "What came out" in prompt:
        return "x is wrong" if "about x" in prompt else "y is wrong"
    assert ("x is wrong" in prompt) == ("The value x0" in prompt)
    return improved("new" if "x is wrong" in prompt else "7")


def test_missing_tags_leave_the_value_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    x = node("a", name="x", trainable=True)
    optimizer = TextGrad([x], llm=ScriptedLLM(["I would write b."]))
    optimizer.backward(x, "no")
    update = optimizer.step()
    assert update == {} and x.data == "a" and "x0" in update.refused and "IMPROVED_VARIABLE" in str(update.reason)
    assert "IMPROVED_VARIABLE" in capsys.readouterr().out


def test_values_of_another_type_are_refused() -> None:
    x = node(3, name="x", trainable=True)
    optimizer = TextGrad([x], llm=ScriptedLLM([improved("many")]))
    optimizer.backward(x, "no")
    update = optimizer.step()
    assert update == {} and x.data == 3 and "x0" in update.refused


def test_models_with_create_and_positional_messages() -> None:
    class Client:
        def __init__(self) -> None:
            self.seen: list[dict[str, Any]] = []

        def create(self, **config: Any) -> Response:
            self.seen.append(config)
            return Response.of(improved(2))

    def positional_only(messages: Any, /, **options: Any) -> Response:
        return Response.of(improved(3))

    x = node(1, name="x", trainable=True)
    client = Client()
    for llm, value in ((client, 2), (positional_only, 3)):
        optimizer = TextGrad([x], llm=llm, max_tokens=77)
        optimizer.zero_feedback()
        optimizer.backward(x, "more")
        assert optimizer.step() == {x: value}
    assert client.seen[0]["max_tokens"] == 77 and len(client.seen[0]["messages"]) == 2


def test_kwargs_of_other_callers_are_accepted() -> None:
    x = node(1, name="x", trainable=True)
    optimizer = TextGrad([x], llm=ScriptedLLM([improved(2)]), llm_profiles=["a"], json_keys={}, memory_size=0)
    x.backward("plain backward")
    assert optimizer.step(verbose=False, num_threads=4, mask=["#Inputs"], anything=object()) == {x: 2}


def test_nothing_to_do_costs_nothing() -> None:
    x = node(1, name="x", trainable=True)
    optimizer = TextGrad([x], llm=ScriptedLLM([]))
    assert optimizer.step().reason == "no feedback reached a parameter"
    frozen = node(1, name="frozen", trainable=True)
    other = TextGrad([frozen], llm=ScriptedLLM([]))
    frozen.trainable = False
    assert other.step() == {} and other.spent.calls == 0


def test_momentum_shows_earlier_values_and_their_criticism() -> None:
    x = node("a", name="x", trainable=True)
    llm = ScriptedLLM([improved("b"), improved("c"), improved("d")])
    optimizer = TextGrad([x], llm=llm, memory_size=1, objective="Be brave.")
    optimizer.set_context("It rains.")
    for feedback in ("one", "two", "three"):
        optimizer.zero_feedback()
        optimizer.backward(x, feedback)
        optimizer.step()
    assert '"x0": "b"' in user(llm, 2) and '"feedback": "two"' in user(llm, 2) and "one" not in user(llm, 2)
    assert '"x0"' not in user(llm, 0) and "Be brave." in user(llm, 2) and "It rains." in user(llm, 2)


def test_placeholders_in_values_are_left_alone() -> None:
    x = node("Use {criticism} and {value}", name="x", trainable=True)
    llm = ScriptedLLM([improved("ok")])
    optimizer = TextGrad([x], llm=llm)
    optimizer.backward(x, "no")
    optimizer.step()
    assert "Use {criticism} and {value}" in user(llm, 0)


def test_edges_that_lead_to_no_parameter_are_not_asked() -> None:
    x = node("a", name="x", trainable=True)
    llm = ScriptedLLM(["x is bad", improved("ok")])
    optimizer = TextGrad([x], llm=llm)
    optimizer.backward(join(x, join("p", "q")), "no")
    optimizer.step()
    assert len(llm.calls) == 2


def test_code_is_rewritten_whole() -> None:
    @bundle(trainable=True)
    def grow(n: int) -> int:
        """Grow n."""
        return n

    llm = ScriptedLLM(["the code should add one", improved("def grow(n: int) -> int:\n    return n + 1")])
    optimizer = TextGrad([grow.parameter], llm=llm)
    optimizer.backward(grow(1), "2 is expected")
    optimizer.step()
    assert grow(1).data == 2 and "type code" in user(llm, 1)
