"""OptoPrimeV2, its prompt and its replies."""

from __future__ import annotations

import re
from typing import Any

import pytest

from opto.optimizers import OptoPrimeV2
from opto.optimizers.buffers import FIFOBuffer
from opto.optimizers.optoprime_v2 import (
    OptimizerPromptSymbolSet,
    OptimizerPromptSymbolSet2,
    OptimizerPromptSymbolSetJSON,
    extract_xml_like_data,
)
from opto.optimizers.utils import (
    extract_first_top_level_block,
    extract_reasoning_and_remainder,
    extract_top_level_blocks,
    print_color,
    strip_nested_blocks,
    truncate_expression,
)
from opto.trace import bundle, node

TITLES = [
    "# Instruction", "# Code", "# Documentation", "# Variables", "# Inputs", "# Others", "# Outputs", "# Feedback",
]  # fmt: skip

LLM_OBJECT = object()


def reply(**values: Any) -> str:
    blocks = "".join(f"<variable>\n<name>{k}</name>\n<value>\n{v}\n</value>\n</variable>\n" for k, v in values.items())
    return f"<reasoning>\nbecause\n</reasoning>\n{blocks}"


def program(scripted: Any, *replies: Any, **options: Any) -> Any:
    @bundle(trainable=True)
    def fn(q):
        """Change q."""
        return q + 1

    x = node(1.0, name="x", trainable=True, description="keep it small")
    y = node("free", name="y", trainable=True)
    llm, calls = scripted(*(replies or (reply(),)))
    o = OptoPrimeV2([x, fn.parameter, y], llm=llm, **options)
    out = (fn(x) * 2).eq(y)
    o.zero_feedback()
    o.backward(out, "not equal yet")
    return o, calls, x, fn, y


def test_constructor() -> None:
    o = OptoPrimeV2([node(1, trainable=True)], LLM_OBJECT)
    assert o.llm is LLM_OBJECT and o.max_tokens == 8192 and o.initial_var_char_limit == 2000
    assert isinstance(o.optimizer_prompt_symbol_set, OptimizerPromptSymbolSet) and o.log == []
    assert o.truncate_expression("abcdef", 3).startswith("abc...")
    assert len(o.memory) == 0 and o.include_example is False
    assert "{value_tag}" in OptoPrimeV2.default_objective
    assert "{variables_section_title}" in OptoPrimeV2.default_objective
    assert "{feedback_section_title}" in OptoPrimeV2.default_objective


# --- the prompt -----------------------------------------------------------------------------------------------------


def test_headings(scripted: Any) -> None:
    o, *_ = program(scripted)
    body = str(o.problem_instance(o.summarize()))
    assert [line.strip() for line in body.splitlines() if line.strip() in TITLES] == TITLES
    assert "{value_tag}" not in body and "{variables_section_title}" not in body


def test_layout(scripted: Any) -> None:
    o, _, _, fn, _ = program(scripted)
    code = fn.parameter.py_name
    body = str(o.problem_instance(o.summarize()))
    assert (
        '<variable name="x0" type="float">\n<value>\n1.0\n</value>\n'
        "<constraint>\nkeep it small\n</constraint>\n</variable>"
    ) in body
    assert '<variable name="y0" type="str">\n<value>\nfree\n</value>\n</variable>' in body
    assert (
        f'<variable name="{code}" type="code">\n<value>\n{fn.parameter.data}\n</value>\n'
        f"<constraint>\n{fn.parameter.description}\n</constraint>\n</variable>"
    ) in body
    assert '<node name="int0" type="int">\n<value>\n2\n</value>\n</node>' in body
    assert "</variable>\n\n<variable" in body
    assert '<node name="eq0" type="bool">\n<value>\nFalse\n</value>\n</node>' in body


def test_prompt(scripted: Any) -> None:
    o, calls, x, *_ = program(scripted, reply(x0=2))
    o.step()
    system, user = (m["content"] for m in calls[0]["messages"])
    names = re.findall(r'<variable name="(.*?)" type=.*>', user)
    assert "x0" in names and "y0" in names
    assert user.rstrip().endswith("Your response:") and "not equal yet" in user
    assert ", ".join(n for n in o.summarize().variables) in user or all(n in user.split("Feedback")[-1] for n in names)
    assert "<reasoning>" in system and "<variable>" in system and "<name>" in system and "<value>" in system
    assert calls[0].get("response_format") is None and calls[0]["max_tokens"] == 8192
    assert x.data == 2.0


def test_long_values_are_cut(scripted: Any) -> None:
    p = node("v" * 300, name="p", trainable=True)
    k = node("i" * 300, name="k")
    llm, _ = scripted(reply())
    o = OptoPrimeV2([p], llm=llm, initial_var_char_limit=50)
    o.backward(p + k, "fb")
    body = str(o.problem_instance(o.summarize()))
    assert "i" * 50 + "...(skipped due to length limit)" in body and "i" * 51 not in body
    assert "v" * 300 in body
    assert truncate_expression("a" * 20, 5) == "aaaaa...(skipped due to length limit)"
    assert truncate_expression("abc", 5) == "abc"


