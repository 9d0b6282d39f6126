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
from opto.optimizers.replies.values import check_code, convert, format_code, same_value


@pytest.mark.parametrize(
    ("value", "current", "expected"),
    [
        ("2", 1, 2),
        (2.7, 1, 2),
        ("2.7", 1, 2),
        ("2", 1.0, 2.0),
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
        (float("inf"), 1),
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


def test_same_value() -> None:
    array = np.zeros(3)
    assert same_value(array, array) and not same_value(array, np.zeros(3))
    assert not same_value(1, 1.0) and same_value("a", "a")


def test_code_is_formatted_where_black_is_and_accepts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("black")
    assert format_code("def f( x ):return x") == "def f(x):\n    return x\n"
    assert format_code("def f( x ): return (") == "def f( x ): return ("
    assert format_code("define f( x )") == "define f( x )"
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
