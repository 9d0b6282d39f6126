"""Buffers, text helpers, saved state, prompt texts, values at bounded length."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.cost import estimate_tokens
from opto.errors import LoadError
from opto.optimizers import OptoPrime
from opto.optimizers.buffers import FIFOBuffer
from opto.optimizers.formats.texts import PromptText, prompt_text
from opto.optimizers.optimizer import Update
from opto.optimizers.state import decode, encode, read_state
from opto.optimizers.utils import (
    extract_first_top_level_block,
    extract_reasoning_and_remainder,
    extract_top_level_blocks,
    print_color,
    strip_nested_blocks,
    truncate_expression,
)
from opto.show import cut_middle, fenced, show
from opto.trace import node


def test_buffer_of_size_zero_keeps_nothing() -> None:
    memory = FIFOBuffer(0)
    memory.add(1)
    assert len(memory) == 0 and list(memory) == [] and memory.buffer == []


def test_blocks() -> None:
    text = "a<t>1<t>2</t></t>b<t>3</t>c</t><t>open"
    assert extract_top_level_blocks(text, "t") == ["1<t>2</t>", "3"]
    assert extract_first_top_level_block("none", "t") is None
    assert strip_nested_blocks(text, "t") == "abc</t><t>open"
    assert extract_reasoning_and_remainder("x<reasoning> r ") == (" r ", "")
    assert extract_reasoning_and_remainder("<reasoning> r </reasoning>y") == ("r", "y")


@given(st.text(max_size=300), st.integers(20, 200))
def test_cut_middle_is_bounded_and_keeps_both_ends(text: str, limit: int) -> None:
    cut = cut_middle(text, limit)
    assert len(cut) <= max(limit, 16)
    assert cut == text or (text.startswith(cut[0]) and text.endswith(cut[-1]))


def test_truncate_expression() -> None:
    assert truncate_expression([1, 2], 3) == "[1,...(skipped due to length limit)"
    assert truncate_expression("abc", 3) == "abc"


def test_print_color(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    print_color("plain", "red")
    assert capsys.readouterr().out == "plain\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_color("coloured", "red")
    assert capsys.readouterr().out == "\033[31mcoloured\033[0m\n"
    with caplog.at_level(logging.INFO):
        print_color("logged", logger=logging.getLogger("x"))
    assert "logged" in caplog.text


class Awkward:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Plain:
    pass


def test_show_never_fails_and_hides_addresses() -> None:
    assert "0x" not in show(Plain(), 80) and "Plain" in show(Plain(), 80)
    assert "Awkward" in show(Awkward(), 80)
    assert len(show(list(range(10**6)), 100)) <= 110
    assert len(show({i: "x" * 100 for i in range(1000)}, 100)) <= 110
    assert show(10**5000, 100)
    assert show(None, 5) == "None" and show("ä\n", 9) == "'ä\\n'"


def test_show_of_a_text_does_not_read_all_of_it() -> None:
    assert "cut]…" in show("a" * 10**6, 56)


def test_estimate_and_fence() -> None:
    assert estimate_tokens("ää\ud800") >= 2
    assert fenced("a ``` b").startswith("````\n")


def test_prompt_text_can_be_overridden_by_an_instance() -> None:
    class Thing:
        text = PromptText("classic_final")

    thing: Any = Thing()
    assert Thing.text == thing.text == prompt_text("classic_final") == "Your response:"
    thing.text = "mine"
    assert thing.text == "mine"


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@given(plain)
def test_decode_of_encode_is_identity(value: Any) -> None:
    assert decode(json.loads(json.dumps(encode(value)))) == value


def test_state_keeps_memory_and_texts_of_strangers() -> None:
    memory = FIFOBuffer(2)
    memory.add(({"x": (1, None)}, "fb"))
    again = decode(encode(memory))
    assert list(again) == list(memory) and again.size == 2
    assert decode(encode({"$": 1})) == {"$": 1}
    assert decode(encode(Plain())).startswith("<")


@pytest.mark.parametrize(
    "body",
    [
        b"\x80\x04not json",
        b"[]",
        b'{"format": "other"}',
        b'{"format": "opto-optimizer", "state": {"a": {"$": "run"}}}',
        b'{"format": "opto-optimizer", "state": {"a": {"$": "memory"}}}',
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(body)
    with pytest.raises(LoadError):
        read_state(path, ["a"])


def test_update_is_a_dict() -> None:
    update = Update(refused={"x0": "why"}, reason="because", reasoning="r")
    assert update == {} and not update and update.refused == {"x0": "why"} and update.reasoning == "r"


class Reply:
    def __init__(self, text: Any, usage: Any = None) -> None:
        message = type("M", (), {"content": text})
        self.choices = [type("C", (), {"message": message})]
        self.usage = usage


def test_the_calls_of_a_step_are_counted() -> None:
    replies = iter([Reply("a", {"prompt_tokens": 5, "completion_tokens": 2}), Reply(None)])

    def llm(**options: Any) -> Any:
        return next(replies)

    optimizer = OptoPrime([node(1, trainable=True)], llm=llm)
    assert optimizer._ask([]) == "a" and optimizer.spent.prompt_tokens == 5 and optimizer.spent.completion_tokens == 2
    assert optimizer._ask([]) == "" and optimizer.spent.calls == 2
    assert optimizer.spent.prompt_tokens is None, "one of the calls was not counted"
    assert optimizer.spent.seconds >= 0
