"""Spaces: what they allow, what they refuse and why, and that they travel with their parameter."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import LoadError, SpaceError
from opto.execution import Limits
from opto.llm.fakes import DummyLLM, ScriptedLLM
from opto.optimizers import OPROv2, OptoPrime, OptoPrimeMulti, OptoPrimeV1, OptoPrimeV2, TextGrad
from opto.optimizers.optimizer import Optimizer
from opto.trace import GRAPH, Module, bundle, node, spaces
from opto.trace.projections import Projection
from opto.trace.spaces import Choice, Code, Float, Int, Space, Text, plain_value, space_of

LIMITS = Limits(wall_seconds=2, cpu_seconds=2)
numbers = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False))


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    GRAPH.clear()


def shout(text: str) -> str:
    return text.upper()


def whisper(text: str) -> str:
    return text.lower()


class Model:
    """Neither comparable nor named: only a label tells it apart."""


# --- numbers ---


@given(x=numbers, low=st.integers(-50, 50), width=st.integers(0, 100), step=st.one_of(st.none(), st.integers(1, 7)))
def test_a_number_is_moved_to_the_nearest_allowed_one(x: float, low: int, width: int, step: int | None) -> None:
    high = low + width
    for space in (Float(low, high, step=step), Int(low, high, step=step or 1)):
        near = space(x)
        assert low <= near <= high and space(near) == near, "inside, and there to stay"
        assert step is None or math.isclose((near - low) % step, 0)
        others = [low + k * (step or 1) for k in range(width // (step or 1) + 1)]
        assert abs(near - min(max(x, low), high)) <= min(abs(o - min(max(x, low), high)) for o in others) + 1e-9
    assert type(Int(low, high)(x)) is int and type(Float(low, high)(x)) is float


@pytest.mark.parametrize("value", [math.nan, "much", None, []])
def test_what_is_no_number_is_refused_with_what_is_allowed(value: Any) -> None:
    with pytest.raises(SpaceError, match="a number from 0 to 2"):
        Float(0, 2)(value)
    with pytest.raises(SpaceError, match="a whole number from 0 to 6 in steps of 2"):
        Int(0, 6, step=2)(value)


def test_a_range_that_makes_no_sense_is_refused_at_once() -> None:
    for make in (
        lambda: Float(2, 0),
        lambda: Float(0, math.inf),
        lambda: Float(0, 1, step=0),
        lambda: Float(0, 1, log=True),
        lambda: Int(0.5, 2),  # type: ignore[arg-type]
        lambda: Choice([]),
        lambda: Code(tests=["f(2) ="]),
        lambda: Choice([Model()]),
        lambda: Choice(["1", 1]),
    ):
        with pytest.raises(ValueError):
            make()


# --- choices ---


@given(st.lists(st.one_of(st.text(min_size=1), st.integers(), st.booleans(), st.none()), min_size=1, max_size=8))
def test_each_option_is_found_again_by_its_label(options: list[Any]) -> None:
    try:
        space = Choice(options)
    except ValueError:
        return  # two options of one label
    for label, option in space.options.items():
        assert space(option) is option and space.plain(option) == label
        assert space.read(label, convert=str) is option


def test_options_that_cannot_be_written_down_have_labels() -> None:
    small, big = Model(), Model()
    space = Choice({"small": small, "big": big})
    assert space.read(" 'BIG' ", convert=str) is big and space.plain(small) == "small"
    assert Choice([shout, whisper]).labels == ("shout", "whisper")
    with pytest.raises(SpaceError, match="'huge' is not one of: small, big"):
        space.read("huge", convert=str)
    assert Choice([True, 1.5, None]).read("True", convert=str) is True
    with pytest.raises(SpaceError):
        Choice([1, 2])(True)  # equal to 1, yet none of them


# --- texts and code ---


def test_a_text_keeps_what_it_must() -> None:
    space = Text(max_tokens=12, must_contain="{q}", frozen=["Be kind.", "End."])
    good = "Be kind. {q} End."
    assert space(good) == good
    for bad, why in (
        ("Be kind. End.", "must contain '{q}'"),
        ("Be nice. {q} End.", "must keep 'Be kind.' unchanged"),
        ("End. {q} Be kind.", "must keep 'End.' unchanged and in its place"),
        (good + " word" * 40, "at most 12 are allowed"),
        (3, "a text is expected, not a int"),
    ):
        with pytest.raises(SpaceError, match=why):
            space(bad)
    assert Text(max_tokens=2, count=lambda text: len(text.split()))("two words")


def test_code_keeps_signature_imports_and_tests() -> None:
    def positive(fun: Any) -> bool:
        return bool(fun(-3) == 3)

    start = "def size(x):\n    return x"
    space = Code(
        imports=["math"], tests=["size(2) == 2", "assert size(0) == 0", positive], names={"one": 1}, limits=LIMITS
    )
    parameter = node("def size(x):\n    return abs(x)", trainable=True, space=space)
    bound = space_of(parameter)
    assert bound is not None and "def size(x)" in bound.constraint and "size(2) == 2" in bound.constraint
    fine = "import math\ndef size(x):\n    return math.fabs(x) * one"
    assert bound(fine) == fine
    for bad, why in (
        (start, "fails the test positive"),
        ("def size(x, y): return x", "signature must stay"),
        ("def other(x): return x", "must define the function 'size'"),
        ("import os\ndef size(x): return abs(x)", "may not import 'os', only: math"),
        ("from os import path\ndef size(x): return abs(x)", "may not import 'os'"),
        ("def size(x) return", "not valid Python"),
        ("def size(x): return None", r"fails the test 'size\(2\) == 2'"),
        ("def size(x): return 1 / 0", "ZeroDivisionError: division by zero"),
        ("absent\ndef size(x): return x", "cannot be run: NameError"),
        ("def size(x):\n    while x == 0: pass\n    return abs(x)", "took longer than"),
        ("def size(x): return open('/etc/hostname').read()", "fails the test"),
        (7, "code is expected"),
    ):
        with pytest.raises(ValueError, match=why):
            bound(bad)
    assert node(start, trainable=True, space=space).data == start, "what does not pass yet may be where to start"
    with pytest.raises(SpaceError, match="starts as the source of a function"):
        node("x = 1", trainable=True, space=space)
    with pytest.raises(SpaceError, match="must define a function"):
        Code(tests=["True"])("x = 1")
    with pytest.raises(SpaceError, match="only: nothing"):
        Code(imports=[])("from . import x")


def test_a_bundle_takes_a_code_space_as_a_projection() -> None:
    @bundle(trainable=True, projections=[Code(imports=[], tests=["twice(2) == 4"])])
    def twice(x: int) -> int:
        return x + x

    parameter = twice.parameter
    bad, good = "def twice(x):\n    return x", "def twice(x):\n    return 2 * x"
    llm = ScriptedLLM([json.dumps({"suggestion": {parameter.py_name: code}}) for code in (bad, good)])
    optimizer = OptoPrime([parameter], llm=llm)
    optimizer.backward(twice(2), "write it with *")
    assert optimizer.step()[parameter].strip() == good
    shown, again = (str(call["messages"]) for call in llm.calls)
    assert "it imports nothing" in shown, "the model is told"
    assert "fails the test" in again, "and told what was wrong before anything ran"


# --- parameters ---


def test_a_parameter_starts_inside_its_space() -> None:
    x = node(1, name="x", trainable=True, space=Float(0, 2))
    assert type(x.data) is float and x.name == "x:0" and isinstance(space_of(x), Space)
    with pytest.raises(SpaceError, match="starts at 5, which is not a number from 0 to 2"):
        node(5, trainable=True, space=Float(0, 2))
    with pytest.raises(AssertionError, match="trainable=True"):
        node(1, space=Float(0, 2))
    y = node(x, trainable=True, space=Int(0, 2))
    assert y.data == 1 and x.data == 1.0, "a parameter made from a node leaves the node alone"
    assert space_of(node(1, trainable=True)) is None and spaces.Float is Float


def test_spaces_travel_with_copies_and_pickles() -> None:
    models = {"a": Model(), "b": Model()}
    x = node(models["b"], trainable=True, space=Choice(models))
    twin = copy.deepcopy(x)
    assert twin.data is x.data and plain_value(twin) == "b", "copies share the options"
    loaded = pickle.loads(pickle.dumps(node(shout, trainable=True, space=Choice([shout, whisper]))))
    assert loaded.data is shout and plain_value(loaded) == "shout"
    for space, value in ((Float(0, 1), 0.5), (Int(0, 3), 2), (Text(must_contain="x"), "x"), (Code(), "def f(): pass")):
        back = pickle.loads(pickle.dumps(node(value, trainable=True, space=space)))
        assert back.data == value and vars(space_of(back)) == vars(space_of(copy.deepcopy(back)))


class Agent(Module):
    def __init__(self, how: Any, warmth: float = 0.5) -> None:
        self.how = node(how, trainable=True, space=Choice([shout, whisper]))
        self.warmth = node(warmth, trainable=True, space=Float(0, 1))


def test_a_saved_choice_is_a_label_and_a_file_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    agent = Agent(shout, 0.25)
    agent.save(str(tmp_path / "agent"))
    text = (tmp_path / "agent").read_text()
    assert '"shout"' in text and "pickle" not in text
    other = Agent(whisper)
    other.load(str(tmp_path / "agent"))
    assert other.how.data is shout and other.warmth.data == 0.25
    (tmp_path / "bad").write_text(text.replace('"shout"', '"sing"').replace("0.25", "0.75"))
    with pytest.raises(LoadError, match="'how' does not fit its space: 'sing' is not one of: shout, whisper"):
        other.load(str(tmp_path / "bad"))
    assert other.how.data is shout and other.warmth.data == 0.25


# --- optimizers ---


@pytest.mark.parametrize("optimizer_class", [OptoPrime, OptoPrimeV1, OptoPrimeV2, TextGrad, OPROv2, OptoPrimeMulti])
def test_every_prompt_tells_the_constraint_and_shows_the_label(optimizer_class: Any) -> None:
    prompts: list[str] = []

    def answer(messages: Any, **options: Any) -> str:
        prompts.append(str(messages))
        return "none"

    how = node(shout, name="how", trainable=True, space=Choice([shout, whisper]))
    text = node("{q}", name="text", trainable=True, description="a question", space=Text(must_contain="{q}"))
    out = bundle()(lambda_free)(how, text)
    optimizer = optimizer_class([how, text], llm=DummyLLM(answer))
    optimizer.backward(out, "too loud")
    optimizer.step()
    said = "\n".join(prompts)
    assert "one of: shout, whisper" in said and "<function" not in said.split("one of:")[0][-300:]
    assert "a question" in said and "it contains" in said


def lambda_free(how: Any, text: str) -> str:
    """Applies one to the other."""
    return str(how(text))


def test_a_label_in_a_reply_becomes_the_option_and_others_are_asked_again() -> None:
    how = node(shout, name="how", trainable=True, space=Choice([shout, whisper]))
    llm = ScriptedLLM(['{"suggestion": {"how0": "sing"}}', '{"suggestion": {"how0": "whisper"}}'])
    optimizer = OptoPrime([how], llm=llm)
    optimizer.backward(how, "too loud")
    assert optimizer.step() == {how: whisper} and how.data is whisper
    assert "'sing' is not one of: shout, whisper" in str(llm.calls[1]["messages"])


def test_numbers_outside_are_moved_inside_before_they_are_used() -> None:
    x = node(0.5, name="x", trainable=True, space=Float(0, 1))
    optimizer = OptoPrimeV1([x], llm=ScriptedLLM(['{"suggestion": {"x0": "7"}}']))
    optimizer.backward(x, "more")
    assert optimizer.step() == {x: 1.0}


def test_an_optimizer_of_ones_own_is_held_to_the_space_as_well() -> None:
    class Guess(Optimizer):
        def _step(self, *args: Any, **kwargs: Any) -> Any:
            return {how: "sing", x: 3}

    how = node(shout, name="how", trainable=True, space=Choice([shout, whisper]))
    x = node(1, name="x", trainable=True, space=Int(0, 2))
    update = Guess([how, x]).step()
    assert update == {x: 2} and how.data is shout and "'sing' is not" in update.refused["how0"]
    x.trainable = False
    assert "how0 was refused" in (Guess([how, x]).step().reason or "") or x.data == 2


def test_projections_of_the_user_still_apply_in_order() -> None:
    class Halve(Projection):
        def project(self, x: Any) -> Any:
            return x / 2

    x = node(1.0, name="x", trainable=True, space=Float(0, 4))
    x.projections.append(Halve())
    optimizer = OptoPrimeV1([x], llm=ScriptedLLM(['{"suggestion": {"x0": 100}}']))
    optimizer.backward(x, "more")
    assert optimizer.step() == {x: 2.0}
