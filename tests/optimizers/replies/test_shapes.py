"""Replies: what the existing library reads, the ladder, and the law that what we write we can read."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.optimizers.formats.classic import classic_text
from opto.optimizers.formats.tags import (
    OptimizerPromptSymbolSet,
    OptimizerPromptSymbolSet2,
    OptimizerPromptSymbolSetJSON,
)
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.replies.json_replies import CutText, parse_json, read_json_reply
from opto.optimizers.replies.shapes import Suggestion, clean_name, read_reply
from opto.optimizers.replies.tags_and_fences import extract_xml_like_data, read_fence

CODE = "def greet(lang, name):\n    return f'Hola, {name}!'"
PROBLEM = Problem(
    parts=(
        Part("x0", 1.0),
        Part("prompt0", "Say hello"),
        Part("__code0", CODE, "The code should start with:\ndef greet(lang, name):", is_code=True),
    )
)
VALUES = {"x0": "2.5", "prompt0": 'Say "hola",\nwarmly.', "__code0": 'def greet(lang, name):\n    return "a\\n" + name'}


def first_format(text: str) -> dict[str, Any]:
    return read_json_reply(text, "suggestion", "reasoning")[1]


GOOD = '{"reasoning":"r","answer":"a","suggestion":{"x0":3}}'


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (GOOD, {"x0": 3}),
        (f"Sure! {GOOD} Done.", {"x0": 3}),
        (f"```\n{GOOD}\n```", {"x0": 3}),
        (f"```json\n{GOOD}\n```", {"x0": 3}),
        (f'```json\n{GOOD}\n```\nor\n```json\n{{"suggestion": {{"x0": 9}}}}\n```', {"x0": 3}),
        ('{" suggestion ": {" x0 ":3}}', {" x0 ": 3}),
        ('{"suggestion": {"x0": "a\nb"}}', {"x0": "a\nb"}),
        ('{"suggestion": {"x0": "3",}}', {"x0": "3"}),
        ('{"x0":2}', {"x0": 2}),
        ('{"suggestion": "not a dict","param1":5}', {"suggestion": "not a dict", "param1": 5}),
        ("[1,2]", {}),
        ("3", {}),
        ("prose", {}),
        ("", {}),
        ('{"suggestion": {"x0": 3}', {}),
        ("{'suggestion': {'x0': 3}}", {}),
        ('{"suggestion":{"__code0":"  ","x0":""}}', {"x0": ""}),
    ],
)
def test_first_format_vectors(reply: str, expected: dict[str, Any]) -> None:
    assert first_format(reply) == expected


@pytest.mark.parametrize(
    ("reply", "reasoning", "variables"),
    [
        ("<variable><name>x</name><value>1</value></variable><reasoning>r</reasoning>", "r", {}),
        ("no tags", "", {}),
        ("<variable><name>x</name><value>1</value></variable>", "", {"x": "1"}),
        ("<reasoning> r  <variable><name>x</name><value>1</value></variable>", None, {}),
        ("<reasoning>r</reasoning><variable><name>x</name></variable>", "r", {}),
        ("<reasoning>r</reasoning><variable><name> </name><value>1</value></variable>", "r", {}),
        ("<reasoning>r</reasoning><variable><name>x</name><value></value></variable>", "r", {"x": ""}),
        (
            "<variable><name>x</name><value>1</value></variable> <variable><name>x</name><value>2</value></variable>",
            "",
            {"x": "2"},
        ),
        (
            "<variable><name>x</name><value>a <value>b</value> <variable><name>y</name></variable></value></variable>",
            "",
            {"x": "a <value>b</value> <variable><name>y</name></variable>"},
        ),
        ("<reasoning>a <reasoning>b</reasoning> c</reasoning>rest", "a <reasoning>b</reasoning> c", {}),
        ("<reasoning>the <reasoning> tag</reasoning>", "the <reasoning> tag", {}),
    ],
)
def test_second_format(reply: str, reasoning: str | None, variables: dict[str, str]) -> None:
    found = extract_xml_like_data(reply)
    assert found["variables"] == variables
    assert found["reasoning"] == (reply.removeprefix("<reasoning>") if reasoning is None else reasoning)


SHAPES = {
    "classic": classic_text(Suggestion(VALUES, "because")),
    "fenced json": f"Here:\n```json\n{classic_text(Suggestion(VALUES))}\n```\nGood luck.",
    "json in prose": f"I think {json.dumps({'suggestion': VALUES})} is right.",
    "tags": OptimizerPromptSymbolSet().example_output("because", VALUES),
    "json symbols": OptimizerPromptSymbolSetJSON().example_output("because", VALUES),
    "schema": json.dumps({"reasoning": "b", "changes": [{"name": k, "value": v} for k, v in VALUES.items()]}),
    "bare object": json.dumps(VALUES),
    "values in objects": json.dumps({k: {"value": v} for k, v in VALUES.items()}),
    "list": json.dumps([{"part": k, "code": v} for k, v in VALUES.items()]),
    "named tags": "".join(f'<variable name="{k}" type="x">\n{v}\n</variable>\n' for k, v in VALUES.items()),
    "value tags": "".join(f'<part name="{k}"><value>{v}</value></part>' for k, v in VALUES.items()),
    "own tags": "".join(f"<{k}>{v}</{k}>" for k, v in VALUES.items()),
    "unclosed": json.dumps({"suggestion": VALUES})[:-2],
    "trailing comma": json.dumps({"suggestion": VALUES})[:-2] + ",},}",
    "thinking": "<think>{x0: 7}</think>" + json.dumps(VALUES),
    "colon names": json.dumps({"suggestion": {"x:0": VALUES["x0"], "`prompt0`": VALUES["prompt0"], **VALUES}}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_ladder_reads_every_shape(shape: str) -> None:
    found = read_reply(SHAPES[shape], PROBLEM)
    assert {k: v.strip() if isinstance(v, str) else v for k, v in found.values.items()} == VALUES


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"suggestion": {"prompt0": "one\ntwo"}}', {"prompt0": "one\ntwo"}),
        ("{'suggestion': {'x0': 2, 'prompt0': 'it is'}}", {"x0": 2, "prompt0": "it is"}),
        ('{"suggestion": {"x0": None}}', {"x0": None}),
        ('{"suggestion": {x0: 2 /* now */}}', None),
        ('{"suggestion": {x0: 2 // now\n}}', {"x0": 2}),
        ('{"suggestion": {"prompt0": "say "hola" now"}}', {"prompt0": 'say "hola" now'}),
        ('{"suggestion": {"prompt0": """a\n"b" c"""}}', {"prompt0": 'a\n"b" c'}),
        (f"```python\n{CODE}\n```", {"__code0": CODE}),
        (f"Part __code0:\n```python\n{CODE}\n```\nand prompt0:\n```\nHi\n```", {"__code0": CODE, "prompt0": "Hi"}),
        ("x0 = 3", {"x0": "3"}),
        ("**prompt0**: Greet in Spanish.", {"prompt0": "Greet in Spanish."}),
        ('- `prompt0`: "Greet."', {"prompt0": "Greet."}),
        ("prompt0: `Greet.`", {"prompt0": "Greet."}),
        ("prompt0: 'it\\'s'", {"prompt0": "it's"}),
        ("prompt0: 'a'b'", {"prompt0": "a'b"}),
        ("prompt0: 'it's John's'", {"prompt0": "it's John's"}),
        ('prompt0: "say "hola" now"', {"prompt0": 'say "hola" now'}),
        ('prompt0: "yes" or "no"', {"prompt0": '"yes" or "no"'}),
        ('prompt0: "yes", "no" or "maybe"', {"prompt0": '"yes", "no" or "maybe"'}),
        ('prompt0: "yes" "no"', {"prompt0": '"yes" "no"'}),
        ("prompt0: 'yes'/'no'", {"prompt0": "'yes'/'no'"}),
        ('{"suggestion": {}}', {}),
        ("[]", {}),
    ],
)
def test_the_ladder_mends(reply: str, expected: dict[str, Any] | None) -> None:
    found = read_reply(reply, PROBLEM)
    if expected is not None:
        assert dict(found.values) == expected
    if expected == {} and reply.startswith("{"):
        assert found.fault is None  # an honest "nothing to change" is no fault


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("", "empty"),
        ("<think>hm</think>", "empty"),
        ("I cannot help.", "names none of the parts x0, prompt0"),
        ('{"suggestion": {"y9": 1}}', "no part named y9"),
        ("<variable><name>z</name><value>1</value></variable>", "no part named z"),
        ('{"suggestion": {"x0" 3}}', "Expecting ':' delimiter: line 1"),
        ('{"suggestion": [1: 2]}', "holds no names with values"),
        ('{"suggestion": {"__code0": "  "}}', "names none"),
    ],
)
def test_a_fault_says_what_is_wrong(reply: str, word: str) -> None:
    found = read_reply(reply, PROBLEM)
    assert not found.values
    if word == "names none" and found.fault is None:
        return
    assert word in (found.fault or "")


def test_a_known_and_an_unknown_name() -> None:
    found = read_reply('{"suggestion": {"x0": 1, "y0": 2}}', PROBLEM)
    assert dict(found.values) == {"x0": 1} and "y0" in (found.fault or "")


def test_a_lone_fence_for_a_lone_text() -> None:
    lone = Problem(parts=(Part("prompt0", "a"),))
    assert dict(read_reply("Better:\n```\nSay hola.\n```", lone).values) == {"prompt0": "Say hola."}


def test_two_parts_that_define_the_same_name_need_a_heading() -> None:
    twins = Problem(parts=(Part("__code0", CODE, is_code=True), Part("__code1", CODE, is_code=True)))
    assert not read_reply(f"```python\n{CODE}\n```", twins).values
    assert dict(read_reply(f"__code1:\n```python\n{CODE}\n```", twins).values) == {"__code1": CODE}


def test_read_fence() -> None:
    assert read_fence("def f():\n    return 2\n```", "def f():\n") == "def f():\n    return 2"
    assert read_fence("```python\ndef f():\n    return 3\n```", "def f():\n") == "def f():\n    return 3"
    assert read_fence("def f():\n    return 4") == "def f():\n    return 4"


SHOWN = 'def f(x):\n    """Shows\n\n```python\nf(1)\n```\n    and returns.\n    """\n    return x + 1'


@pytest.mark.parametrize("mark", ["```", "````", "~~~"])
def test_a_fence_inside_a_docstring_does_not_end_the_code(mark: str) -> None:
    problem = Problem(parts=(Part("__code0", "def f(x):\n    return x", is_code=True),))
    reply = f"Here:\n{mark}python\n{SHOWN}\n{mark}\nIt adds one:\n```\nf(1)\n```\n"
    assert dict(read_reply(reply, problem).values) == {"__code0": SHOWN}
    begun, rest = SHOWN.split("\n", 1)
    assert read_fence(f"{rest}\n```\nDone.", f"{begun}\n") == SHOWN


@pytest.mark.parametrize(
    "value",
    [
        "Put </value> at the end.",
        "Put <value> first.",
        "Put <value> first and </value> last.",
        "Close with </value>, then </value> again.",
        "Say </variable> and go on.",
        "Use <name>x</name>.",
    ],
)
def test_a_value_may_speak_of_the_tags_around_it(value: str) -> None:
    other = "<variable><name>x0</name><value>2</value></variable>"
    reply = f"<variable><name>prompt0</name><value>{value}</value></variable>"
    assert extract_xml_like_data(reply + other)["variables"] == {"prompt0": value, "x0": "2"}
    assert dict(read_reply(other + reply, PROBLEM).values) == {"prompt0": value, "x0": "2"}


def test_clean_name() -> None:
    assert clean_name("int:0") == "int0"
    assert clean_name('"a:b"') == "a:b"


names = st.sampled_from(["x0", "prompt0", "__code0"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.dictionaries(names, texts.filter(str.strip), min_size=1), texts)
def test_parse_of_render_is_identity_json(values: dict[str, str], reasoning: str) -> None:
    found = read_reply(classic_text(Suggestion(values, reasoning)), PROBLEM)
    assert dict(found.values) == values and found.reasoning == reasoning


tag_texts = st.text(string.ascii_letters + string.digits + " \n\"'{}[]:,.\\`#", min_size=1, max_size=60).map(str.strip)


@given(st.dictionaries(names, tag_texts.filter(bool), min_size=1), tag_texts, st.booleans())
def test_parse_of_render_is_identity_tags(values: dict[str, str], reasoning: str, short: bool) -> None:
    symbols = OptimizerPromptSymbolSet2() if short else OptimizerPromptSymbolSet()
    found = symbols.output_response_extractor(symbols.example_output(reasoning, values))
    assert found == {"reasoning": reasoning, "variables": values}
    if not short:
        assert dict(read_reply(symbols.example_output(reasoning, values), PROBLEM).values) == values


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A valid reply, cut, nested, escaped, wrapped and mixed with prose."""
    text = draw(st.sampled_from(sorted(SHAPES.values())))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        to = draw(st.integers(at, min(len(text), at + 30)))
        junk = draw(
            st.sampled_from(['"', "'", "{", "}", "[", "]", "```", "\n", "\\", ":", ",", "</value>", "<", "u\\u12"])
        )
        text = draw(
            st.sampled_from(
                [
                    text[:at] + text[to:],
                    text[:at] + junk + text[at:],
                    text[:at],
                    f"```json\n{text}\n```",
                    f"Well. {text} So.",
                    json.dumps({"suggestion": text}),
                    text.replace('"', "'"),
                ]
            )
        )
    return text