def test_memory(scripted: Any) -> None:
    o, _, x, *_ = program(scripted, memory_size=2)
    assert "<round " not in o.construct_prompt(o.summarize())[1]
    x._data = 3.0
    user = o.construct_prompt(o.summarize())[1]
    rounds = re.findall(r"<round (\d+)>(.*?)</round \1>", user, flags=re.DOTALL)
    assert len(rounds) == 1
    text = rounds[0][1]
    assert re.search(r"<feedback>\s*not equal yet\s*</feedback>", text)
    assert re.search(r"<variable>\s*<name>\s*x0\s*</name>\s*<value>\s*1\.0\s*</value>\s*</variable>", text)
    assert user.index("<round ") < user.index("Your response:") and user.rstrip().endswith("Your response:")


def test_example(scripted: Any) -> None:
    o, *_ = program(
        scripted, include_example=True, optimizer_prompt_symbol_set=OptimizerPromptSymbolSet2(), memory_size=2
    )
    for _ in range(2):
        system, user = o.construct_prompt(o.summarize())
    assert '<const name="y" type="int">' in user + system
    assert '<var name="variable_name" type="data_type">' in system
    assert '<var name="x0" type="float">' in user and "not equal yet" in user


def test_mask(scripted: Any) -> None:
    o, *_ = program(scripted)
    body = str(o.problem_instance(o.summarize(), mask=["# Inputs", "# Feedback"]))
    assert "not equal yet" not in body and '<node name="int0"' not in body and "# Inputs" in body


def test_no_retry(scripted: Any) -> None:
    o, calls, *_ = program(scripted, RuntimeError("down"), reply())
    with pytest.raises(RuntimeError):
        o.step()
    assert len(calls) == 1


def test_json_symbol_set(scripted: Any) -> None:
    text = '{"reasoning": "r", "suggestion": {"x0": 4}}'
    o, calls, x, *_ = program(scripted, text, optimizer_prompt_symbol_set=OptimizerPromptSymbolSetJSON())
    o.step()
    assert x.data == 4.0 and calls[0]["response_format"] == {"type": "json_object"}
    o, calls, *_ = program(
        scripted, text, optimizer_prompt_symbol_set=OptimizerPromptSymbolSetJSON(), use_json_object_format=False
    )
    o.step()
    assert calls[0].get("response_format") is None


def test_extract(scripted: Any) -> None:
    o, _, _, fn, _ = program(scripted)
    assert o.extract_llm_suggestion(reply(x0=5, y0="a")) == {
        "reasoning": "because",
        "variables": {"x0": "5", "y0": "a"},
    }
    assert o.extract_llm_suggestion("no tags") == {"reasoning": "", "variables": {}}
    blank = o.extract_llm_suggestion(reply(**{fn.parameter.py_name: "  ", "y0": ""}))
    assert blank["variables"] == {"y0": ""}


def test_values_are_converted(scripted: Any) -> None:
    o, _, x, _, y = program(scripted, reply(x0="2.5", y0="7"))
    o.step()
    assert x.data == 2.5 and y.data == "7"


# --- symbol sets ----------------------------------------------------------------------------------------------------


def test_symbol_sets() -> None:
    base = OptimizerPromptSymbolSet()
    assert [
        base.node_tag, base.variable_tag, base.value_tag, base.constraint_tag, base.reasoning_tag,
        base.improved_variable_tag, base.name_tag,
    ] == ["node", "variable", "value", "constraint", "reasoning", "variable", "name"]  # fmt: skip
    two = OptimizerPromptSymbolSet2()
    assert [
        two.node_tag, two.variable_tag, two.value_tag, two.constraint_tag, two.reasoning_tag,
        two.improved_variable_tag, two.name_tag,
    ] == ["const", "var", "data", "constraint", "reason", "var", "name"]  # fmt: skip
    assert [
        base.instruction_section_title, base.code_section_title, base.documentation_section_title,
        base.variables_section_title, base.inputs_section_title, base.others_section_title,
        base.outputs_section_title, base.feedback_section_title,
    ] == TITLES  # fmt: skip
    assert base.expect_json is False and OptimizerPromptSymbolSetJSON().expect_json is True
    assert base.custom_output_format_instruction is None
    assert isinstance(base.output_format, str) and "variable" in base.output_format
    assert isinstance(base.default_prompt_symbols, dict)


def test_symbol_set_round_trip() -> None:
    for kind in (OptimizerPromptSymbolSet, OptimizerPromptSymbolSet2, OptimizerPromptSymbolSetJSON):
        s = kind()
        text = s.example_output("why", {"x0": "1", "__code0": "def f():\n    return 2"})
        out = s.output_response_extractor(text)
        assert out["reasoning"] == "why"
        assert {k: str(v) for k, v in out["variables"].items()} == {"x0": "1", "__code0": "def f():\n    return 2"}


