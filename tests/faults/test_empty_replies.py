"""Kind 4: why a reply holds nothing is said, and a reply that something cut is not believed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fault_cases import J, case, response, step_on

from opto.llm import DummyLLM, OpenAICompatible
from opto.optimizers import OPRO, OptoPrime, OptoPrimeV1, OptoPrimeV2, TextGrad
from opto.trace import node

TOOL_CALL = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        case("refusal", response("", refusal="I cannot help with that."), "refus"),
        case("words of a refusal", response("", refusal="Not allowed by policy 7."), "policy 7"),
        case("tool call", response("", "tool_calls", tool_calls=(TOOL_CALL,)), "tool"),
        case("name of the tool", response("", "tool_calls", tool_calls=(TOOL_CALL,)), "search"),
        case("content filter", response("", "content_filter"), "filter"),
        case("limit", response("", "length"), "limit"),
        case("limit within thoughts", response("<think>I wonder", "length"), "limit"),
        case("nothing at all", response("", "stop"), "empty"),
        case("blanks", response(" \n ", "stop"), "empty"),
        case("no reason", response("", None), "empty"),
    ],
)
def test_kind_04_an_empty_reply_says_why(reply: Any, word: str) -> None:
    found = step_on(reply)
    assert found.value == "A" and word in found.update.reason


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        case("whole JSON, filtered", J("B"), "content_filter"),
        case("part of JSON, filtered", J("B")[:-3], "content_filter"),
        case("line, filtered", "p0: B", "content_filter"),
        case("tags, filtered", "<variable><name>p0</name><value>B</value></variable>", "content_filter"),
        case("fence, filtered", "```\nB\n```", "content_filter"),
        case("line, at the limit", "p0: B", "length"),
        case("part of JSON, at the limit", '{"suggestion": {"p0": "B', "length"),
        case("part of a tag, at the limit", "<variable><name>p0</name><value>B", "length"),
    ],
)
def test_kind_04_what_was_cut_is_not_believed(text: str, finish: str) -> None:
    found = step_on(response(text, finish))
    assert found.value == "A" and ("filter" if finish == "content_filter" else "cut") in found.said


@pytest.mark.parametrize("optimizer", [case("V1", OptoPrimeV1), case("V2", OptoPrimeV2)])
def test_kind_04_the_classic_formats_say_why_too(optimizer: Any) -> None:
    assert "refus" in step_on(response("", refusal="I cannot."), optimizer=optimizer).update.reason


THOUGHTS = {"type": "thinking", "thinking": [{"type": "text", "text": J("draft")}]}  # of Magistral


def answer(content: Any) -> Any:
    """What a model of the user's own answers."""
    return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=content), finish_reason="stop")])


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        case("one part", [{"type": "text", "text": J("B")}], "B"),
        case("two parts", [{"type": "text", "text": J("B")[:9]}, {"type": "text", "text": J("B")[9:]}], "B"),
        case(
            "thoughts and text",
            [{"type": "thinking", "thinking": J("draft")}, {"type": "text", "text": J("B")}],
            "B",
        ),
        case("reasoning and text", [{"type": "reasoning", "text": J("draft")}, {"type": "text", "text": J("B")}], "B"),
        case("objects", [SimpleNamespace(type="text", text=J("B"))], "B"),
        case("tuple", ({"type": "text", "text": J("B")},), "B"),
        case("output text", [{"type": "output_text", "text": J("B")}], "B"),
        case("texts", [J("B")], "B"),
        case("two lines", [{"type": "text", "text": J("B\nC")}], "B\nC"),
        case("quotes", [{"type": "text", "text": J('it\'s "B"')}], 'it\'s "B"'),
    ],
)
def test_kind_04_content_may_be_a_list_of_parts(content: Any, wanted: str) -> None:
    p = node("A", name="p", trainable=True)
    optimizer = OptoPrime([p], llm=DummyLLM(lambda messages, **options: answer(content)))
    optimizer.zero_feedback()
    optimizer.backward(p + "", "no")
    optimizer.step()
    assert p.data == wanted


@pytest.mark.parametrize("optimizer", [case("V1", OptoPrimeV1), case("V2", OptoPrimeV2), case("OPRO", OPRO)])
def test_kind_04_parts_in_the_classic_formats(optimizer: Any) -> None:
    p = node("A", name="p", trainable=True)
    parts = [{"type": "text", "text": J('it\'s "B"')}]
    asking = optimizer([p], llm=DummyLLM(lambda messages, **options: answer(parts)))
    asking.zero_feedback()
    asking.backward(p + "", "no")
    asking.step()
    assert p.data == 'it\'s "B"'


def test_kind_04_parts_for_textgrad() -> None:
    p = node("A", name="p", trainable=True)
    parts = [{"type": "text", "text": "<IMPROVED_VARIABLE>B</IMPROVED_VARIABLE>"}]
    asking = TextGrad([p], llm=DummyLLM(lambda *messages, **options: answer(parts)))
    asking.zero_feedback()
    asking.backward(p + "", "no")
    asking.step()
    assert p.data == "B"


@pytest.mark.parametrize(
    ("message", "finish", "word"),
    [
        case("refusal of a server", {"content": None, "refusal": "I cannot."}, "stop", "refus"),
        case("tool call of a server", {"content": None, "tool_calls": [TOOL_CALL]}, "tool_calls", "tool"),
        case("filter of a server", {"content": None}, "content_filter", "filter"),
        case("limit of a server", {"content": None}, "length", "limit"),
        case("thoughts only", {"content": None, "reasoning_content": "I wonder"}, "length", "limit"),
        case("filter after the text", {"content": J("B")}, "content_filter", "filter"),
    ],
)
def test_kind_04_servers_say_why(chat_server: Any, message: dict[str, Any], finish: str, word: str) -> None:
    chat_server.message, chat_server.finish_reason = message, finish
    p = node("A", name="p", trainable=True)
    optimizer = OptoPrime([p], llm=OpenAICompatible(chat_server.url, "m"))
    optimizer.zero_feedback()
    optimizer.backward(p + "", "no")
    update = optimizer.step()
    assert p.data == "A" and word in update.reason


@pytest.mark.parametrize(
    "content",
    [
        case("parts of a server", [{"type": "text", "text": J("B")}]),
        case("thoughts of a server", [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": J("B")}]),
        case("magistral's", [THOUGHTS, {"type": "text", "text": J("B")}]),
        case("text of a server", J("B")),
    ],
)  # fmt: skip
def test_kind_04_a_server_may_answer_in_parts(chat_server: Any, content: Any) -> None:
    chat_server.reply = content
    p = node("A", name="p", trainable=True)
    optimizer = OptoPrime([p], llm=OpenAICompatible(chat_server.url, "m"))
    optimizer.zero_feedback()
    optimizer.backward(p + "", "no")
    optimizer.step()
    assert p.data == "B", json.dumps(content)
