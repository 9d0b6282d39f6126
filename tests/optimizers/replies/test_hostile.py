"""A hostile reply, program or parameter: one wrong value never costs the others, nothing crashes."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from typing import Any

import numpy
import pytest

from opto.errors import ReplyError
from opto.llm.fakes import DummyLLM, ScriptedLLM
from opto.optimizers import OPRO, Mixed, OPROv2, OptoPrime, OptoPrimeMulti, OptoPrimeV1, OptoPrimeV2, TextGrad
from opto.optimizers.replies.patches import apply_patch, as_patch
from opto.optimizers.replies.values import convert
from opto.optimizers.search.axes import axis_of
from opto.optimizers.search.proposals import ask_sampler
from opto.optimizers.search.trials import read_score
from opto.trace import GRAPH, bundle, node
from opto.trace.spaces import Choice, Float, Int

KINDS = [OptoPrime, OptoPrimeV1, OptoPrimeV2, OPRO, OPROv2, OptoPrimeMulti, TextGrad, Mixed]


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    GRAPH.clear()


def made(kind: Any, **options: Any) -> tuple[Any, Any]:
    """(parameter, optimizer whose model always says 4)."""
    x = node(1, name="x", trainable=True)
    reply = "<IMPROVED_VARIABLE>4</IMPROVED_VARIABLE>" if kind is TextGrad else '{"suggestion": {"x0": 4}}'
    return x, kind([x], llm=ScriptedLLM([reply] * 20), **options)


# --- feedback, in every kind and number ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "feedback",
    [3, 2.5, {"score": 1}, ["a"], ValueError("bad"), "", "x" * 100_000, "é\ud800", float("nan"), b"ab", node("n")],
    ids=lambda f: type(f).__name__ + str(len(f) if isinstance(f, str) else ""),
)
def test_feedback_of_any_kind_makes_a_step(kind: Any, feedback: Any) -> None:
    x, optimizer = made(kind)
    optimizer.backward(x + 1, feedback)
    assert dict(optimizer.step()) == {x: 4}


@pytest.mark.parametrize("kind", KINDS)
def test_forgotten_feedback_adds_up_and_a_second_step_is_no_error(kind: Any) -> None:
    x, optimizer = made(kind)
    optimizer.backward(x + 1, "a")
    optimizer.step()
    optimizer.backward(x + 2, "b")
    assert optimizer.step().reason == "the proposed values are the present ones"


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_go_on(kind: Any) -> None:
    x, optimizer = made(kind)
    optimizer.backward(x + 1, "0.5")
    assert copy.copy(optimizer).parameters == copy.deepcopy(optimizer).parameters == [x]
    twin = pickle.loads(pickle.dumps(optimizer))
    assert twin.step().reason == "none of the parameters is trainable"
    twin.parameters = [x]
    assert dict(twin.step()) == {x: 4}


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_json_has_no_form_for_are_remembered(kind: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)
    x = node({(1, 2): loop}, name="x", trainable=True)
    optimizer = kind([x], llm=DummyLLM(lambda *_, **options: "no idea"), memory_size=3)
    for score in (0.1, 0.2):
        optimizer.backward(x, score)
        assert optimizer.step().reason
        optimizer.zero_feedback()


@pytest.mark.parametrize("size", [-1, 2.5, "3"])
def test_a_memory_that_cannot_be_says_what_it_must_be(size: Any) -> None:
    with pytest.raises(ValueError, match="whole number of attempts, 0 or more"):
        made(OptoPrime, memory_size=size)


def test_optimizers_in_threads_do_not_meet() -> None:
    found: dict[int, int] = {}

    def work(number: int) -> None:
        x = node(number, name=f"x{number}_", trainable=True)
        reply = json.dumps({"suggestion": {x.py_name: number + 1000}})
        optimizer = OptoPrime([x], llm=DummyLLM(lambda **_: reply))
        for _ in range(5):
            optimizer.zero_feedback()
            optimizer.backward(x + 1, "more")
            optimizer.step()
        found[number] = x.data

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number + 1000 for number in range(4)}


# --- replies ---


def test_one_wrong_value_of_several_costs_only_itself() -> None:
    a, b = node(1, name="a", trainable=True), node("t", name="b", trainable=True)
    frozen = node(5, name="d", trainable=True)
    frozen.trainable = False
    reply = '{"suggestion": {"a0": "x", "b0": "new", "d0": 9, "zz0": 1, "a0": "y"}}'
    update = OptoPrimeV1([a, b, frozen, a], llm=ScriptedLLM([reply])).step()
    assert dict(update) == {b: "new"} and set(update.refused) == {"a0"}
    assert (a.data, b.data, frozen.data) == (1, "new", 5)


@bundle(trainable=True)
def grow(x: int) -> Any:
    return x


GROWN = "def grow(x):\n    return x + 1"
ORIGINAL = grow.parameter.data


@pytest.mark.parametrize(
    "said",
    [
        GROWN,
        GROWN.replace("\n", "\r\n") + "\r\n",
        "\ufeff" + GROWN,
        GROWN.replace("    ", "\t"),
        f"```python\n{GROWN}\n```",
        f"Here is the code:\n```python\n{GROWN}\n```\nIt adds.",
        GROWN.splitlines(),
        GROWN.splitlines(keepends=True),
        "def help(x):\n    return x + 1\n\n\n" + GROWN.replace("x + 1", "help(x)"),
        GROWN.replace("return x", "größe = x\n    return größe"),
        GROWN.replace("return", '"""a\'\'\'b\n```\n"""\n    return'),
    ],
)
def test_code_in_any_dress_is_taken(said: Any) -> None:
    grow.parameter._set(ORIGINAL)
    reply = json.dumps({"suggestion": {grow.parameter.py_name: said}})
    update = OptoPrimeV1([grow.parameter], llm=ScriptedLLM([reply])).step()
    assert not update.refused and grow(2).data == 3
    assert "\r" not in grow.parameter.data


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("def grow(x, y):\n    return 1", "signature"),
        ("async def grow(x):\n    return 1", "plain 'def'"),
        ("class grow:\n    pass", "defines no function"),
        ("grow = lambda x: x", "defines no function"),
        ("@bundle(trainable=True)\n" + GROWN, "without the decorator"),
        ("@opto.trace.bundle()\n" + GROWN, "without the decorator"),
        ("def grow(x): return x\x00", "not valid Python"),
        (GROWN + "\nraise ValueError(1)", "cannot be defined"),
        ("def grow(x):\n    return (", "not valid Python"),
    ],
)
def test_code_that_would_break_the_program_is_refused(said: Any, why: str) -> None:
    grow.parameter._set(ORIGINAL)
    reply = json.dumps({"suggestion": {grow.parameter.py_name: said}})
    update = OptoPrimeV1([grow.parameter], llm=ScriptedLLM([reply])).step()
    assert why in update.refused[grow.parameter.py_name]
    assert grow(2).data == 2