def test_custom_format_must_be_complete() -> None:
    class Half(OptimizerPromptSymbolSet):
        custom_output_format_instruction = "Sing it."

    assert "Sing it." in Half().output_format
    with pytest.raises(NotImplementedError):
        Half().example_output("r", {})
    with pytest.raises(NotImplementedError):
        Half().output_response_extractor("la la")


def test_own_symbol_set(scripted: Any) -> None:
    class Mine(OptimizerPromptSymbolSet):
        variables_section_title = "# Knobs"
        variable_tag = "knob"
        improved_variable_tag = "turned"

    text = "<reasoning>r</reasoning><turned><name>x0</name><value>6</value></turned>"
    o, calls, x, *_ = program(scripted, text, optimizer_prompt_symbol_set=Mine())
    o.step()
    user = calls[0]["messages"][1]["content"]
    assert "# Knobs" in user and '<knob name="x0" type="float">' in user and x.data == 6.0


# --- XML-like replies -----------------------------------------------------------------------------------------------


def read(text: str) -> dict[str, Any]:
    return extract_xml_like_data(
        text, reasoning_tag="reasoning", improved_variable_tag="variable", name_tag="name", value_tag="value"
    )


def var(name: str, value: str) -> str:
    return f"<variable><name>{name}</name><value>{value}</value></variable>"


XML = {
    "two": (f"<reasoning> r </reasoning>{var('a', '1')}{var('b', '2')}", "r", {"a": "1", "b": "2"}),
    "nested value": (f"<reasoning>r</reasoning>{var('a', '<value>1</value>')}", "r", {"a": "<value>1</value>"}),
    "nested variable": (
        f"<reasoning>r</reasoning>{var('a', 'x ' + var('b', '2'))}", "r", {"a": "x " + var("b", "2")},
    ),
    "nested reasoning": ("<reasoning>a <reasoning>b</reasoning> c</reasoning>", "a <reasoning>b</reasoning> c", {}),
    "inside reasoning": (f"<reasoning>r {var('a', '1')}</reasoning>{var('b', '2')}", f"r {var('a', '1')}", {"b": "2"}),
    "before reasoning": (f"{var('a', '1')}<reasoning>r</reasoning>", "r", {}),
    "no reasoning": (f"well {var('a', '1')} fine", "", {"a": "1"}),
    "unclosed reasoning": (f"<reasoning> r {var('a', '1')} ", f" r {var('a', '1')} ", {}),
    "no value": ("<reasoning>r</reasoning><variable><name>a</name></variable>", "r", {}),
    "no name": ("<reasoning>r</reasoning><variable><value>1</value></variable>", "r", {}),
    "blank name": (f"<reasoning>r</reasoning>{var('  ', '1')}", "r", {}),
    "empty value": (f"<reasoning>r</reasoning>{var('a', '')}", "r", {"a": ""}),
    "stripped": (f"<reasoning>\n r \n</reasoning>{var(' a ', ' 1 ')}", "r", {"a": "1"}),
    "later wins": (f"<reasoning>r</reasoning>{var('a', '1')}{var('a', '2')}", "r", {"a": "2"}),
    "prose": (f"hi <reasoning>r</reasoning> then {var('a', '1')} and bye", "r", {"a": "1"}),
    "nothing": ("", "", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", XML)
def test_xml_rules(case: str) -> None:
    text, reasoning, variables = XML[case]
    assert read(text) == {"reasoning": reasoning, "variables": variables}


def test_multiline_code() -> None:
    code = 'def f(x):\n    """Doc <b>."""\n    return x < 3 and x > 1'
    assert read(f"<reasoning>r</reasoning>{var('__code0', chr(10) + code + chr(10))}")["variables"] == {"__code0": code}


def test_block_helpers() -> None:
    text = "a<t>1</t>b<t>2<t>3</t></t>c"
    assert extract_top_level_blocks(text, "t") == ["1", "2<t>3</t>"]
    assert extract_first_top_level_block(text, "t") == "1" and extract_first_top_level_block("none", "t") is None
    assert strip_nested_blocks("x<t>1</t>y", "t").replace(" ", "") == "xy"
    reasoning, rest = extract_reasoning_and_remainder("<reasoning> r </reasoning> rest", "reasoning")
    assert reasoning.strip() == "r" and rest.strip() == "rest"


# --- small helpers --------------------------------------------------------------------------------------------------


def test_fifo_buffer() -> None:
    b = FIFOBuffer(2)
    for k in range(3):
        b.add(k)
    assert list(b) == [1, 2] and len(b) == 2
    none = FIFOBuffer(0)
    none.add(1)
    assert len(none) == 0 and list(none) == []


def test_print_color(capsys: Any) -> None:
    print_color("hello", "red")
    print_color("plain")
    out = capsys.readouterr().out
    assert "hello" in out and "plain" in out
