"""The law of all optimizers: one that was saved and loaded goes on as if nothing had happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opto.llm.fakes import DummyLLM
from opto.optimizers import (
    OPRO,
    OPROv2,
    OptoPrime,
    OptoprimeBatchOpt,
    OptoPrimeMulti,
    OptoPrimeMultiV2,
    OptoPrimeV1,
    OptoPrimeV2,
    TextGrad,
)
from opto.trace.nodes import GRAPH, node

JSON = '{"why": "w", "reasoning": "r", "suggestion": {"x0": %d}}'
TAGS = "<reasoning>r</reasoning><variable><name>x0</name><value>%d</value></variable>"
EDIT = "<IMPROVED_VARIABLE>%d</IMPROVED_VARIABLE>"
CASES = {
    "lean": (OptoPrime, JSON, {"memory_size": 2, "max_prompt_tokens": 700}),
    "lean tags": (OptoPrime, TAGS, {"memory_size": 2, "reply": "text"}),
    "lean, classic by its keys": (OptoPrime, JSON, {"json_keys": {"reasoning": "why"}, "memory_size": 1}),
    "v1": (OptoPrimeV1, JSON, {"memory_size": 2, "json_keys": {"answer": None}, "highlight_variables": True}),
    "v1 symbols": (OptoPrimeV1, JSON, {"prompt_symbols": {"variables": "#Parameters"}, "include_example": True}),
    "v2": (OptoPrimeV2, TAGS, {"memory_size": 2, "initial_var_char_limit": 9, "objective": "Shorter."}),
    "opro": (OPRO, JSON, {}),
    "oprov2": (OPROv2, TAGS, {"memory_size": 3}),
    "multi": (OptoPrimeMulti, JSON, {"generation_technique": "self_refinement", "num_responses": 2}),
    "multi v2": (OptoPrimeMultiV2, TAGS, {"generation_technique": "multi_experts", "experts_list": ["a cook"]}),
    "textgrad": (TextGrad, EDIT, {"memory_size": 2, "max_tokens": 99}),
    "batch": (OptoprimeBatchOpt, JSON, {"ignore_extraction_error": False}),
}


class World:
    """A parameter, an optimizer of it and everything that its model was asked."""

    def __init__(self, cls: Any, form: str, options: dict[str, Any]) -> None:
        GRAPH.clear()
        self.asked: list[Any] = []
        self.form = form
        self.x = node(1, name="x", trainable=True, description="a whole number")
        self.optimizer = cls([self.x], llm=DummyLLM(self.answer), **options)
        self.optimizer.set_context("Numbers are small.")

    def answer(self, messages: Any, **options: Any) -> str:
        self.asked.append((messages, options))
        return self.form % (self.x.data + 1)

    def step(self, feedback: str) -> dict[str, Any]:
        self.optimizer.zero_feedback()
        self.optimizer.backward(self.x + 1, feedback)
        return {p.name: value for p, value in self.optimizer.step().items()}


@pytest.mark.parametrize("case", CASES)
def test_saved_and_loaded_it_continues_identically(case: str, tmp_path: Path) -> None:
    cls, form, options = CASES[case]
    first = World(cls, form, options)
    for i in range(3):
        assert first.step(f"more {i}") == {"x:0": i + 2}
    first.optimizer.save(tmp_path / "state.json")
    json.loads((tmp_path / "state.json").read_text())
    reached, before = first.x.data, len(first.asked)
    counted = GRAPH.count("add")
    expected = [first.step("still more"), first.step("nearly")]

    second = World(cls, form, {})  # built without the options: the file brings them
    second.x._data = reached
    for _ in range(counted):
        _ = second.x + 1
    second.optimizer.load(tmp_path / "state.json")
    assert second.optimizer.parameters == [second.x] and second.optimizer.parameters[0] is second.x
    assert [second.step("still more"), second.step("nearly")] == expected
    assert [text(asked) for asked in second.asked] == [text(asked) for asked in first.asked[before:]]


def text(asked: Any) -> str:
    """A request; what numbers the hidden nodes have is nobody's concern."""
    return json.dumps(asked, sort_keys=True, default=str)


def test_a_batch_needs_no_optimizer_of_its_own() -> None:
    GRAPH.clear()
    x = node(1, name="x", trainable=True)
    prompts: list[str] = []

    def answer(messages: Any, **options: Any) -> str:
        prompts.append(messages[1]["content"])
        return JSON % 5

    optimizer = OptoprimeBatchOpt([x], llm=DummyLLM(answer))
    for i in range(3):
        optimizer.backward(x + i, f"feedback {i}")
    assert optimizer.step() == {x: 5} and len(prompts) == 1
    assert all(f"feedback {i}" in prompts[0] for i in range(3))


def test_candidate_sets_speak_the_format_of_the_second_version() -> None:
    world = World(OptoPrimeMultiV2, TAGS, {"selection_technique": "best_of_n"})
    assert world.step("more") == {"x:0": 2}
    assert len(world.asked) == 4 == world.optimizer.spent.calls, "three candidates and the choice"
    assert '<variable name="x0" type="int">' in world.asked[0][0][1]["content"]
    assert all(options["response_format"] is None for _, options in world.asked)
    picked = World(OptoPrimeMultiV2, TAGS, {"selector": lambda candidates: {"x0": len(candidates) * 10}})
    assert picked.step("more") == {"x:0": 30}
