"""Mixed: numbers and choices by search, texts and code by a model, in one run with one history."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import BudgetExceeded, ExecutionError, MissingExtraError
from opto.llm.fakes import DummyLLM, ScriptedLLM
from opto.optimizers import Mixed
from opto.optimizers.search.axes import axis_of
from opto.optimizers.search.proposals import ScoredPoint, ask_sampler, suggest
from opto.optimizers.search.trials import MODEL, SEARCH, Trial, best_of, comparable_scores, model_has_rested, read_score
from opto.trace import GRAPH, bundle, node
from opto.trace.spaces import Choice, Float, Int, Text


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    GRAPH.clear()


def no_model(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("no model is needed here")


def climb(optimizer: Any, parameters: list[Any], score: Any, steps: int) -> list[Any]:
    """Values tried, in order."""
    tried = []
    for _ in range(steps):
        values = [p.data for p in parameters]
        tried.append(values)
        optimizer.zero_feedback()
        optimizer.backward(sum(parameters[1:], parameters[0] * 0), score(*values))
        optimizer.step()
    return tried


# --- scores ---


@pytest.mark.parametrize(
    ("feedback", "value"),
    [
        (3, 3.0),
        (True, 1.0),
        ("The delay was -3.5e1 seconds.", -35.0),
        ("2 of 4 are right", 0.5),
        ("passed 3/4 tests", 0.75),
        ("3 out of 3", 1.0),
        ("0/0", 0.0),
        ("score 5, again 5", 5.0),
    ],
)
def test_the_score_that_a_feedback_is_or_holds(feedback: Any, value: float) -> None:
    assert read_score(feedback) == value


@pytest.mark.parametrize("feedback", ["between 3 and 4", "x1 is wrong", "", None, math.nan, math.inf, ["3"], "5 of 4"])
def test_no_score_is_guessed(feedback: Any) -> None:
    assert read_score(feedback) is None


# --- search ---

SPACES = {"x": Float(-1, 3), "k": Int(0, 40, step=4), "rate": Float(1e-3, 1, log=True), "how": Choice(["a", "b"])}


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 25))
def test_proposals_are_allowed_new_and_follow_from_the_arguments(seed: int, turns: int) -> None:
    axes: Any = {name: axis_of(space) for name, space in SPACES.items()}
    rng, tried = random.Random(seed), list[ScoredPoint]()
    for _ in range(turns):
        values = suggest(axes, tried, seed=seed)
        assert values is not None and values not in [t.values for t in tried]
        for name, space in SPACES.items():
            assert space.read(values[name], convert=lambda v: v) == values[name]
        tried.append(ScoredPoint(values, rng.choice([None, -math.inf, 0.0, rng.random()])))
    assert suggest(axes, tried, seed=seed) == suggest(axes, list(tried), seed=seed)


def test_everything_is_tried_once_and_then_there_is_nothing() -> None:
    axes: Any = {"k": axis_of(Int(1, 3)), "how": axis_of(Choice(["a", "b"]))}
    tried: list[ScoredPoint] = []
    while (values := suggest(axes, tried, seed=3)) is not None:
        tried.append(ScoredPoint(values, 0.0))
    assert len({tuple(t.values.values()) for t in tried}) == len(tried) == 6


def test_steps_on_a_logarithm_and_ranges_of_one_value() -> None:
    axis: Any = axis_of(Int(1, 1000, log=True))
    assert axis.coordinates(1) == (0.0,) and axis.coordinates(1000)[0] == pytest.approx(1)
    assert all(1 <= axis.near(900, 0.5, random.Random(i)) <= 1000 for i in range(50))
    lone: Any = axis_of(Float(2, 2))
    assert lone.coordinates(2.0) == (0.0,) and axis_of(Text()) is None and axis_of(None) is None


def test_the_search_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    x = node(0.5, trainable=True, space=Float(0, 1))
    optimizer = Mixed([x])
    optimizer.backward(x * 1, 3)
    with pytest.raises(MissingExtraError, match=r"opto-trace\[search\]"):
        optimizer.step()


# --- numbers alone ---


def bowl(x: float, k: int) -> float:
    return (x - 0.3) ** 2 + (k - 7) ** 2 / 50


def test_numbers_alone_need_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opto.llm.default_llm", no_model)
    for seed in range(3):
        x = node(1.5, name="x", trainable=True, space=Float(0, 2))
        k = node(20, name="k", trainable=True, space=Int(0, 20))
        optimizer = Mixed([x, k], seed=seed, maximize=False, budget=40)
        assert optimizer.writer is None and optimizer.llm is None and optimizer.log == []
        tried = climb(optimizer, [x, k], bowl, 40)
        assert len({tuple(values) for values in tried}) == 40, "nothing is tried twice"
        assert bowl(x.data, k.data) == min(bowl(*values) for values in tried) < 0.05, "the budget ends at the best"
        assert optimizer.best_score == bowl(x.data, k.data) and optimizer.best is not None


def test_the_end_of_the_budget_says_so() -> None:
    x = node(0.5, name="x", trainable=True, space=Float(0, 1))
    optimizer = Mixed([x], budget=1)
    optimizer.backward(x * 1, 7)
    update = optimizer.step()
    assert (
        update.reason
        == update.reasoning
        == "the budget of 1 candidates is used up; the best values, with a score of 7, stand"
    )
    how = node("a", name="how", trainable=True, space=Choice(["a", "b"]))
    other = Mixed([how])
    climb(other, [how, how], lambda *values: float(values[0] == "a"), 2)
    assert how.data == "a" and "every allowed combination was tried" in other.step().reasoning


def test_without_any_score_a_step_says_what_to_do() -> None:
    x = node(0.5, name="x", trainable=True, space=Float(0, 1))
    optimizer = Mixed([x])
    optimizer.backward(x * 1, "too high")
    assert "backward(node, score=" in (optimizer.step().reason or "") and x.data == 0.5
    assert optimizer.best_score is None


def test_scores_may_come_from_elsewhere_and_several_are_averaged() -> None:
    x = node(0.5, name="x", trainable=True, space=Float(0, 1))
    optimizer = Mixed([x], score=lambda feedback: None if feedback == "?" else len(feedback))
    y = x * 1
    optimizer.backward(y, "four", retain_graph=True)
    optimizer.backward(y * 2, "?", retain_graph=True)
    optimizer.backward(y * 3, score=10)
    optimizer.step()
    assert optimizer.trials[0].score == 7 and "four" in optimizer.trials[0].feedback
    optimizer.step()
    assert len(optimizer.trials) == 1, "one run is one trial, however often it is stepped"


def test_a_failed_call_is_the_worst_of_all() -> None:
    @bundle()
    def inverse(x: float) -> float:
        """1 / x"""
        return 1 / x

    x = node(0.0, name="x", trainable=True, space=Float(0, 1))
    optimizer = Mixed([x], seed=1)
    with pytest.raises(ExecutionError) as caught:
        inverse(x)
    optimizer.backward(caught.value.exception_node, "(ZeroDivisionError) line 2")
    assert optimizer.step().reason and optimizer.trials[0].score == -math.inf
    for _ in range(12):
        optimizer.zero_feedback()
        optimizer.backward(x * 1, 0.5)
        optimizer.step()
    assert optimizer.best_score == 0.5 and x.data > 0


def test_choices_that_are_functions() -> None:
    how = node(min, name="how", trainable=True, space=Choice([min, max, sum]))
    optimizer = Mixed([how])
    seen = set()
    for _ in range(3):
        seen.add(how.data)
        optimizer.zero_feedback()
        optimizer.backward(how([3, 1]), float(how.data([3, 1])))
        optimizer.step()
    assert seen == {min, max, sum} and how.data is sum
    assert json.loads(json.dumps(optimizer.history))[0]["values"] == {"how0": "min"}


# --- together with a model ---


def oracle(messages: Any, **options: Any) -> str:
    """Adds what the feedback in the prompt asks for."""
    prompt = messages[-1]["content"]
    said = prompt.split("Feedback: ")[1].split("\n")[0]
    wanted = "kind" if "not kind" in said else "brief" if "not brief" in said else ""
    text = prompt.split("prompt0 (text): ")[1].split("\n")[0]
    return json.dumps({"suggestion": {"prompt0": f"{text} {wanted}".strip()} if wanted else {}})


def judged(text: str, warmth: float) -> tuple[float, str]:
    lacking = [word for word in ("kind", "brief") if word not in text]
    said = f"It is not {lacking[0]}" if lacking else "fine"
    return 2.0 - len(lacking) - abs(warmth - 0.7), said


def serve(optimizer: Any, prompt: Any, warmth: Any, steps: int) -> None:
    for _ in range(steps):
        score, said = judged(prompt.data, warmth.data)
        optimizer.zero_feedback()
        optimizer.backward(bundle()(judged)(prompt, warmth), said, score=score)
        optimizer.step()


def mixed_pair(**options: Any) -> tuple[Any, Any, Any]:
    GRAPH.clear()
    prompt = node("Be", name="prompt", trainable=True, space=Text(max_tokens=30))
    warmth = node(0.0, name="warmth", trainable=True, space=Float(0, 1))
    return Mixed([prompt, warmth], **options), prompt, warmth


def test_one_run_writes_texts_and_finds_numbers() -> None:
    prompts: list[str] = []

    def answer(messages: Any, **options: Any) -> str:
        prompts.append(messages[-1]["content"])
        return oracle(messages)

    optimizer, prompt, warmth = mixed_pair(llm=DummyLLM(answer), seed=2, budget=30)
    serve(optimizer, prompt, warmth, 30)
    assert prompt.data == "Be kind brief" and abs(warmth.data - 0.7) < 0.1
    assert {trial.by for trial in optimizer.trials} == {"start", MODEL, SEARCH}
    assert len(prompts) < 20, "a model that has nothing to say is asked less and less"
    assert all("warmth0 (float)" not in text for text in prompts), "numbers are not the model's"
    assert "# Earlier attempts" in prompts[-1] and "warmth0=" in prompts[-1], "the history is shared"
    assert "at most 30 tokens" in prompts[0]


def nonsense(**options: Any) -> str:
    return '{"suggestion": {"prompt0": "Nonsense"}}'


def test_the_model_edits_only_the_best_texts() -> None:
    optimizer, prompt, warmth = mixed_pair(llm=DummyLLM(nonsense))
    serve(optimizer, prompt, warmth, 1)
    assert prompt.data == "Nonsense"
    serve(optimizer, prompt, warmth, 1)  # no worse, so it stands
    prompt._data = "Be kind"
    serve(optimizer, prompt, warmth, 2)
    assert prompt.data == "Be kind", "worse texts are taken back, and the search goes on with the best"


def test_without_a_score_the_model_works_on_everything() -> None:
    llm = ScriptedLLM(['{"suggestion": {"warmth0": 0.4, "prompt0": "Be warm"}}'])
    optimizer, prompt, warmth = mixed_pair(llm=llm)
    optimizer.set_context("Mind the cold.")
    optimizer.backward(bundle()(judged)(prompt, warmth), "too cold")
    assert optimizer.step() == {warmth: 0.4, prompt: "Be warm"}
    assert "Mind the cold." in str(llm.calls[0]["messages"])


def test_texts_alone_are_optoprime() -> None:
    prompt = node("Be", name="prompt", trainable=True)
    optimizer = Mixed([prompt], DummyLLM(oracle))
    for _ in range(2):
        optimizer.zero_feedback()
        optimizer.backward(prompt + ".", f"It is not {'brief' if 'kind' in prompt.data else 'kind'}", score=0)
        optimizer.step()
    assert prompt.data == "Be kind brief" and len(optimizer.log or []) == 2 and optimizer.llm is not None


def test_the_search_goes_on_when_the_models_budget_is_used_up() -> None:
    refusal = BudgetExceeded("calls", 1, 1, 0, 1)
    optimizer, prompt, warmth = mixed_pair(llm=ScriptedLLM([refusal] * 20))
    serve(optimizer, prompt, warmth, 4)
    assert [trial.by for trial in optimizer.trials] == ["start", SEARCH, SEARCH, SEARCH] and prompt.data == "Be"
    lone = Mixed([prompt], ScriptedLLM([refusal]))
    lone.backward(prompt + ".", 1)
    with pytest.raises(BudgetExceeded):
        lone.step()


# --- history ---


def test_numbers_tried_with_other_texts_are_compared_fairly() -> None:
    def trial(text: str, x: int, score: float | None) -> Trial:
        return Trial({"t": text, "x": x}, score)

    trials = [trial("a", 1, 1.0), trial("a", 2, 3.0), trial("b", 2, 13.0), trial("b", 1, 11.5), trial("b", 3, None)]
    assert comparable_scores(trials, ["x"]) == [1.0, 3.0, 3.0, 1.5, None]
    assert best_of(trials) is trials[2] and best_of([]) is None
    assert best_of([trial("a", 1, 0.0), trial("a", 2, 0.0)]).values["x"] == 2  # type: ignore[union-attr]


def test_a_model_that_fails_rests_longer_and_longer() -> None:
    def trials(*gains: bool | None) -> list[Trial]:
        """True: the model gained, False: it did not, None: the search's turn."""
        scores = iter(range(100))
        return [
            Trial(
                {}, float(next(scores)) if gain else -1.0, by=SEARCH if gain is None else MODEL, asked=gain is not None
            )
            for gain in gains
        ]

    assert model_has_rested(trials(True)) and model_has_rested(trials(True, True))
    assert not model_has_rested(trials(True, False)) and model_has_rested(trials(True, False, None))
    assert not model_has_rested(trials(True, False, None, False, None, None))
    assert model_has_rested(trials(True, False, None, False, None, None, None))
    assert not model_has_rested([Trial({}, 0.0), Trial({}, 5.0, by=SEARCH, asked=True)]), "silence is a failure too"