@given(damaged())
def test_malformed_replies_crash_nothing_and_pass_never_in_silence(text: str) -> None:
    found = read_reply(text, PROBLEM)
    assert set(found.values) <= set(PROBLEM.names)
    assert found.values or found.fault or "suggestion" in text or "[" in text or "{" in text
    read_json_reply(text, "suggestion", "reasoning")
    extract_xml_like_data(text)
    read_fence(text, "def greet(lang, name):\n")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, json_values, max_size=3), st.booleans())
def test_lenient_reading_agrees_with_json(value: dict[str, Any], indented: bool) -> None:
    text = json.dumps(value, indent=2 if indented else None)
    assert parse_json(text) == value == parse_json(text)


@given(st.text(alphabet='{}[]",:\'\\ \nab1`#/"', max_size=60))
def test_lenient_reading_never_crashes(text: str) -> None:
    try:
        parse_json("{" + text)
    except ValueError as error:
        assert str(error)


def test_lenient_reading_details() -> None:
    assert parse_json("{'a': [1, 2.5, -3, x y], 'b': true,, 'c'") == {"a": [1, 2.5, -3, "x y"], "b": True}
    assert parse_json('{"a": "\\u00e9\\ud83d\\ude00\\q"}') == {"a": "é😀\\q"}
    assert parse_json("{'a': '\\ud83d'}") == {"a": "\ufffd"}
    with pytest.raises(ValueError, match="not valid JSON"):
        parse_json('{"a":, "b": 1}')  # a value is missing: an empty text would be a guess
    assert parse_json('{"a": "b"\n"c": 1}') == {"a": "b", "c": 1}  # a comma was forgotten
    assert parse_json('{"n": 1e999999, "m": ' + "9" * 5000 + "}")["n"] == float("inf")
    with pytest.raises(ValueError, match="not valid JSON"):
        parse_json("[" * 300)
    with pytest.raises(ValueError, match="no JSON"):
        parse_json("nothing")