@pytest.mark.parametrize("current", [1.0, numpy.float64(1), numpy.float32(1), numpy.array([1.0])])
def test_nan_is_no_number(current: Any) -> None:
    with pytest.raises(ReplyError, match="NaN"):
        convert("NaN" if numpy.ndim(current) == 0 else "[NaN]", current)
    assert convert("2" if numpy.ndim(current) == 0 else "[2]", current) == 2


def test_half_a_character_is_replaced() -> None:
    assert convert("a\ud800é😀", "text") == "a\ufffdé😀"


# --- spaces ---


def test_large_whole_numbers_stay_exact() -> None:
    space = Int(0, 10**18)
    assert space(123_456_789_012_345_678) == 123_456_789_012_345_678
    assert space(10**400) == 10**18 and Float(0, 1)(10**400) == 1
    assert Int(0, 9)(float("inf")) == 9


def test_a_number_chosen_may_be_spelled_otherwise() -> None:
    def same(said: Any) -> Any:
        return said

    assert Choice([1, 2]).read(1.0, same) == 1 and Choice([0.1, 0.2]).read("0.10", same) == 0.1
    with pytest.raises(ReplyError):
        Choice([True, False]).read(0.5, same)


def test_a_sampler_is_held_to_the_steps_of_a_logarithmic_range() -> None:
    space = Int(1, 1000, step=7, log=True)
    for seed in range(10):
        value = ask_sampler({"x": axis_of(space)}, [], seed)["x"]  # type: ignore[dict-item]
        assert value == space(value)


def test_scores_of_every_kind_of_number_are_read() -> None:
    assert read_score(numpy.float32(0.5)) == 0.5 and read_score(numpy.int64(3)) == 3
    x = node(1, name="x", trainable=True, space=Int(0, 5))
    tuner = Mixed([x])
    tuner.backward(x + 0, node(0.5))
    assert tuner.step().reason is None and tuner.best_score == 0.5


def test_a_history_of_another_program_is_no_obstacle(tmp_path: Any) -> None:
    x = node(1, name="x", trainable=True, space=Int(0, 5))
    first = Mixed([x])
    first.backward(x + 0, 0.9)
    first.step()
    first.save(tmp_path / "run.json")
    GRAPH.clear()
    y, text = node(1, name="y", trainable=True, space=Int(0, 5)), node("a", name="text", trainable=True)
    second = Mixed([y, text], llm=ScriptedLLM(['{"suggestion": {"text0": "b"}}'] * 9))
    second.load(tmp_path / "run.json")
    for _ in range(6):
        second.zero_feedback()
        second.backward(text * y, 0.5)
        second.step()
    assert len(second.trials) == 7


# --- patches ---

BLOCK = "<<<<<<< SEARCH\nb\n=======\nX\nY\n>>>>>>> REPLACE"
DIFF = "@@ -2,1 +2,2 @@\n-b\n+X\n+Y\n"


@pytest.mark.parametrize("patch", [BLOCK, DIFF])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_patch_keeps_the_line_ends_of_the_text(patch: str, end: str) -> None:
    for mine in ("\n", "\r\n"):
        for theirs in ("\n", "\r\n"):
            edits = as_patch(patch.replace("\n", theirs))
            assert edits is not None, "a patch is never taken for a new text"
            assert apply_patch(f"a{mine}b{mine}c{end and mine}", edits) == f"a{mine}X{mine}Y{mine}c{end and mine}"
