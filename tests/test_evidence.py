"""Prompts show what a call saw of a value that the program went on changing."""

from __future__ import annotations

import copy
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.evidence import seen
from opto.llm import ScriptedLLM
from opto.optimizers import OptoPrime, OptoPrimeV1, TextGrad
from opto.trace import GRAPH, bundle, node
from opto.trace.operators import in_
from opto.trace.records import WatchedChildren


@dataclass
class Note:
    words: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    words: list[str] = field(default_factory=list)


class Quiet:
    """An object whose text does not tell what it holds."""

    def __init__(self) -> None:
        self.words = ["first"]


def set_cell(array: Any) -> None:
    array[0] = 777


CHANGES: dict[str, tuple[Any, Any]] = {
    "list": (lambda: ["first"], lambda x: x.append("late")),
    "list, an item": (lambda: ["first"], lambda x: x.__setitem__(0, "late")),
    "list, sorted": (lambda: [2, 1], lambda x: x.sort()),
    "list of one length": (lambda: [[1], [2]], lambda x: x[1].__setitem__(0, 777)),
    "dict": (lambda: {"a": "first"}, lambda x: x.update(a="late")),
    "dict, a key": (lambda: {"a": "first"}, lambda x: x.pop("a")),
    "ordered dict": (lambda: OrderedDict(a=1), lambda x: x.update(b=2)),
    "counter": (lambda: Counter("ab"), lambda x: x.update("c")),
    "default dict": (lambda: defaultdict(list, a=[1]), lambda x: x["a"].append(2)),
    "set": (lambda: {1}, lambda x: x.add(2)),
    "deque": (lambda: deque([1], maxlen=2), lambda x: x.extend([2, 3])),
    "bytearray": (lambda: bytearray(b"a"), lambda x: x.extend(b"b")),
    "array": (lambda: np.zeros(3), set_cell),
    "array of two axes": (lambda: np.zeros((2, 2)), lambda x: x.fill(7)),
    "dataclass": (lambda: Note(["first"]), lambda x: x.words.append("late")),
    "dataclass with slots": (lambda: Slotted(["first"]), lambda x: x.words.append("late")),
    "in a tuple": (lambda: (["first"], 1), lambda x: x[0].append("late")),
    "deep down": (lambda: {"a": [{"b": ["first"]}]}, lambda x: x["a"][0]["b"].append("late")),
}


@pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=list(CHANGES))
def test_the_text_then_is_the_text_before(make: Any, change: Any) -> None:
    value = make()
    text = str(value)
    before = seen(value)
    assert before is not None and before.value_then(value) is value, "unchanged: the value itself"
    change(value)
    then = before.value_then(value)
    assert str(then) == text and type(then).__name__ == type(value).__name__
    assert before.after(value) is not None


PLAIN = (1, 1.5, "a", b"a", None, True, (1, ("a", 2)), frozenset({1}), print, len, Note, Quiet(), range(3), node(1))


@pytest.mark.parametrize("value", PLAIN, ids=str)
def test_nothing_is_kept_of_what_never_changes(value: Any) -> None:
    assert seen(value) is None


def test_of_large_values_both_ends_are_kept() -> None:
    long = list(range(10_000))
    before = seen(long)
    assert before is not None and before.value_then(long) is long
    long.append(10_000)
    text = str(before.value_then(long))
    assert text.startswith("[0, 1, 2,") and text.endswith("9998, 9999]") and "…9968 more…" in text and len(text) < 400
    wide = {i: [i] * 100 for i in range(1_000)}
    before = seen(wide)
    wide[0][0] = "late"
    assert before is not None and "late" not in str(before.value_then(wide))
    large = np.zeros(100_000)
    before = seen(large)
    assert before is not None and before.value_then(large) is large
    large += 1
    assert "ndarray(shape=(100000,)" in repr(before.value_then(large))


class Trap:
    def __repr__(self) -> str:
        return "trap"

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no ==")

    __hash__ = None  # type: ignore[assignment]


def test_the_programs_own_methods_are_not_asked() -> None:
    ring: list[Any] = [Trap()]
    ring.append(ring)
    before = seen(ring)
    assert before is not None and before.value_then(ring) is ring
    ring.append("late")
    assert "late" not in str(before.value_then(ring))[:12]


VALUES: Any = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(VALUES, max_size=4), VALUES)
def test_whole_copies_equal_the_value_before(value: list[Any], more: Any) -> None:
    before, was = seen(value), copy.deepcopy(value)
    value.append(more)
    assert before is not None and before.value_then(value) == was


@bundle()
def answer(p: str, chat: Any) -> str:
    """An answer."""
    return f"{p}{len(chat)}"


@bundle()
def extend(p: str, chat: Any) -> Any:
    """The chat with an answer."""
    chat.append("by itself")
    return chat


def question(optimizer: Any, p: Any, *outputs: Any) -> str:
    llm = ScriptedLLM(["{}"] * 40)
    asking = optimizer([p], llm=llm)
    asking.zero_feedback()
    for output in outputs:
        asking.backward(output, "no")
    asking.step()
    return "\n".join(str(message["content"]) for call in llm.calls for message in call["messages"])


@pytest.mark.parametrize("optimizer", [OptoPrime, OptoPrimeV1, TextGrad])
def test_each_call_has_its_own_moment(optimizer: Any) -> None:
    GRAPH.clear()
    p, chat = node("A", name="p", trainable=True), node(["one"], name="chat")
    first = answer(p, chat)
    chat.data.append("two")
    second = answer(p, chat)
    chat.data.append("three")
    said = question(optimizer, p, first, second)
    assert "three" not in said and "['one']" in said
    if optimizer is not TextGrad:  # which shows each value once, as it was at first
        assert "['one', 'two']" in said


def test_a_call_that_changes_its_own_argument_saw_it_unchanged() -> None:
    for make in (lambda: ["one"], lambda: node(["one"], name="chat")):
        GRAPH.clear()
        p = node("A", name="p", trainable=True)
        output = extend(p, make())
        output.data.append("late")
        said = question(OptoPrime, p, output)
        assert "extend0(p0, ['one'])" in said and "['one', 'by itself']" in said and "late" not in said


def test_operators_see_the_moment_too() -> None:
    GRAPH.clear()
    p, chat = node("A", name="p", trainable=True), node(["one"], name="chat")
    chat.data.append("two")
    output = in_(p, chat)
    chat.data.append("late")
    assert "in_0 = in_(x=p0, y=chat0_1)" in (said := question(OptoPrimeV1, p, output))
    assert "(list) chat0_1=['one', 'two']" in said and "late" not in said


def test_watched_nodes_are_nodes_like_others() -> None:
    GRAPH.clear()
    chat = node(["one"], name="chat")
    assert isinstance(chat._children, WatchedChildren) and chat.children == [] and chat.is_leaf
    made = [answer("p", chat) for _ in range(40)]
    assert chat.children == made
    twin = copy.deepcopy(chat)
    assert twin.data == ["one"] and twin.children == []
    assert pickle.loads(pickle.dumps(chat)).data == ["one"]
    del made
    assert chat.children == []