HOSTILE = [
    "<think>" * 20_000,
    "<think></think>" * 20_000,
    "a <think></think>" * 20_000,
    '{"x": "</think>"}' * 10_000,
    "{x0: " * 5_000,
    "{’1" + "“{" * 5_000,
    '{"x0": x0: <<<<<<< SEARCH a{' * 2_000,
    '[{"x": 1 ' * 3_000,
    "```\n" * 30_000,
    "`" * 60_000,
    '<variable name="x0">' * 20_000 + "</part>",
    '{"suggestion": {' * 20_000,
    '{"suggestion": "' + '#"#' * 30_000,
    "{" * 50_000,
]


@pytest.mark.parametrize("reply", HOSTILE, ids=range(len(HOSTILE)))
def test_long_hostile_replies_are_read_in_linear_time(reply: str) -> None:
    """A quadratic pattern would take minutes here."""
    many = Problem(parts=tuple(Part(f"x{i}", 1.0) for i in range(200)))
    assert read_reply(reply, many).fault


@pytest.mark.parametrize(
    ("start", "noise"), [("", "\n"), ("", "\n "), ("", "*"), ("```", "a"), ("```", " "), ("<<<<<", " ")]
)
def test_runs_of_blanks_and_marks_cost_time_in_proportion_to_their_length(start: str, noise: str) -> None:
    endless = noise * 200_000  # as models write until their limit; minutes, were it in proportion to the square
    assert read_reply(f"{start}{endless} x0 prompt0", PROBLEM).fault


