"""Values of replies: converted to the type that is there, and refused when that would be guessing."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import ReplyError
from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrime, OptoPrimeV1
from opto.optimizers.formats.small import focus_prompt
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.problem.uses import Focus
from opto.optimizers.replies.values import check_code, convert, format_code, same_value
from opto.trace import node


@pytest.mark.parametrize(
    ("value", "current", "expected"),
    [
        ("2", 1, 2),
        (3.0, 1, 3),
        ("1e3", 1, 1000),
        ("2", 1.0, 2.0),
        ("0,5", 1.0, 0.5),
        (",5", 1.0, 0.5),
        ("0,500", 1.0, 0.5),
        ("12,34", 1.0, 12.34),
        ("-1234,567", 1.0, -1234.567),
        ("1,000", 1.0, 1000.0),
        ("12,345,678", 1, 12345678),
        ("1,234.5", 1.0, 1234.5),
        ("1_000", 1, 1000),
        ("inf", float("inf"), float("inf")),
        (" 1e3 ", 1.0, 1000.0),
        ("[1,2]", [], [1, 2]),
        ((1, 2), [], [1, 2]),
        ([1, 2], (), (1, 2)),
        ('{"a":1}', {}, {"a": 1}),
        ('{"a": true, "b": null}', {}, {"a": True, "b": None}),
        (3, "text", "3"),
        ({"a": "é"}, '{"a": ""}', '{"a": "é"}'),
        ([1], "[]", "[1]"),
        ("False", True, False),
        ("false", True, False),
        ("yes", False, True),
        (0, True, False),
        ("anything", None, "anything"),
        ("a/b", PurePosixPath("."), PurePosixPath("a/b")),
        ("1.50", Decimal(1), Decimal("1.50")),
        ([1, 1, 2], set(), {1, 2}),
    ],
)
def test_convert(value: Any, current: Any, expected: Any) -> None:
    result = convert(value, current)
    assert result == expected and (current is None or type(result) is type(current))


@pytest.mark.parametrize(
    ("value", "current"),
    [
        ("abc", 1),
        ("abc", 1.0),
        (None, 1),
        (None, "text"),
        ({"value": "a new text", "reason": "r"}, "text"),
        (["a", "b"], "text"),
        (["a", "b"], "{}"),
        (None, True),
        ("maybe", True),
        ("abc", []),
        ({"a": 1}, []),
        ("[1", ()),
        ("abc", {}),
        (float("nan"), 1.0),
        ("nan", 1.0),
        ("1.000,5", 1.0),
        ("1,2,3", 1.0),
        ("1,23,456", 1),
        (2.7, 1),
        ("2.7", 1),
        ("3,7", 1),
        (True, 1.0),
        ("true", 1.0),
        (True, 1),
        (float("inf"), 1.0),
        ("-inf", 1.0),
        ("1e999", 1.0),
        (float("inf"), 1),
        (["x"], True),
        (2, True),
        ([1.0, float("inf")], np.zeros(2)),
        (float("inf"), np.float64(1)),
        (["maybe", "true"], np.array([True, False])),
        ([1.7, 2], np.array([1, 2])),
        (["a"], np.zeros(1)),
        ("a", np.float64(1)),
        ("x" * 100, Decimal(1)),
    ],
)
def test_refused(value: Any, current: Any) -> None:
    with pytest.raises(ReplyError):
        convert(value, current)


def test_arrays() -> None:
    result = convert("[1, 2]", np.zeros(2))
    assert result.dtype == float and result.tolist() == [1.0, 2.0]
    assert convert(3, np.array(1.0)).tolist() == 3.0
    assert convert(3, np.float32(1)) == np.float32(3) and isinstance(convert(3, np.float32(1)), np.float32)


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.lists(st.integers()), st.text()))
def test_a_value_written_out_converts_back(value: Any) -> None:
    assert convert(value, value) == value
    if not isinstance(value, str):
        assert convert(repr(value).replace("inf", "1e999"), value) == value


def test_a_fraction_for_a_whole_number_is_dropped_where_the_classic_formats_say_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert (convert(2.7, 1, rounds=True), convert("2.7", 1, rounds=True)) == (2, 2)
    assert convert([1.7, 2], np.array([1, 2]), rounds=True).tolist() == [1, 2]
    assert "2.7 is read as the whole number 2" in caplog.text
    x = node(1, name="x", trainable=True)
    assert OptoPrimeV1([x], llm=ScriptedLLM([])).construct_update_dict({x.py_name: 2.7}) == {x: 2}
    refused = OptoPrime([x], llm=ScriptedLLM([])).construct_update_dict({x.py_name: 2.7})
    assert not refused and "a whole number is expected, not 2.7" in refused.refused[x.py_name]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("0,5", 0.5), ("1,000", 1000.0), ("0.25, because", 0.25), ("about 3", 3.0), ("2.", 2.0)],
)
def test_the_number_in_a_line_of_a_small_model(reply: str, expected: float) -> None:
    problem = Problem(parts=(Part("x0", 1.0),), feedback="no")
    prompt = focus_prompt(problem, 1_000, 0, focus=Focus("x0"), prefill=True)
    found = prompt.read(f"{reply}\n", problem)
    assert convert(found.values["x0"], 1.0) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('"Say yes."', "Say yes."),
        ("**'Say yes.'**", "Say yes."),
        ('"yes" or "no"', '"yes" or "no"'),
        ("'It's fine.'", "It's fine."),
    ],
)
def test_the_text_in_a_line_of_a_small_model(reply: str, expected: str) -> None:
    problem = Problem(parts=(Part("p0", "Say"),), feedback="no")
    prompt = focus_prompt(problem, 1_000, 0, focus=Focus("p0"), prefill=True)
    assert prompt.read(f"{reply}\n", problem).values == {"p0": expected}


def test_only_code_is_formatted_as_code() -> None:
    pytest.importorskip("black")
    text = node("Say hello", name="text", trainable=True)
    named = node("Say hello", name="my__code_style", trainable=True)
    example = "def f( x ): return x"
    update = OptoPrime([text, named], llm=ScriptedLLM([])).construct_update_dict(
        {text.py_name: example, named.py_name: f"```\n{example}\n```"}
    )
    assert dict(update) == {text: example, named: f"```\n{example}\n```"}


def test_same_value() -> None:
    array = np.zeros(3)
    assert same_value(array, array) and not same_value(array, np.zeros(3))
    assert not same_value(1, 1.0) and same_value("a", "a")


def test_code_is_formatted_where_black_is_and_accepts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("black")
    assert format_code("def f( x ):return x") == "def f(x):\n    return x\n"
    assert format_code("def f( x ): return (") == "def f( x ): return ("
    monkeypatch.setitem(sys.modules, "black", None)
    assert format_code("def f( x ):return x") == "def f( x ):return x"


OLD = "def f(x, y=2, *args, z, **kw):\n    return x"


@pytest.mark.parametrize(
    "new",
    [
        "import math\ndef helper(): pass\ndef f(x, y=3, *args, z, **kw):\n    return helper()",
        "def f(x: int, y: int = 2, *args: int, z: int, **kw: int) -> int:\n    return 1",
        "def f(x): pass\ndef f(x, y=2, *args, z, **kw): return 2",
    ],
)
def test_good_code(new: str) -> None:
    check_code(new, OLD)


@pytest.mark.parametrize(
    ("new", "word"),
    [
        ("def f(x, y=2, *args, z, **kw:\n  pass", "not valid Python"),
        ("def g(x, y=2, *args, z, **kw): pass", "it defines g"),
        ("x = 1", "it defines no function"),
        ("class A:\n    def f(x, y=2, *args, z, **kw): pass", "at top level"),
        ("def f(x): pass", "the signature must stay"),
        ("def f(y, x=2, *args, z, **kw): pass", "def f(x, y=2, *args, z, **kw)"),
        ("async def f(x, y=2, *args, z, **kw): pass", "plain 'def'"),
        ("def f(x, y=2, *args, z=1, **kw): pass", "the signature"),
        ("def f():\n\x00", "not valid Python"),
        ("(" * 5000 + ")" * 5000, "not valid Python"),
    ],
)
def test_bad_code(new: str, word: str) -> None:
    with pytest.raises(ReplyError, match="(?s)" + word.replace("*", r"\*").replace("(", r"\(").replace(")", r"\)")):
        check_code(new, OLD)


def test_broken_present_code_is_judged_by_its_description() -> None:
    description = "The code should start with:\ndef f(x):"
    check_code("def f(x): return 1", "def f(x) return", description)
    with pytest.raises(ReplyError, match="signature"):
        check_code("def f(y): return 1", "def f(x) return", description)
    check_code("def f(y): return 1", "def f(x) return")  # nothing to judge by but the name
    check_code("y = 2", "not code at all")


def test_async_code_stays_async() -> None:
    check_code("async def f(): return 1", "async def f(): return 2")
    with pytest.raises(ReplyError, match="async def"):
        check_code("def f(): return 1", "async def f(): return 2")


@given(st.text(max_size=80))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    try:
        check_code(text, "def f(x): return x")
    except ReplyError as error:
        assert str(error)
