"""Replay: what the output would have been with other values; nothing is paid, recorded or changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import ExecutionError
from opto.trace import GRAPH, bundle, model, node, operators
from opto.trace.replay import CannotReplay, Recorded, replay

NUMBER = st.integers(-5, 5)


@given(NUMBER, NUMBER, NUMBER)
def test_a_replay_is_the_program_run_with_the_other_value(a: int, b: int, other: int) -> None:
    def program(x: Any, y: Any) -> Any:
        parts = (x + y) * x - abs(y)
        return (parts > 0) & (x < y) | (parts == 3), parts * 2

    x, y = node(a), node(b)
    for made, wanted in zip(program(x, y), program(other, b), strict=True):
        assert replay(made, {x: other}) == wanted
    assert (x.data, y.data) == (a, b)


def test_operators_of_all_shapes_are_run_again() -> None:
    text = node("a-b-c")
    cases = [
        (text.split("-", 1)[0], {text: "x-y"}, "x"),
        (text.replace("-", "+").upper(), {text: "q-r"}, "Q+R"),
        ((text + "!").format(), {text: "z"}, "z!"),
    ]
    for made, changed, wanted in cases:
        assert replay(made, changed) == wanted


def test_only_what_depends_on_the_change_is_run_again_and_only_what_may_be() -> None:
    ran: list[str] = []

    @bundle()
    def paid(x: int) -> int:
        ran.append("paid")
        return x + 1

    @bundle()
    def free(x: int, *rest: int, scale: int = 1, **more: int) -> int:
        ran.append("free")
        return (x + sum(rest)) * scale + sum(more.values())

    x, y = node(1), node(10)
    left = paid(x)
    out = free(left, y, scale=3, extra=7)
    ran.clear()
    assert replay(out, {y: 20}, free=[free]) == (2 + 20) * 3 + 7 and ran == ["free"]
    assert replay(out, {left: 0}, free=[free]) == 37 and replay(out, {out: 5}) == 5
    with pytest.raises(CannotReplay, match="paid"):
        replay(out, {x: 4}, free=[free])
    with pytest.raises(CannotReplay, match="free"):
        replay(out, {y: 20})
    assert ran == ["free", "free"]


def test_code_and_methods_are_run_again_with_other_code() -> None:
    @model
    class Agent:
        def __init__(self) -> None:
            self.factor = 3

        @bundle(trainable=True)
        def scaled(self, x: int) -> int:
            return x * self.factor

    agent: Any = Agent()
    x = node(2)
    out = agent.scaled(x) + 1
    code = agent.scaled.parameter
    before = code.data
    assert replay(out, {x: 5}, free=[agent.scaled]) == 16
    assert replay(out, {code: before.replace("*", "-")}, free=[agent.scaled]) == 0
    assert code.data == before and out.data == 7


def test_a_replay_leaves_no_trace_and_no_changed_values() -> None:
    items = node([1, 2, 3])
    out = items.pop(0) + 1
    kept, count = list(items.data), len(items.children)
    assert replay(out, {items: [9, 8]}) == 10
    assert replay(out, {items: kept}) == kept[0] + 1
    assert items.data == kept and len(items.children) == count
    assert (node(1) + 1).parents, "tracing goes on"
    assert GRAPH.TRACE


def test_operators_with_any_arguments_are_run_again() -> None:
    x = node("b")
    assert replay(node("{} {x} {args_0}").format(x, x=1, args_0=x), {x: "c"}) == "c 1 c"
    assert replay(operators.make_dict(args_0=x, kwargs=2), {x: "c"}) == {"args_0": "c", "kwargs": 2}
    assert replay(node("abc").split(x), {x: "a"}) == ["", "bc"]
    y = node(np.array([1.0, 2.0]))
    assert replay(np.sum(y, axis=0), {y: np.array([4.0, 5.0])}) == 9
    assert replay(node([1, 2, 3])[node(1) :], {}) == [2, 3]
    assert replay(node("abc")[: x.len()], {x: "cc"}) == "ab"


def test_defaults_that_no_call_can_name_are_given_again() -> None:
    @bundle()
    def act(x: int, y: int = 2, /, *rest: int, k: int = 3) -> int:
        return 100 * x + 10 * y + sum(rest) + k

    x = node(1)
    calls = [act(x), act(x, 5), act(x, 5, 6, k=1), act(x, k=x)]
    assert [replay(call, {x: 4}, [act]) for call in calls] == [423, 453, 457, 424]


def test_errors_are_those_of_the_call() -> None:
    x = node(4)
    out = 8 / x
    with pytest.raises(ZeroDivisionError):
        replay(out, {x: 0})

    @bundle()
    def picky(x: int) -> int:
        if x < 0:
            raise ValueError("negative")
        return x

    with pytest.raises(ExecutionError, match="negative"):
        replay(picky(x), {x: -1}, free=[picky])


def test_what_a_call_gave_in_another_run_it_gives_again() -> None:
    asked: list[str] = []

    @bundle()
    def pays(text: str, times: int = 1) -> str:
        asked.append(text)
        return text.upper() * times

    first, second = pays(node("a") + "b"), pays(node("c") + "d")
    words = node("a")
    out = pays(words + "b") + "!"
    calls = len(asked)
    recorded = Recorded([first, second])
    assert replay(out, {words: "a"}, recorded=recorded) == "AB!"
    with pytest.raises(CannotReplay, match="pays"):
        replay(out, {words: "c"}, recorded=recorded)
    assert replay(out, {words + "": "x"}, recorded=recorded) == "AB!", "a node that leads nowhere changes nothing"
    known = pays(node("cb"))
    assert replay(out, {words: "c"}, recorded=Recorded([known])) == "CB!"
    with pytest.raises(CannotReplay):
        replay(out, {words: "c"}, recorded=Recorded([pays(node("cb"), 2)]))
    assert len(asked) == calls + 2, "only the calls of this test"


def test_a_call_that_failed_elsewhere_is_no_record() -> None:
    @bundle()
    def picky(x: int) -> float:
        return 1 / x

    with pytest.raises(ExecutionError) as failed:
        picky(node(0))
    x = node(1)
    with pytest.raises(CannotReplay):
        replay(picky(x + 0) + 1, {x: 0}, recorded=Recorded([failed.value.exception_node]))
