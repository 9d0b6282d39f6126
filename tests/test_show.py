"""Any value is shown at bounded length and cost, whatever its own text does."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.show import cut_start, show, text_of
from opto.trace import node
from opto.trace.nodes import Node
from opto.trace.propagators.readable import readable


def of_repr(action: Any) -> Any:
    """An object whose texts are what `action` makes of it."""
    return type("Odd", (), {"__repr__": action, "__str__": action})()


def raising(error: BaseException) -> Any:
    def action(self: Any) -> str:
        raise error

    return of_repr(action)


class EvilText(str):
    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, key: Any) -> str:
        raise SystemExit


class list_of_mine:
    pass


list_of_mine.__name__ = "list"  # shown as what it is, not as what it is called

ODD: dict[str, tuple[Any, str]] = {
    "raises": (raising(RuntimeError()), "<Odd>"),
    "exits": (raising(SystemExit()), "<Odd>"),
    "is cancelled": (raising(asyncio.CancelledError()), "<Odd>"),
    "closes": (raising(GeneratorExit()), "<Odd>"),
    "runs out of memory": (raising(MemoryError()), "<Odd>"),
    "calls itself": (of_repr(lambda self: f"<{self!r}>"), "<Odd>"),
    "gives a number": (of_repr(lambda self: 5), "<Odd>"),
    "gives a text that is none": (of_repr(lambda self: EvilText("abc")), "abc"),
    "is such a text": (EvilText("abc"), "'abc'"),
    "in a list": ([raising(SystemExit())], "[<Odd>]"),
    "in a dict": ({"a": raising(RuntimeError())}, "{'a': <Odd>}"),
    "as a key": ({raising(RuntimeError()): 1}, "{<Odd>: 1}"),
    "in a set": ({raising(RuntimeError())}, "{<Odd>}"),
    "in a tuple": ((raising(RuntimeError()),), "(<Odd>,)"),
    "in a deque": (deque([raising(RuntimeError())]), "deque([<Odd>])"),
    "in an error": (ValueError(raising(RuntimeError())), "ValueError(<Odd>)"),
    "in an array": (np.array([raising(RuntimeError())], dtype=object), "<ndarray>"),
    "array of a damaged type": (np.zeros(2, "m8[0s]"), "<ndarray>"),
    "huge": (10**5000, "<int of about 5001 digits>"),
    "huge and negative": (-(10**5000), "<int of about 5001 digits>"),
    "huge in a dict": ({10**5000: [10**5000]}, "{<int of about 5001 digits>: [<int of about 5001 digits>]}"),
    "a class called list": (list_of_mine(), "list_of_mine"),
    "an address": (object(), "<object>"),
    "a number of numpy": (np.float64(0.25), "0.25"),
    "numbers of numpy": ([np.int64(3), np.float32(0.5)], "[3, 0.5]"),
    "empty ones": ([[], (), {}, set(), frozenset(), deque(), Counter()],
                   "[[], (), {}, set(), frozenset(), deque([]), Counter()]"),
    "kinds of dicts": ([Counter(a=1), OrderedDict(a=1), defaultdict(int, a=1)],
                       "[Counter({'a': 1}), OrderedDict({'a': 1}), defaultdict({'a': 1})]"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "text"), ODD.values(), ids=list(ODD))
def test_what_cannot_be_printed_is_named(value: Any, text: str) -> None:
    assert text in show(value, 400)
    assert isinstance(text_of(value), str)


def test_an_interrupt_of_the_user_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        show(raising(KeyboardInterrupt()), 40)


def wide(depth: int, width: int) -> Any:
    found: Any = 0
    for _ in range(depth):
        found = [found] * width
    return found


def deep(depth: int) -> Any:
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


def circle() -> Any:
    ring: Any = []
    ring.append({"a": (ring,)})
    return ring


HUGE = {
    "long": lambda: list(range(10**6)),
    "wide at each depth": lambda: wide(6, 300),
    "deep": lambda: deep(3_000),
    "circle": circle,
    "set": lambda: set(range(10**5)),
    "long texts": lambda: ["x" * 10**6] * 50,
    "big dict": lambda: {i: "x" * 1_000 for i in range(10**4)},
}


@pytest.mark.parametrize("make", HUGE.values(), ids=list(HUGE))
def test_the_cost_does_not_grow_with_the_value(make: Any) -> None:
    value = make()
    began = time.perf_counter()
    for limit in (20, 400, 2_000):
        assert len(show(value, limit)) <= limit + 20
    assert time.perf_counter() - began < 2


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_short_values_are_shown_as_python_writes_them(value: Any) -> None:
    if len(repr(value)) < 100 and repr(value).count("[") + repr(value).count("{") < 4:
        assert show(value, 1_000) == repr(value)
        assert text_of(value) == str(value)


def test_texts_that_no_server_takes_are_mended() -> None:
    assert text_of("a\ud800b") == "a\ufffdb" and show(of_repr(lambda self: "\ud800"), 40) == "\ufffd"


def test_nodes_errors_and_pictures_show_a_placeholder() -> None:
    made = node(raising(SystemExit()))
    assert str(made).endswith("data=<Odd>)") and "Odd" in repr(made)
    assert cut_start("abcdef", 3) == "abc..."


def test_feedback_is_readable_in_every_structure() -> None:
    from dataclasses import dataclass
    from typing import NamedTuple

    class Judgement(NamedTuple):
        score: Any
        why: Any

    @dataclass
    class Report:
        score: Any
        why: str = "long"

    assert readable(Judgement(node(0.5), KeyError("name"))) == Judgement(0.5, "KeyError: 'name'")
    assert readable(Report(node(0.5))) == "Report(score=0.5, why='long')"
    assert readable({node("key"): {"score": np.float64(0.25)}}) == {"key": {"score": 0.25}}
    assert str(readable([np.int64(3), {node(1), node(2)}])) == "[3, {1, 2}]"
    assert readable(deque([node(1)], maxlen=2)) == deque([1])
    assert readable(ValueError(raising(RuntimeError()))) == "ValueError: ValueError(<Odd>)"
    assert readable(10**5000) == "<int of about 5001 digits>"
    assert isinstance(readable(Node(raising(SystemExit()))), str)
