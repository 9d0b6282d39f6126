"""JSON in replies, strict or mended: a value without an end is marked, and no text raises or takes long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.replies.json_replies import Cut, CutText, json_values, parse_json
from opto.optimizers.replies.shapes import read_reply

PROBLEM = Problem(parts=(Part("x0", 1.0), Part("prompt0", "Say hello"), Part("__code0", "def f(x):\n    return x")))
PIECES = [
    *"{}[]\"'`:,#/\\()-_.1ae \n“”\0\ud800é",
    "//",
    "/*",
    "...",
    '"""',
    "```json\n",
    "```\n",
    '"x0":',
    '"x0": "',
    '",',
]
PIECES += [
    '{"suggestion": {',
    "prompt0: ",
    "<value>",
    "</value>",
    '<part name="x0">',
    "<think>",
    "</think>",
    "true",
    "null",
]
pieces = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), max_size=12)  # json-repair strips blanks
json_values_ = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@given(pieces, pieces, st.integers(0, 400), pieces)
@settings(max_examples=300)
def test_no_text_raises_and_none_is_lost_in_silence(start: str, unit: str, times: int, end: str) -> None:
    text = start + unit * times + end
    found = read_reply(text, PROBLEM)
    assert set(found.values) <= set(PROBLEM.names)
    assert not any(isinstance(value, Cut) for value in found.values.values())
    try:
        parse_json(text)
    except ValueError as error:
        assert str(error)


@given(json_values_, st.integers(0, 10**6), st.sampled_from(["as it is", "single quotes", "trailing commas", "bare"]))
def test_wherever_json_ends_what_is_complete_is_right(value: Any, end: int, damage: str) -> None:
    body = {"a": value, "b": "the end"}
    text = {
        "as it is": json.dumps(body),
        "single quotes": str(body),
        "trailing commas": json.dumps(body)[:-1] + ",}",
        "bare": json.dumps(body).replace('"a"', "a", 1),
    }[damage]
    text = text[: 1 + end % len(text)]
    try:
        found = parse_json(text)
    except ValueError:
        return
    complete = {k: v for k, v in found.items() if not isinstance(v, Cut)} if isinstance(found, dict) else {}
    if damage != "single quotes":  # Python's escapes are not those of JSON
        assert all(v == body[k] for k, v in complete.items() if k in body)
    assert complete.get("b", "the end") == "the end"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ('{"a": 1, "b": "Say hel', "b"),
        ('{"a": 1, "b": [1, 2', "b"),
        ('{"a": 1, "b": {"c": 3', "b"),
        ('{"a": 1, "b": 12', "b"),
        ('{"a": 1, "b":', "b"),
        ("{'a': 1, 'b': -", "b"),
        ("{'a': 1, 'b': 1e", "b"),
        ("{'a': 1, 'b': 1e-", "b"),
        ("{'a': 1, 'b': 1.", "b"),
        ("{'a': 1, 'b': 1,", None),
        ("{'a': 1, 'b': 'Say hel", "b"),
        ("{a: 1, b: Say hel", "b"),
        ('{"a": 1, "b": """Say hel', "b"),
        ('{"a": 1, "b": "Say \\"hel', "b"),
        ('{"a": 1, "b": "x"', None),
        ('{"a": 1, "b": [1]', None),
        ('{"a": 1, "b": 12 ', None),
    ],
)
def test_what_the_text_does_not_end_is_marked(text: str, cut: str | None) -> None:
    found = parse_json(text)
    assert found["a"] == 1 and [key for key, value in found.items() if isinstance(value, Cut)] == ([cut] if cut else [])


def test_each_object_is_given_once() -> None:
    text = 'in {words} {"a": 1} and {"b": {"a": 2},} or {\'a\': [3, {"a": 4}]} {'
    assert list(json_values(text, lambda value: True)) == [{"a": 1}, {"b": {"a": 2}}, {"a": [3, {"a": 4}]}]
    assert list(json_values(text, lambda value: "a" in value)) == [{"a": 1}, {"a": 2}, {"a": [3, {"a": 4}]}]
    assert list(json_values("no braces", lambda value: True)) == []


@pytest.mark.parametrize(
    "unit", ["[", '{"a":', '"', "\\", "[{", '{"x0": "', '"x0": 1 ', "{x0:", "<think>", '{"x0":1}', "'", "{ ", "/*"]
)
def test_a_megabyte_of_one_piece_is_read_at_once(unit: str) -> None:
    """In proportion to the square of the length it would take minutes here."""
    for start in ("", '{"suggestion": {"x0": "', "[{"):
        found = read_reply(CutText(start + unit * (1_000_000 // len(unit))), PROBLEM)
        assert found.fault is not None or "1}" in unit