# --- copies and files ---


@pytest.mark.parametrize("way", ["file", "copy", "pickle"])
@pytest.mark.parametrize("cut", [1, 9, 15])
def test_an_interrupted_run_goes_on_exactly_as_it_would_have(tmp_path: Path, way: str, cut: int) -> None:
    whole, *parts = mixed_pair(llm=DummyLLM(oracle), seed=5)
    serve(whole, *parts, 18)
    expected = [(p.data) for p in parts]
    first, *parts = mixed_pair(llm=DummyLLM(oracle), seed=5)
    serve(first, *parts, cut)
    if way == "file":
        first.save(tmp_path / "state")
        json.loads((tmp_path / "state").read_text())
        second = Mixed(parts, DummyLLM(oracle))
        second.load(tmp_path / "state")
    elif way == "copy":
        second = copy.deepcopy(first)
        assert second.parameters == first.parameters and second.trials is not first.trials
    else:
        second = pickle.loads(pickle.dumps(first))
        second.parameters = parts
    serve(second, *parts, 18 - cut)
    assert [p.data for p in parts] == expected
    assert second.history == whole.history


def test_a_sampler_of_ones_own() -> None:
    import optuna

    axes: Any = {"x": axis_of(Float(0, 1)), "k": axis_of(Int(0, 5))}
    make = lambda seed: optuna.samplers.RandomSampler(seed=seed)  # noqa: E731
    asked = ask_sampler(axes, [ScoredPoint({"x": 0.5, "k": 1}, 1.0)], 7, make)
    assert asked == ask_sampler(axes, [], 7, make) and 0 <= asked["x"] <= 1
    x = node(0.5, trainable=True, space=Float(0, 1))
    assert Mixed([x], sampler=make).sampler is make


