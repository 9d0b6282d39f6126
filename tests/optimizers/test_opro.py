"""OPRO and OPROv2 show attempts and feedback, and no graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OPRO, OPROv2
from opto.optimizers.opro_v2 import OPROPromptSymbolSet, ProblemInstance
from opto.trace.nodes import GRAPH, node


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    GRAPH.clear()


def json_reply(**values: Any) -> str:
    return json.dumps({"reasoning": "because", "suggestion": values})


def tag_reply(**values: Any) -> str:
    blocks = "".join(f"<variable><name>{k}</name><value>{v}</value></variable>" for k, v in values.items())
    return f"<reasoning>because</reasoning>{blocks}"


def run(optimizer: Any, x: Any, *feedback: str) -> None:
    for text in feedback:
        optimizer.zero_feedback()
        optimizer.backward(x + 1, text)
        optimizer.step()


def texts(llm: ScriptedLLM, call: int = -1) -> tuple[str, str]:
    system, user = llm.calls[call]["messages"]
    return system["content"], user["content"]


# --- OPRO -----------------------------------------------------------------------------------------------------------


def test_opro_shows_every_attempt_and_no_graph() -> None:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM([json_reply(x0=value) for value in (2, 3, 4)])
    optimizer = OPRO([x], llm=llm)
    run(optimizer, x, "first said", "second said", "third said")
    system, user = texts(llm)
    assert x.data == 4 and len(optimizer.buffer) == 3
    assert [user.index(f"{word} said") for word in ("first", "second", "third")] == sorted(
        user.index(f"{word} said") for word in ("first", "second", "third")
    )
    assert '"x0": 1' in user and '"x0": 3' in user and optimizer.objective in user
    assert "add" not in user and "#" not in system + user
    assert '"suggestion"' in system and '"answer"' not in system


def test_opro_takes_the_options_of_its_family() -> None:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM(['{"why": "w", "say": "a", "change": {"x0": 7}}'])
    keys = {"reasoning": "why", "answer": "say", "suggestion": "change"}
    optimizer = OPRO([x], llm=llm, json_keys=keys, objective="Be great.", include_example=True, llm_profiles=["a"])
    optimizer.set_context("The tide is high.")
    run(optimizer, x, "{objective} is no placeholder here")
    system, user = texts(llm)
    assert x.data == 7 and '"why"' in system and '"say"' in system and '"change"' in system
    assert user.count("Be great.") == 1 and "{objective} is no placeholder here" in user
    assert "The tide is high." in user and '"price0": 3' in user
    assert OPRO([x], llm=llm).json_keys["answer"] is None and optimizer.log and len(optimizer.log) == 1


def test_headings_of_another_format_are_not_looked_for() -> None:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM(['{"suggestion": {"x0": 7}}'])
    optimizer = OPROv2([x], llm=llm, prompt_symbols={"constraints": "#Rules", "feedback": "# Judgement"})
    optimizer.backward(x + 1, "more")
    optimizer.step()
    assert "# Judgement\nmore" in llm.calls[0]["messages"][1]["content"]


def test_opro_example_is_read_by_our_own_parser() -> None:
    optimizer = OPRO([node(1, trainable=True)], llm=ScriptedLLM([]))
    response = optimizer._with_keys(optimizer.example_response_template, "classic_example_answer_line")
    assert optimizer.extract_llm_suggestion(response) == {"price0": 3}


def test_opro_saves_its_buffer(tmp_path: Path) -> None:
    x = node(1, name="x", trainable=True)
    optimizer = OPRO([x], llm=ScriptedLLM([json_reply(x0=2)]))
    run(optimizer, x, "more")
    optimizer.save(tmp_path / "a" / "opro.json")
    other = OPRO([x], llm=ScriptedLLM([]))
    other.load(tmp_path / "a" / "opro.json")
    assert other.buffer == optimizer.buffer == [({"x0": (1, None)}, "more")] and other.parameters == [x]


# --- OPROv2 ---------------------------------------------------------------------------------------------------------


def test_opro_v2_has_three_sections() -> None:
    x = node("v" * 50, name="x", trainable=True, description="short")
    optimizer = OPROv2([x], llm=ScriptedLLM([]), objective="Sell more.", initial_var_char_limit=10)
    optimizer.backward(x + "!", "too long")
    problem = optimizer.problem_instance(optimizer.summarize())
    assert isinstance(problem, ProblemInstance)
    lines = str(problem).splitlines()
    assert [line for line in lines if line.startswith("# ")] == ["# Problem Context", "# Solution", "# Feedback"]
    assert '<solution name="x0" type="str">' in lines and "v" * 10 + "...(skipped due to length limit)" in lines
    assert "short" in lines and "Sell more." in lines and "too long" in lines and "</solution>" in lines
    masked = optimizer.problem_instance(optimizer.summarize(), mask=["# Feedback", "#Instruction"])
    assert masked.feedback == "" and masked.instruction == "" and masked.variables == problem.variables


def test_opro_v2_remembers_rounds_and_reads_variables() -> None:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM([tag_reply(x0=2), tag_reply(x0=3)])
    optimizer = OPROv2([x], llm=llm)
    run(optimizer, x, "more", "even more")
    system, user = texts(llm)
    assert x.data == 3 and optimizer.memory_size == 5
    assert "<round 1>" in user and "more" in user and user.endswith("Your response:") and "x0" in user
    assert "# Problem Context" not in system and "Problem Context" in system and "<solution name" in system
    assert "{" not in system + user and "add" not in user


def test_opro_v2_symbols_and_example() -> None:
    class Own(OPROPromptSymbolSet):
        variable_tag = "draft"

    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM([tag_reply(x0=2)])
    optimizer = OPROv2([x], llm=llm, optimizer_prompt_symbol_set=Own(), include_example=True, memory_size=0)
    assert set(optimizer.prompt_symbols) == {"variables", "feedback", "instruction"}
    run(optimizer, x, "more")
    _, user = texts(llm)
    assert user.count('<draft name="') == 2 and "price0" in user and "<round" not in user
    assert optimizer.summary_log and isinstance(optimizer.summary_log[0]["problem_instance"], ProblemInstance)
    assert "# Problem Context" in repr(optimizer.summary_log[0]["problem_instance"])
