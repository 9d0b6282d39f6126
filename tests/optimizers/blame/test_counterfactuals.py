"""Blame: shares by counterfactual values, shown in the prompt and in the result."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from opto.errors import BudgetExceeded, RunTimeoutError
from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OPRO, Mixed, OPROv2, OptoPrime, OptoPrimeMulti, OptoPrimeV1, OptoPrimeV2, TextGrad
from opto.optimizers.blame import estimate_blame
from opto.trace import GRAPH, bundle, node


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    GRAPH.clear()


@bundle()
def ask(prompt: str, text: str) -> str:
    return f"{prompt}: {text}"


@bundle()
def join(a: str, b: str) -> str:
    return f"{a}, {b}"


def world() -> tuple[list[Any], list[Any], Any]:
    prompts = [node(text, name=name, trainable=True) for name, text in zip("abc", "uvw", strict=True)]
    said = [ask(prompt, "text") for prompt in prompts]
    return prompts, said, join(said[0], said[1])


def right(value: str) -> float:
    return float(value == "u: text, good")


def test_the_part_whose_value_would_have_made_it_right_is_blamed() -> None:
    prompts, said, out = world()
    blame = estimate_blame(
        out, prompts, {said[0]: ["good"], said[1]: ["bad", "good"], said[2]: ["good"]}, right, [join]
    )
    assert blame.shares == {"b0": 1.0, "a0": 0.0} and not blame.untried, "c leads nowhere near the output"
    assert str(blame) == "b0 (100%)"


def test_what_cannot_be_tried_for_nothing_says_why() -> None:
    prompts, said, out = world()
    blame = estimate_blame(out, prompts, {prompts[0]: ["x"]}, right, [join])
    assert not blame.shares
    assert "ask" in blame.untried["a0"] and "known" in blame.untried["b0"]
    assert set(estimate_blame(out, prompts, {said[0]: ["x"]}, right).untried) == {"a0", "b0"}


def test_paid_calls_behind_the_doubtful_one_are_known_from_other_runs() -> None:
    def run(text: str) -> tuple[Any, Any, Any]:
        first = ask(prompt, text)
        second = ask(other, first)
        return first, second, join(first, second)

    prompt, other = node("u", name="a", trainable=True), node("v", name="b", trainable=True)
    (first, _, wrong), (elsewhere, _, right_one) = run("bad"), run("good")

    def good(value: str) -> float:
        return float(value == "u: good, v: u: good")

    without = estimate_blame(wrong, [prompt, other], {first: [elsewhere.data]}, good, [join])
    assert "ask" in without.untried["a0"]
    blame = estimate_blame(wrong, [prompt, other], {first: [elsewhere.data]}, good, [join], runs=[right_one])
    assert blame.shares == {"a0": 1.0}


def test_of_a_failed_run_only_what_makes_it_succeed_is_blamed() -> None:
    x, y, z = (node(0, name=name, trainable=True) for name in "xyz")
    score = lambda total: total if total > 2 else -math.inf  # noqa: E731
    blame = estimate_blame(x + y + z, [x, y, z], {x: [5], y: [2], z: [3]}, score)
    assert blame.shares == {"x0": 0.5, "z0": 0.5, "y0": 0.0}


def test_a_counterfactual_that_fails_is_no_gain() -> None:
    x = node(4, name="x", trainable=True)
    blame = estimate_blame(8 / x, [x], {x: [0]}, lambda value: value)
    assert blame.shares == {"x0": 0.0} and str(blame) == ""


def test_prompt_and_result_show_the_shares_until_feedback_is_forgotten() -> None:
    prompts, said, out = world()
    llm = ScriptedLLM(['{"suggestion": {"b0": "new"}}'] * 2)
    optimizer = OptoPrime(prompts, llm=llm)
    optimizer.backward(out, "wrong", retain_graph=True)
    blame = optimizer.blame(out, {said[1]: ["good"]}, right, [join])
    update = optimizer.step(bypassing=True)
    text = llm.calls[0]["messages"][1]["content"]
    assert "# Likely at fault\nb0 (100%)\n" in text and '{"b0":' in text.replace(" ", "")
    assert update.blame is blame and blame.shares == {"b0": 1.0}
    assert copy.deepcopy(optimizer).blamed.shares == blame.shares
    optimizer.zero_feedback()
    optimizer.backward(out, "wrong", retain_graph=True)
    assert not optimizer.step().blame.shares
    assert "at fault" not in llm.calls[1]["messages"][1]["content"]


@pytest.mark.parametrize("kind", [OptoPrimeV1, OptoPrimeV2, OPRO, OPROv2, OptoPrimeMulti, Mixed, TextGrad])
def test_every_optimizer_shows_the_blame_that_was_asked_for_and_no_other(kind: Any) -> None:
    prompts, said, out = world()
    reply = "<IMPROVED_VARIABLE>new</IMPROVED_VARIABLE>" if kind is TextGrad else '{"suggestion": {"b0": "new"}}'
    llm = ScriptedLLM([reply] * 40)
    optimizer = kind(prompts, llm=llm)
    optimizer.backward(out, "wrong", retain_graph=True)
    plain = optimizer.step(bypassing=True)
    asked = len(llm.calls)
    assert "fault" not in llm.calls[-1]["messages"][-1]["content"] and not plain.blame.shares
    blame = optimizer.blame(out, {said[1]: ["good"]}, right, [join])
    update = optimizer.step(bypassing=True)
    assert any("b0 (100%)" in call["messages"][-1]["content"] for call in llm.calls[asked:])
    assert update.blame is blame and blame.shares == {"b0": 1.0}
    optimizer.zero_feedback()
    assert not optimizer.blamed.shares


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize(
    "end",
    [BudgetExceeded("calls", 1, 1, 0, 1), RunTimeoutError("late"), KeyboardInterrupt()],
    ids=lambda e: str(type(e)),
)
def test_what_ends_a_run_ends_the_estimate(end: BaseException, traced: bool) -> None:
    spent: list[str] = []

    @bundle(catch_execution_error=traced)
    def pays(text: str) -> str:
        if spent:
            raise end
        spent.append(text)
        return text

    prompt = node("a", name="prompt", trainable=True)
    out = pays(prompt)
    with pytest.raises(type(end)):
        estimate_blame(out, [prompt], {prompt: ["b"]}, lambda value: 0.0, [pays])


def test_a_budget_spent_by_the_score_ends_the_estimate() -> None:
    prompt = node(1, name="prompt", trainable=True)

    def score(value: int) -> float:
        if value > 1:
            raise BudgetExceeded("calls", 1, 1, 0, 1)
        return 0.0

    with pytest.raises(BudgetExceeded):
        estimate_blame(prompt + 0, [prompt], {prompt: [2]}, score)
