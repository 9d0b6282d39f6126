"""Kind 2: what stands inside a value is no markup. The value of a parameter comes back equal in every format."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from fault_cases import J, case, fails, row, step_on
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.optimizers.optoprime_v2 import OptimizerPromptSymbolSet, OptimizerPromptSymbolSetJSON

VALUES = {
    "thoughts": "Think in <think></think>, then answer.",
    "thoughts with words": "Write <think>your plan</think> first.",
    "closing thoughts": "End your plan with </think> and answer.",
    "opening thoughts": "Begin with <think> and plan.",
    "magistral": "Plan in [THINK] and [/THINK].",
    "kimi": "Plan in ◁think▷ and ◁/think▷.",
    "harmony": "Plan after <|channel|>analysis<|message|>, answer after <|channel|>final<|message|>.",
    "cohere": "Plan in <|START_THINKING|>…<|END_THINKING|>.",
    "granite": "Say 'Here is my thought process:' and 'Here is my response:'.",
    "reasoning": "Give <reasoning>why</reasoning>, then the answer.",
    "closing reasoning": "After </reasoning> comes the answer.",
    "closing value": "Put </value> at the end.",
    "value": "Put it into <value>…</value>.",
    "closing variable": "Put </variable> at the end.",
    "variable": "Reply <variable><name>p0</name><value>x</value></variable>.",
    "named variable": 'Reply <variable name="p0">x</variable>.',
    "answer tags": "Reply <answer>42</answer>.",
    "JSON": 'Reply {"suggestion": {"p0": "x"}} and nothing else.',
    "JSON of another": 'Reply {"answer": 42, "reasoning": "why"}.',
    "lone brace": "End with a } and a {.",
    "fence": "Reply:\n```json\n{}\n```\nand stop.",
    "fence of waves": "Reply:\n~~~\nx\n~~~",
    "line": "First line.\np0: second line",
    "entities": "Escape < as &lt; and & as &amp;.",
    "CDATA": "Wrap it in <![CDATA[ … ]]>.",
    "quotes": "Say \"hi\" and 'ho' and “ha”.",
    "backslashes": "Split at \\n, match \\d+ in C:\\new.",
    "HTML": "<p>Hello <b>world</b><br/></p>",
    "terminate": "Say TERMINATE when done.",
    "template": "Hello {name}, ${place}, {{x}}, %s.",
    "unicode": "Füge «☃» und 🙂 an.",
}


def tags(value: str) -> str:
    return OptimizerPromptSymbolSet().example_output("why", {"p0": value})


def json_of_v2(value: str) -> str:
    return OptimizerPromptSymbolSetJSON().example_output("why", {"p0": value})


FORMATS: dict[str, Any] = {
    "JSON": (J, OptoPrime, {}),
    "JSON after thoughts": (lambda v: f"<think>I wonder.</think>{J(v)}", OptoPrime, {}),
    "JSON after bare thoughts": (lambda v: f"I wonder.</think>\n{J(v)}", OptoPrime, {}),
    "JSON in a fence": (lambda v: f"Here:\n```json\n{J(v)}\n```\nGood?", OptoPrime, {}),
    "JSON in prose": (lambda v: f"Here it is: {J(v)} I hope it helps.", OptoPrime, {}),
    "schema": (lambda v: json.dumps({"changes": [{"name": "p0", "value": v}]}), OptoPrime, {"reply": "json_schema"}),
    "JSON of V1": (J, OptoPrimeV1, {}),
    "JSON of V2": (
        json_of_v2,
        OptoPrimeV2,
        {"optimizer_prompt_symbol_set": OptimizerPromptSymbolSetJSON()},
    ),
    "tags of V2": (tags, OptoPrimeV2, {}),
    "tags": (tags, OptoPrime, {"reply": "text"}),
    "tags after thoughts": (lambda v: f"<think>I wonder.</think>{tags(v)}", OptoPrime, {"reply": "text"}),
}
EQUAL_FAILING: dict[str, tuple[str, ...]] = {
    "JSON": ("variable", "named variable", "JSON"),
    "JSON after thoughts": ("variable", "named variable", "JSON"),
    "JSON after bare thoughts": ("variable", "named variable", "JSON"),
    "JSON in a fence": ("variable", "named variable", "JSON"),
    "JSON in prose": ("variable", "named variable", "JSON"),
    "schema": ("variable", "named variable", "JSON"),
    "JSON of V1": ("variable", "named variable", "JSON"),
    "JSON of V2": ("variable", "named variable", "JSON"),
    "tags of V2": ("closing variable", "variable", "named variable", "JSON"),
    "tags": ("closing variable", "variable", "named variable", "JSON"),
    "tags after thoughts": ("closing variable", "variable", "named variable", "JSON"),
}  # by format, the values
TABLE = [
    row(2, f"{form}: {name}", *FORMATS[form], value, failing=name in EQUAL_FAILING.get(form, ()))
    for form in FORMATS
    for name, value in VALUES.items()
    if not (name == "terminate" and " of V" in form)  # there the word ends the step, wherever it stands
]


@pytest.mark.parametrize(("write", "optimizer", "options", "value"), TABLE)
def test_kind_02_a_value_comes_back_equal(write: Any, optimizer: Any, options: dict[str, Any], value: str) -> None:
    assert step_on(write(value), optimizer=optimizer, **options).value == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        case("raw closing tag", "Put </value> at the end.", "Put </value> at the end."),
        case("raw nested", "Use <value>x</value> here.", "Use <value>x</value> here."),
        fails(2, "escaped", "Put &lt;/value&gt; at the end.", "Put </value> at the end."),
        fails(2, "CDATA", "<![CDATA[Put </value> at the end.]]>", "Put </value> at the end."),
        fails(2, "raw variable", "Put </variable> at the end.", "Put </variable> at the end."),
        case("raw name", "Put <name>x</name> first.", "Put <name>x</name> first."),
    ],
)
def test_kind_02_tags_nest_and_escape(body: str, value: str) -> None:
    reply = f"<reasoning>r</reasoning>\n<variable>\n<name>p0</name>\n<value>\n{body}\n</value>\n</variable>"
    assert step_on(reply, optimizer=OptoPrimeV2).value == value


@pytest.mark.parametrize("form", [case("JSON", J), case("JSON in a fence", FORMATS["JSON in a fence"][0])])
@settings(derandomize=True)
@given(value=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30))
def test_kind_02_whatever_the_text_is_it_comes_back(form: Any, value: str) -> None:
    found = step_on(form(value))
    assert found.value == value or found.update.refused or not value.strip("[]{}`\"',: ")


PIECES = st.sampled_from([*"<>/{}[]`\"'\\:,=", "<think>", "</think>", "<value>", "</value>", "</variable>", "p0", "\n"])


@settings(derandomize=True)
@given(text=st.lists(PIECES, max_size=40).map("".join))
def test_kind_02_no_text_makes_a_step_raise(text: str) -> None:
    assert isinstance(step_on(text).value, str)
    assert isinstance(step_on(text, optimizer=OptoPrimeV2).value, str)


def test_kind_02_the_current_value_may_hold_markup_too() -> None:
    found = step_on(J("Think in <think>a</think>."), value="Plan in <think></think>. Then </value>.")
    assert found.value == "Think in <think>a</think>."
    assert "Plan in <think></think>. Then </value>." in found.question
    assert html.escape("<") not in found.question