def test_the_last_of_several_objects_that_answers_counts() -> None:
    data, change = '```json\n{"x": 1}\n```\n', '```json\n{"suggestion": {"x0": 2}}\n```\n'
    assert dict(read_reply(f"Given:\n{data}I propose:\n{change}", PROBLEM).values) == {"x0": 2}
    assert dict(read_reply(f"{change}Then:\n{change.replace('2', '3')}", PROBLEM).values) == {"x0": 3}
    assert dict(read_reply(f"{change}Here {data}was given.", PROBLEM).values) == {"x0": 2}
    nothing = read_reply(f'{change}Better\n```json\n{{"suggestion": {{}}}}\n```\n', PROBLEM)
    assert (dict(nothing.values), nothing.fault) == ({}, None)
    assert "no part named x" in str(read_reply(data + data, PROBLEM).fault)


def answer(value: str) -> str:
    return json.dumps({"suggestion": {"prompt0": value}})


DRAFT, FINAL = answer("draft"), answer("final")
MARKED = "Think in <think></think>, then answer."


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("<think>x0 = 1</think>prompt0 = final", "final"),
        ("maybe prompt0 = draft\n</think>\nprompt0 = final", "final"),
        (f"<think>Try {DRAFT}. No, wrong.</think>{FINAL}", "final"),
        (f"[THINK]{DRAFT}[/THINK]{FINAL}", "final"),
        (f"<seed:think>{DRAFT}</seed:think>{FINAL}", "final"),
        (f"◁think▷{DRAFT}◁/think▷{FINAL}", "final"),
        (f"<|START_THINKING|>{DRAFT}<|END_THINKING|>{FINAL}", "final"),
        (f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{FINAL}", "final"),
        (f"Here is my thought process: {DRAFT} Here is my response: {FINAL}", "final"),
        (f"{FINAL}<think>or {DRAFT}?</think>", "final"),
        (f"Well. <think>{DRAFT}</think> So: {FINAL}", "final"),
        (f"<think>a</think><think>b <think>{DRAFT}</think></think>{FINAL}", "final"),
        (f"{DRAFT} is wrong</think> {FINAL}", "final"),
        (f"First: {DRAFT} Worse. Final: {FINAL}", "final"),
        (f"First: {DRAFT} Worse. Final: { {'suggestion': {'prompt0': 'final'}}!s}", "final"),
        (f"In the form {answer('...')}: {FINAL}", "final"),
        (f"{FINAL} This {{really}} is {{good: yes}}", "final"),
        (answer(MARKED), MARKED),
        (f"Here: {answer(MARKED)}", MARKED),
        (f"<think>{DRAFT}</think>Here: {answer(MARKED)}", MARKED),
        (f"Here: {answer('Close it with </think>.')} Good luck.", "Close it with </think>."),
        (f"```json\n{answer('[THINK] first')}\n```", "[THINK] first"),
        (f"<variable><name>prompt0</name><value>{MARKED}</value></variable>", MARKED),
    ],
)
def test_the_answer_is_believed_and_drafts_are_not(reply: str, value: str) -> None:
    assert dict(read_reply(reply, PROBLEM).values) == {"prompt0": value}


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>Try {DRAFT}. No, wrong, bec",
        f"Okay. <think>Try {DRAFT}. No, wrong, bec",
        f"[THINK]{DRAFT}",
        f"<|channel|>analysis<|message|>{DRAFT}",
        f"First: {DRAFT} Worse. Final: {FINAL[:-5]}",
        f"First: {DRAFT} Worse. Final: {FINAL[:18]}",
        f"<think>{DRAFT}</think>I cannot do that.",
    ],
)
def test_a_draft_is_not_believed_where_the_answer_is_missing(reply: str) -> None:
    found = read_reply(CutText(reply), PROBLEM)
    assert not found.values and found.fault