def test_a_history_from_wider_spaces_is_used_as_far_as_it_fits(tmp_path: Path) -> None:
    def pair(high: float, options: str) -> list[Any]:
        GRAPH.clear()
        return [
            node(0.5, name="x", trainable=True, space=Float(0, high)),
            node("a", name="how", trainable=True, space=Choice(options)),
        ]

    wide = pair(9, "abc")
    first = Mixed(wide, seed=1)
    climb(first, [wide[0], wide[0]], lambda x, _: x, 12)
    first.save(tmp_path / "state")
    narrow = pair(1, "ab")
    second = Mixed(narrow, seed=1)
    second.load(tmp_path / "state")
    for _ in range(8):
        second.zero_feedback()
        second.backward(narrow[0] * 1, narrow[0].data)
        second.step()
        assert 0 <= narrow[0].data <= 1 and narrow[1].data in ("a", "b")


def test_values_without_a_plain_truth_are_no_obstacle() -> None:
    x = node(numpy.array([1.0, 2.0]), name="x", trainable=True)
    optimizer = Mixed([x], llm=ScriptedLLM(['{"suggestion": {"x0": [3, 4]}}'] * 3))
    for score in (0.5, 0.2):
        optimizer.backward(x * 2, score)
        assert [value.tolist() for value in optimizer.step(bypassing=True).values()] == [[3, 4]]
        optimizer.zero_feedback()
    assert optimizer.spent.calls == 1


def test_what_is_not_trainable_stays() -> None:
    x = node(0.5, name="x", trainable=True, space=Float(0, 1))
    x.trainable = False
    optimizer = Mixed([x])
    optimizer.backward(x * 1, 1)
    assert optimizer.step().reason == "none of the parameters is trainable" and x.data == 0.5
