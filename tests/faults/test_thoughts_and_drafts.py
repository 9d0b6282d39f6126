"""Kind 1: a draft is never taken for the answer, whatever marks the thoughts and whatever shape the reply has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fault_cases import J, case, fails, response, row, step_on

from opto.llm import ScriptedLLM
from opto.optimizers import OptoPrime, OptoPrimeV2
from opto.trace import bundle

# family: (what begins the thoughts, what ends them, what ends the answer); where each comes from stands behind it
MARKERS: dict[str, tuple[str, str, str]] = {
    "think": ("<think>", "</think>", ""),  # DeepSeek R1, Qwen 3, GLM 4.5, MiniMax, Phi 4 reasoning
    "thinking": ("<thinking>", "</thinking>", ""),  # prompts after Claude's
    "thought": ("<thought>", "</thought>", ""),  # EXAONE Deep
    "thoughts": ("<thoughts>", "</thoughts>", ""),
    "reasoning": ("<reasoning>", "</reasoning>", ""),  # Reka Flash
    "reflection": ("<reflection>", "</reflection>", ""),  # Reflection Llama
    "scratchpad": ("<scratchpad>", "</scratchpad>", ""),
    "analysis": ("<analysis>", "</analysis>", ""),
    "seed": ("<seed:think>", "</seed:think>", ""),  # Seed-OSS
    "magistral": ("[THINK]", "[/THINK]", ""),  # Mistral Magistral
    "kimi": ("◁think▷", "◁/think▷", ""),  # Kimi-VL, Kimi K1.5
    "cohere": ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>", "<|END_RESPONSE|>"),  # Command A
    "harmony": (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|return|>",
    ),  # gpt-oss
    "harmony, tokens swallowed": ("", "assistantfinal", ""),  # gpt-oss behind a server that drops its tokens
    "granite 3.2": ("Here is my thought process:\n", "\nHere is my response:\n", ""),
    "granite 3.3": ("<think>", "</think><response>", "</response>"),
    "sky": ("<|begin_of_thought|>", "<|end_of_thought|><|begin_of_solution|>", "<|end_of_solution|>"),  # OpenThinker
    "hunyuan": ("<think>", "</think><answer>", "</answer>"),
    "apertus": ("<|inner_prefix|>", "<|inner_suffix|>", ""),
    "opening swallowed": ("", "</think>", ""),  # the chat template of DeepSeek R1 and QwQ writes the opening tag
    "opening swallowed, magistral": ("", "[/THINK]", ""),
    "opening swallowed, kimi": ("", "◁/think▷", ""),
    "capitals": ("<THINK>", "</THINK>", ""),
    "attribute": ('<think time="3">', "</think>", ""),
}
SHAPES: dict[str, Any] = {
    "json": J,
    "json in a fence": lambda v: f"```json\n{J(v)}\n```",
    "bare pair": lambda v: json.dumps({"p0": v}),
    "tags": lambda v: f"<variable>\n<name>p0</name>\n<value>\n{v}\n</value>\n</variable>",
    "named tag": lambda v: f'<variable name="p0">\n{v}\n</variable>',
    "line": lambda v: f"\np0: {v}\n",
    "fence": lambda v: f"\n```\n{v}\n```\n",
}
CUT = [
    row(
        1,
        f"{family}, {shape}",
        f"{opening}Try {write('draft')}. No, wrong, bec",
        failing=False,
    )
    for family, (opening, _, _) in MARKERS.items()
    if opening
    for shape, write in SHAPES.items()
]


@pytest.mark.parametrize("reply", CUT)
def test_kind_01_thoughts_that_were_cut_off_hold_no_answer(reply: str) -> None:
    found = step_on(response(reply, "length"))
    assert found.value == "A" and not found.update
    assert "cut" in found.said or "limit" in found.said


THOUGHT = [
    row(
        1,
        f"{family}, {shape}",
        f"{opening}Try {write('draft')}. No, wrong, better:{closing}{write('final')}{end}",
        failing=False,
    )
    for family, (opening, closing, end) in MARKERS.items()
    for shape, write in SHAPES.items()
]


@pytest.mark.parametrize("reply", THOUGHT)
def test_kind_01_what_follows_the_thoughts_is_the_answer(reply: str) -> None:
    assert step_on(reply).value == "final"


TAGGED = [
    row(
        1,
        family,
        f"{opening}Try {SHAPES['tags']('draft')}. No.{closing}<reasoning>r</reasoning>{SHAPES['tags']('final')}{end}",
        failing=False,
    )
    for family, (opening, closing, end) in MARKERS.items()
]


@pytest.mark.parametrize("reply", TAGGED)
def test_kind_01_the_format_of_tags_takes_no_draft_either(reply: str) -> None:
    assert step_on(reply, optimizer=OptoPrimeV2).value == "final"


SCHEMA = (
    '{"type": "object", "properties": {"suggestion": {"type": "object", "properties": {"p0": {"type": "string"}}}}}'
)


@pytest.mark.parametrize(
    "reply",
    [
        case("two in prose", "First: " + J("draft") + " Worse. Final: " + J("final")),
        case("three in prose", "1: " + J("a") + " 2: " + J("b") + " So: " + J("final") + " Done."),
        case("format echoed", 'In the form {"suggestion": {"p0": "..."}}: ' + J("final")),
        case("format echoed with words", 'As {"suggestion": {"p0": "its new value"}}:\n' + J("final")),
        case("format echoed in a fence", '```json\n{"suggestion": {"p0": "..."}}\n```\n' + J("final")),
        case("schema echoed", f"The schema is {SCHEMA}. " + J("final")),
        case("two lines of JSON", J("draft") + "\n" + J("final")),
        case("no space between", J("draft") + J("final")),
        case("two fences", f"```json\n{J('draft')}\n```\nBetter:\n```json\n{J('final')}\n```"),
        case("draft in a fence, answer bare", f"```json\n{J('draft')}\n```\nBetter: {J('final')}"),
        case("draft bare, answer in a fence", f"{J('draft')} Better:\n```json\n{J('final')}\n```"),
        case("braces in prose before", "A set {a, b} and a dict {'k': 1}: " + J("final")),
        case("braces in prose after", J("final") + " {that is all}"),
        case("another object after", J("final") + ' {"confidence": 0.9}'),
        case("another object before", '{"plan": "rewrite p0"} ' + J("final")),
        case("a list of two", json.dumps([{"p0": "draft"}, {"p0": "final"}])),
        case("bare pairs", '{"p0": "draft"} or {"p0": "final"}'),
        case("the current value first", "Now: " + J("A") + " Better: " + J("final")),
        case(
            "two tags", "".join(f"<variable><name>p0</name><value>{v}</value></variable>" for v in ("draft", "final"))
        ),
        fails(1, "two lines", "p0: draft\nBut that is worse.\np0: final\n"),
        case("two named tags", '<variable name="p0">draft</variable><variable name="p0">final</variable>'),
        fails(1, "tags, then JSON", "<variable><name>p0</name><value>draft</value></variable> no: " + J("final")),
        fails(1, "JSON, then tags", J("draft") + " no: <variable><name>p0</name><value>final</value></variable>"),
        case("thoughts twice", "<think>" + J("a") + "</think>so<think>" + J("b") + "</think>" + J("final")),
        case("thoughts in thoughts", "<think>a <think>" + J("a") + "</think> b</think>" + J("final")),
        case("thoughts after", J("final") + "<think>Was " + J("draft") + " better? No.</think>"),
        case("thoughts in a fence", "```\n<think>" + J("draft") + "</think>\n```\n" + J("final")),
        case("two families", "<think>" + J("a") + "</think><reflection>" + J("b") + "</reflection>" + J("final")),
    ],
)
def test_kind_01_the_last_complete_answer_is_the_answer(reply: str) -> None:
    assert step_on(reply).value == "final"


@pytest.mark.parametrize(
    ("reply", "finish"),
    [
        case("never closed, server silent", "<think>Try " + J("draft") + ". No", None),
        case("never closed, said to be whole", "<think>Try " + J("draft") + ". No", "stop"),
        case("magistral, server silent", "[THINK]Try " + J("draft") + ". No", None),
        case("harmony, server silent", "<|channel|>analysis<|message|>Try " + J("draft"), None),
        case("cut in the closing marker", "<think>Try " + J("draft") + "</thi", "length"),
        case("cut after the thoughts", "<think>Try " + J("draft") + '</think>{"suggestion": {"p0": "fin', "length"),
        case("cut in second thoughts", "<think>a</think><think>Try " + J("draft") + ". No", "length"),
    ],
)
def test_kind_01_no_answer_is_no_answer(reply: str, finish: str | None) -> None:
    assert step_on(response(reply, finish)).value == "A"


@bundle(trainable=True)
def area(width: int, height: int) -> int:
    """The area."""
    return width + height


def code(operator: str) -> str:
    return f"def area(width, height):\n    return width {operator} height"


@pytest.mark.parametrize(
    "reply",
    [
        case("two fences of code", f"```python\n{code('-')}\n```\nNo:\n```python\n{code('*')}\n```"),
        case("three fences", "".join(f"```python\n{code(o)}\n```\nNo:\n" for o in "-/*")),
        case("fence in thoughts", f"<think>\n```python\n{code('-')}\n```\n</think>\n```python\n{code('*')}\n```"),
        case("fence in magistral's", f"[THINK]\n```python\n{code('-')}\n```\n[/THINK]\n```python\n{code('*')}\n```"),
        case(
            "fence in harmony's analysis",
            f"<|channel|>analysis<|message|>```python\n{code('-')}\n```<|end|><|start|>assistant<|channel|>final"
            f"<|message|>```python\n{code('*')}\n```",
        ),
        case(
            "JSON twice",
            f"{{'code': 1}} {json.dumps({'__code0': code('-')})} or {json.dumps({'__code0': code('*')})}",
        ),
        fails(
            1, "draft in JSON, answer in a fence", f"{json.dumps({'__code0': code('-')})}\n```python\n{code('*')}\n```"
        ),
    ],
)
def test_kind_01_code_is_drafted_too(reply: str) -> None:
    function = area.detach()
    function.parameter._name = "__code:0"
    optimizer = OptoPrime([function.parameter], llm=ScriptedLLM([reply, reply]))
    optimizer.zero_feedback()
    optimizer.backward(function(3, 4), "3 by 4 is 12")
    optimizer.step()
    assert "width * height" in function.parameter.data
