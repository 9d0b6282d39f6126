"""Kinds 6, 7 and 8: a value that cannot be printed, feedback that is an object, evidence that changes afterwards."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import numpy as np
import pytest
from fault_cases import case, listed

from opto.errors import ExecutionError
from opto.llm import DummyLLM
from opto.optimizers import OPRO, OPROv2, OptoPrime, OptoPrimeMulti, OptoPrimeV1, OptoPrimeV2, TextGrad
from opto.trace import bundle, model, node


class Raises:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class RaisesAll(Raises):
    __str__ = __repr__ = Raises.__repr__

    def __format__(self, spec: str) -> str:
        raise RuntimeError("no format")


class Returns5:
    def __repr__(self) -> Any:
        return 5


class Recurses:
    def __repr__(self) -> str:
        return f"<{self!r}>"


class Huge:
    def __repr__(self) -> str:
        return "x" * 20_000_000


class Exits:
    def __repr__(self) -> str:
        raise SystemExit(1)


class LonelySurrogate:
    def __repr__(self) -> str:
        return "\ud800"


class Unequal:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no ==")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __len__(self) -> int:
        raise RuntimeError("no length")


def deep(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def circle() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


VALUES: dict[str, Any] = {
    "repr raises": Raises,
    "all of it raises": RaisesAll,
    "repr is no text": Returns5,
    "repr calls itself": Recurses,
    "repr is huge": Huge,
    "repr exits": Exits,
    "half a character": LonelySurrogate,
    "no equality, truth or length": Unequal,
    "huge int": lambda: 10**5000,
    "huge negative int": lambda: -(10**5000),
    "huge int in a list": lambda: [10**5000],
    "huge int in a dict": lambda: {10**5000: 1},
    "deep list": lambda: deep(3000),
    "circle": circle,
    "raising in a list": lambda: [Raises()],
    "raising in a dict": lambda: {"a": Raises()},
    "raising in a tuple": lambda: (1, Raises()),
    "array of raising objects": lambda: np.array([Raises()], dtype=object),
    "long list": lambda: list(range(1_000_000)),
}
OPTIMIZERS = [OptoPrime, OptoPrimeV1, OptoPrimeV2, OptoPrimeMulti, OPRO, OPROv2, TextGrad]


@bundle()
def mixed(p: str, value: Any) -> str:
    """Both."""
    return p


@bundle()
def made(p: str, maker: Any) -> Any:
    """A value."""
    return maker()


def prompts_of(optimizer: Any, p: Any, output: Any, feedback: Any = "no") -> str:
    """All texts that the optimizer sends in a step."""
    texts: list[str] = []

    def answer(*given: Any, messages: Any = None, **options: Any) -> str:
        texts.extend(str(message["content"]) for message in (messages or given[0]))
        return json.dumps({"suggestion": {}})

    asking = optimizer([p], llm=DummyLLM(answer))
    asking.zero_feedback()
    asking.backward(output, feedback)
    asking.step()
    return "\n".join(texts)


@pytest.mark.parametrize("make", listed(6, VALUES, set()))
def test_kind_06_an_input_that_cannot_be_shown_ends_no_step(make: Any) -> None:
    for optimizer in OPTIMIZERS:
        p = node("A", name="p", trainable=True)
        said = prompts_of(optimizer, p, mixed(p, make()))
        assert said and len(said) < 400_000


@pytest.mark.parametrize("make", listed(6, VALUES, set()))
def test_kind_06_an_output_that_cannot_be_shown_ends_no_step(make: Any) -> None:
    for optimizer in OPTIMIZERS:
        p = node("A", name="p", trainable=True)
        assert prompts_of(optimizer, p, made(p, make))


@pytest.mark.parametrize("make", listed(6, VALUES, set()))
def test_kind_06_pictures_and_reprs_show_a_placeholder(make: Any) -> None:
    p = node("A", name="p", trainable=True)
    output = mixed(p, make())
    assert repr(output.inputs["value"])
    assert output.backward("no", visualize=True) is not None


@pytest.mark.parametrize("make", listed(6, VALUES, set()))
def test_kind_06_errors_show_a_placeholder(make: Any) -> None:
    @bundle()
    def broken(p: str, value: Any) -> str:
        """It fails."""
        raise ValueError(value)

    p = node("A", name="p", trainable=True)
    with pytest.raises(ExecutionError) as caught:
        broken(p, make())
    assert "ValueError" in str(caught.value.exception_node.data) and str(caught.value)
    assert prompts_of(OptoPrime, p, caught.value.exception_node)


@pytest.mark.parametrize("make", listed(6, VALUES, set()))
def test_kind_06_feedback_shows_a_placeholder(make: Any) -> None:
    for optimizer in (OptoPrime, OptoPrimeV1, OptoPrimeV2):
        p = node("A", name="p", trainable=True)
        assert prompts_of(optimizer, p, p + "!", make())


@pytest.mark.parametrize("make", [case("type is named", Raises), case("type in a list is named", lambda: [Raises()])])
def test_kind_06_the_placeholder_names_the_type(make: Any) -> None:
    p = node("A", name="p", trainable=True)
    assert "Raises" in prompts_of(OptoPrime, p, mixed(p, make()))


FEEDBACK = [
    case("node", lambda: node("too ") + "long", "too long"),
    case("plain node", lambda: node("too long"), "too long"),
    case("node in a dict", lambda: {"score": node(0.25), "why": "long"}, "0.25"),
    case("node in a list", lambda: ["a", node("too long")], "too long"),
    case("node in a tuple", lambda: (0.5, node("too ") + "long"), "too long"),
    case("node deep down", lambda: {"a": [{"b": node("too long")}]}, "too long"),
    case("node of a node's data", lambda: node({"score": 0.25}), "0.25"),
    case("node of a bundle", lambda: mixed("too long", 1), "too long"),
    case("AssertionError", lambda: AssertionError(), "AssertionError"),
    case("KeyError", lambda: KeyError("name"), "KeyError"),
    case("ValueError", lambda: ValueError("too long"), "ValueError"),
    case("error in a dict", lambda: {"error": KeyError("name")}, "KeyError"),
    case("error in a list", lambda: [ValueError("too long")], "too long"),
    case("StopIteration", lambda: StopIteration(), "StopIteration"),
    case("number", lambda: 0.25, "0.25"),
    case("bool", lambda: False, "alse"),
    case("dict", lambda: {"score": 0.25}, "0.25"),
    case("numpy number", lambda: np.float64(0.25), "0.25"),
]
NOISE = ("dtype=", "<Node", "<MessageNode", "np.float64", "object at 0x")


@pytest.mark.parametrize(("make", "sign"), FEEDBACK)
def test_kind_07_feedback_is_shown_by_its_data(make: Any, sign: str) -> None:
    for optimizer in (OptoPrime, OptoPrimeV1, OptoPrimeV2, OPRO):
        p = node("A", name="p", trainable=True)
        said = prompts_of(optimizer, p, p + "!", make())
        assert sign in said, optimizer
        assert not [noise for noise in NOISE if noise in said], optimizer


@pytest.mark.parametrize(("error", "text"), [
    case("type and text", KeyError("name"), "KeyError: 'name'"),
    case("only a type", AssertionError(), "AssertionError"),
    case("type and words", ValueError("too long"), "ValueError: too long"),
])  # fmt: skip
def test_kind_07_an_exception_is_shown_as_type_and_text(error: Exception, text: str) -> None:
    p = node("A", name="p", trainable=True)
    assert text in prompts_of(OptoPrime, p, p + "!", error)


class Box:
    def __init__(self) -> None:
        self.items = ["first"]

    def __repr__(self) -> str:
        return f"Box({self.items})"


def change_array(x: Any) -> None:
    x[0] = 777


def change_inner_array(x: Any) -> None:
    x["a"][0] = 777


CHANGES = [
    case("list appended to", lambda: ["first"], lambda x: x.append(777)),
    case("list cleared", lambda: ["777", "first"], lambda x: x.insert(0, 777777)),
    case("dict updated", lambda: {"a": "first"}, lambda x: x.update(b=777)),
    case("set added to", lambda: {"first"}, lambda x: x.add(777)),
    case("list in a dict", lambda: {"a": ["first"]}, lambda x: x["a"].append(777)),
    case("dict in a list", lambda: [{"a": "first"}], lambda x: x[0].update(b=777)),
    case("chat history", lambda: [{"role": "user", "content": "first"}], lambda x: x.append({"content": "777"})),
    case("message changed", lambda: [{"content": "first"}], lambda x: x[0].update(content="777")),
    case("object", Box, lambda x: x.items.append(777)),
    case("array", lambda: np.array([1, 2]), change_array),
    case("array in a dict", lambda: {"a": np.array([1, 2])}, change_inner_array),
    case("bytearray", lambda: bytearray(b"first"), lambda x: x.extend(b"777")),
    case("list in a tuple", lambda: (["first"], 1), lambda x: x[0].append(777)),
]


@pytest.mark.parametrize(("make", "change"), CHANGES)
def test_kind_08_the_prompt_shows_what_the_call_saw(make: Any, change: Any) -> None:
    places = ("argument", "node", "output")
    for optimizer, place in itertools.product((OptoPrime, OptoPrimeV1, OptoPrimeV2), places):
        p = node("A", name="p", trainable=True)
        value = make()
        before = copy.deepcopy(value)
        if place == "output":
            output = made(p, lambda value=value: value)
        else:
            output = mixed(p, node(value) if place == "node" else value)
        change(value)
        said = prompts_of(optimizer, p, output)
        assert "777" not in said.replace(str(before), ""), optimizer


@model
class Talker:
    def __init__(self) -> None:
        self.prompt = node("A", trainable=True)
        self.history: list[str] = []

    def __call__(self, question: str) -> Any:
        self.history.append(question)
        answer = mixed(self.prompt, self.history)
        self.history.append(answer.data)
        return answer


def test_kind_08_each_call_of_an_agent_shows_its_own_moment() -> None:
    agent: Any = Talker()
    first = agent("one?")
    agent("two?")
    assert "two?" not in prompts_of(OptoPrime, agent.prompt, first)
