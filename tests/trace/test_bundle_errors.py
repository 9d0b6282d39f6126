"""Errors of bundled functions: the node, its texts, what is wrapped and what is not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from opto.trace import GRAPH, ExecutionError, bundle, node, stop_tracing
from opto.trace.bundle import TraceMissingInputsError
from opto.trace.bundle.source import broken_code, error_message


class Silent(Exception):
    pass


class Unwilling(Exception):
    """Its text reads a node."""

    def __init__(self, foreign: Any) -> None:
        self.foreign = foreign

    def __str__(self) -> str:
        return str(self.foreign.data)


@bundle()
def err(x):
    y = 1
    z = x / 0
    return z, y


@bundle()
def calls(x):
    return err(x)


@bundle()
def recurse(x):
    def deeper(n):
        return deeper(n + 1)

    return deeper(x)


@bundle()
def gives_back(x):
    return ValueError("bad", x)


def failed(fun: Any, *args: Any) -> Any:
    with pytest.raises(ExecutionError) as caught:
        fun(*args)
    return caught.value.exception_node


def test_vector() -> None:
    GRAPH.clear()
    made = failed(err, 3)
    assert (made.name, made.data) == ("exception_err:0", "(ZeroDivisionError) division by zero")
    assert [p.name for p in made.parents] == ["x:0"]
    assert made.info["error_comment"] == (
        "def err(x):\n    y = 1\n    z = x / 0 <--- (ZeroDivisionError) division by zero.\n    return z, y\n"
        "(ZeroDivisionError) division by zero."
    )
    assert made.create_feedback("full") == made.info["error_comment"]
    assert made.info["inputs"] == {"args": [3], "kwargs": {}} and made.info["output"] is None


def test_traceback_begins_with_the_body() -> None:
    lines = failed(err, 3).info["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith("in err") and "z = x / 0" in lines[2]
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert not any("bundle/function" in line for line in lines)


def test_inner_errors_surface_as_the_outer_one() -> None:
    made = failed(calls, 0)
    assert made.name.startswith("exception_calls") and made.data == "(ZeroDivisionError) division by zero"
    outer, inner = made.info["error_comment"].split("\n\n")
    assert "return err(x) <--- the error is raised below" in outer
    assert "z = x / 0 <--- (ZeroDivisionError)" in inner
    assert "in calls" in made.info["traceback"] and "in err" in made.info["traceback"]


def test_errors_made_by_hand_keep_their_text() -> None:
    original = failed(err, 1)

    @bundle()
    def by_hand(x):
        raise ExecutionError(original)

    assert failed(by_hand, 1).data == original.data


def test_endless_recursion_stays_short() -> None:
    made = failed(recurse, 0)
    assert made.data.startswith("(RecursionError)")
    assert made.info["error_comment"].count("<---") == 2
    assert len(made.info["traceback"]) < 2000


def test_returned_exceptions() -> None:
    made = failed(gives_back, 2)
    assert made.data == "(ValueError) ('bad', 2)"
    assert made.info["error_comment"].splitlines()[-1] == "(ValueError) bad."
    assert made.info["error_comment"].startswith("def gives_back(x):")
    assert made.info["traceback"] == "ValueError: ('bad', 2)\n"
    with pytest.raises(ValueError, match="bad"):
        bundle(catch_execution_error=False)(lambda x: ValueError("bad"))(1)


def test_messages() -> None:
    assert error_message(Silent()) == "(Silent)."
    assert error_message(ValueError("bad", 2)) == "(ValueError) bad."
    assert error_message(KeyError("k")) == "(KeyError) k."


def test_texts_of_errors_may_read_nodes() -> None:
    foreign = node("elsewhere")

    @bundle()
    def inner(x):
        raise Unwilling(foreign)

    @bundle()
    def outer(x):
        return inner(x)

    assert failed(outer, 1).data.endswith("elsewhere")


def test_missing_inputs_pass_through_outer_calls() -> None:
    foreign = node(1, name="foreign")

    @bundle()
    def inner(x):
        return foreign.data

    @bundle()
    def outer(x):
        return inner(x)

    with pytest.raises(TraceMissingInputsError, match=r"inner reads .* \(name: foreign:\d+, data: 1\)"):
        outer(1)


def test_two_frames_in_one_text_share_a_block() -> None:
    @bundle(trainable=True)
    def act(x):
        return x

    act.parameter._data = "def act(x):\n    return below(x)\n\ndef below(y):\n    return y.nothing\n"
    made = failed(act, 1)
    comment = made.info["error_comment"]
    assert comment.count("def act") == 1
    assert "return below(x) <--- the error is raised below" in comment
    assert "return y.nothing <--- (AttributeError)" in comment
    assert "    return y.nothing\n" in made.info["traceback"]


def test_lines_beyond_the_text_mark_the_last() -> None:
    error = SyntaxError("cut off", ("<string>", 99, 1, ""))
    comment, trace = broken_code(error, "a\nb")
    assert comment == "a\nb <--- (SyntaxError) cut off.\n(SyntaxError) cut off."
    assert trace.startswith("The definition of the trainable code failed:\n")


def test_a_syntax_error_inside_a_body_is_an_ordinary_error() -> None:
    @bundle()
    def reads(x):
        return eval(x)

    made = failed(reads, "1 +")
    assert made.data.startswith("(SyntaxError)") and "return eval(x) <---" in made.info["error_comment"]


def test_without_tracing_errors_have_no_inputs() -> None:
    with stop_tracing():
        made = failed(err, 1)
    assert made.parents == [] and made.data == "(ZeroDivisionError) division by zero"
    assert made.info["error_comment"].startswith("def err(x):")


def test_errors_pickle() -> None:
    with pytest.raises(ExecutionError) as caught:
        err(node(2))
    twin = pickle.loads(pickle.dumps(caught.value))
    assert twin.exception_node.data == "(ZeroDivisionError) division by zero"
    assert "division by zero" in str(twin)


def test_copied_errors_keep_their_texts() -> None:
    with pytest.raises(ExecutionError) as caught:
        err(node(2))
    twin = copy.deepcopy(caught.value)
    assert str(twin) == str(caught.value) and "Traceback" in str(twin)
    original = caught.value.exception_node
    assert original.detach().create_feedback("full") == original.create_feedback("full") != original.data


def test_interrupts_pass() -> None:
    @bundle()
    def stop(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop(1)


def test_code_that_runs_code_is_marked_where_it_does() -> None:
    @bundle(trainable=True)
    def act(x):
        return x

    act.parameter._data = "def act(x):\n    a = 1\n    exec('1 / 0')\n    return a\n"
    made = failed(act, 1)
    assert "    exec('1 / 0') <--- (ZeroDivisionError)" in made.info["error_comment"]
    assert 'File "<trainable code>", line 3, in act' in made.info["traceback"]


def test_errors_that_cannot_be_printed() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @bundle()
    def mute(x):
        raise Mute

    made = failed(mute, 1)
    assert "Mute) Mute()" in made.data
    assert "Mute()" in made.info["error_comment"]
