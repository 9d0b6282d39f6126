"""Kinds 9 and 10: what a server refuses is learnt once, and a stream goes on past what is not understood."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from fault_cases import case, listed

from opto.errors import LLMError
from opto.events import Event, listen
from opto.llm import OpenAICompatible
from opto.optimizers import OptoPrime, OptoPrimeMulti, OptoPrimeV1, OptoPrimeV2
from opto.trace import node

Refusal = Callable[[dict[str, Any]], tuple[int, str] | None]


def when(applies: Callable[[dict[str, Any]], Any], message: str, status: int = 400) -> Refusal:
    return lambda body: (status, message) if applies(body) else None


def has_system(body: dict[str, Any]) -> bool:
    return any(message["role"] == "system" for message in body["messages"])


def warm(body: dict[str, Any]) -> bool:
    return body.get("temperature") not in (None, 1, 1.0)


RENAMED = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
OLD_NAME = "Unrecognized request argument supplied: max_completion_tokens. Use max_tokens."
COLD = "Unsupported value: 'temperature' does not support 0.4 with this model. Only the default (1) value is supported."
NO_SYSTEM = "System role not supported"
NO_FORMAT = "Invalid parameter: 'response_format' of type 'json_object' is not supported with this model."
REFUSALS: dict[str, Refusal] = {
    "limit renamed": when(lambda body: "max_tokens" in body, RENAMED),
    "response_format": when(lambda body: "response_format" in body, NO_FORMAT),
    "system text": when(has_system, NO_SYSTEM),
    "temperature": when(warm, COLD),
}
VARIANTS: dict[str, Refusal] = {
    "limit unknown, 422": when(lambda b: "max_tokens" in b, "max_tokens: extra field, use max_completion_tokens", 422),
    "response_format, 500": when(lambda body: "response_format" in body, "internal error: response_format", 500),
    "response_format, 500 without words": when(lambda body: "response_format" in body, "Internal Server Error", 500),
    "response_format, 422": when(lambda body: "response_format" in body, "Extra inputs: response_format", 422),
    "response_format, 501": when(lambda body: "response_format" in body, "json mode is not implemented", 501),
    "system in a template": when(has_system, "Error rendering prompt: System role not supported in this template", 500),
    "system by another name": when(has_system, "Invalid value: 'system'. Supported: 'user', 'assistant'."),
    "system, 422": when(has_system, "Input should be 'user' or 'assistant': messages[0].role = 'system'", 422),
    "developer instructions": when(has_system, "Developer instruction is not enabled for models/gemma-3-27b-it"),
    "limit too high": when(lambda b: (b.get("max_tokens") or 0) > 1000, "max_tokens is too large: 4096, at most 1000."),
}  # fmt: skip


def stepped(server: Any, model: str = "m", optimizer: Any = OptoPrime, llm: Any = None, **options: Any) -> Any:
    """The parameter after a step that the server answered."""
    p = node("A", name="p", trainable=True)
    server.reply = json.dumps({"suggestion": {p.py_name: "B"}})
    asking = optimizer([p], llm=llm or OpenAICompatible(server.url, model, api_key="sk-of-the-test"), **options)
    asking.zero_feedback()
    asking.backward(p + "!", "no")
    asking.step()
    return p


@pytest.mark.parametrize("name", [
    case("renamed for a known model", "gpt-5"),
    case("renamed for a path of it", "openai/gpt-5"),
    case("renamed for a fine-tune", "ft:gpt-5:my-org:bot:7p4lURel"),
    case("renamed for a deployment", "prod-o3"),
    case("renamed for a dated name", "o3-2025-04-16"),
    case("renamed for a name that says nothing", "assistant"),
    case("renamed for a name in capitals", "GPT-5-Mini"),
])  # fmt: skip
def test_kind_09_the_limit_is_renamed_whatever_the_model_is_called(chat_server: Any, name: str) -> None:
    chat_server.refusals = [REFUSALS["limit renamed"]]
    assert stepped(chat_server, name).data == "B"
    body = chat_server.asked[-1][2]
    assert body["max_completion_tokens"] and "max_tokens" not in body


def test_kind_09_a_name_that_looks_new_on_an_old_server(chat_server: Any) -> None:
    chat_server.refusals = [when(lambda body: "max_completion_tokens" in body, OLD_NAME)]
    assert stepped(chat_server, "o3").data == "B"


@pytest.mark.parametrize("refusal", listed(9, REFUSALS | VARIANTS, set()))
def test_kind_09_a_refused_option_is_learnt(chat_server: Any, refusal: Refusal) -> None:
    chat_server.refusals = [refusal]
    for optimizer in (OptoPrime, OptoPrimeV1, OptoPrimeV2):
        assert stepped(chat_server, optimizer=optimizer).data == "B", optimizer


COMBINATIONS = {
    " + ".join(names): [REFUSALS[name] for name in names]
    for size in (2, 3, 4)
    for names in itertools.combinations(REFUSALS, size)
}


@pytest.mark.parametrize("refusals", listed(9, COMBINATIONS, set()))
def test_kind_09_a_server_that_refuses_several_things(chat_server: Any, refusals: list[Refusal]) -> None:
    chat_server.refusals = refusals
    llm = OpenAICompatible(chat_server.url, "m")
    assert stepped(chat_server, llm=llm).data == "B"
    refused = len(chat_server.refused)
    assert stepped(chat_server, llm=llm).data == "B"
    assert len(chat_server.refused) == refused, "a thing learnt is remembered"


@pytest.mark.parametrize("name", [
    case("limit is remembered", "limit renamed"),
    case("system text is remembered", "system text"),
    case("response_format is remembered", "response_format"),
])  # fmt: skip
def test_kind_09_copies_share_what_was_learnt_and_it_is_said_once(chat_server: Any, name: str) -> None:
    chat_server.refusals = [REFUSALS[name]]
    llm = OpenAICompatible(chat_server.url, "m")
    events: list[Event] = []
    with listen(events.append):
        stepped(chat_server, llm=llm)
        for twin in (llm, copy.copy(llm), copy.deepcopy(llm)):
            stepped(chat_server, llm=twin)
    assert len(chat_server.refused) == 1
    words = {"limit renamed": "max_completion_tokens", "system text": "system", "response_format": "response_format"}
    assert len([event for event in events if words[name] in repr(event)]) == 1


@pytest.mark.parametrize("drawn", [case("several candidates", 4), case("two candidates", 2)])
def test_kind_09_a_model_that_takes_one_temperature_only_may_draw_candidates(chat_server: Any, drawn: int) -> None:
    chat_server.refusals = [REFUSALS["temperature"]]
    p = node("A", name="p", trainable=True)
    optimizer = OptoPrime([p], llm=OpenAICompatible(chat_server.url, "m"))
    optimizer.zero_feedback()
    optimizer.backward(p + "!", "no")
    assert [dict(update) for update in optimizer.propose_many(drawn)] == [{p: "B"}] * drawn


def test_kind_09_several_temperatures_of_another_optimizer(chat_server: Any) -> None:
    chat_server.refusals = [REFUSALS["temperature"]]
    assert stepped(chat_server, optimizer=OptoPrimeMulti).data == "B"


def test_kind_09_the_folded_system_text_is_in_the_question(chat_server: Any) -> None:
    chat_server.refusals = [REFUSALS["system text"]]
    stepped(chat_server)
    refused, taken = chat_server.asked[0][2]["messages"], chat_server.asked[-1][2]["messages"]
    assert refused[0]["content"] in taken[0]["content"] and [m["role"] for m in taken] == ["user"]


@pytest.mark.parametrize("status", [case("400 for another reason", 400), case("404 is no lesson", 404)])
def test_kind_09_what_teaches_nothing_is_an_error_at_once(chat_server: Any, status: int) -> None:
    chat_server.refusals = [when(lambda body: True, "The model is not for you.", status)]
    with pytest.raises(LLMError, match="not for you"):
        OpenAICompatible(chat_server.url, "m")([{"role": "user", "content": "hi"}])
    assert len(chat_server.asked) <= 2


@pytest.mark.parametrize("path", [
    case("full endpoint", "/v1/chat/completions"),
    case("full endpoint with a slash", "/v1/chat/completions/"),
    case("endpoint of old", "/v1/completions"),
    case("endpoint of another kind", "/v1/responses"),
    case("without the version", ""),
    case("with a slash", "/v1/"),
])  # fmt: skip
def test_kind_09_a_wrong_base_url_works_or_is_named(chat_server: Any, path: str) -> None:
    try:
        llm = OpenAICompatible(chat_server.origin + path, "m")
        assert llm([{"role": "user", "content": "hi"}]).text
    except LLMError as error:
        assert f"{chat_server.origin}/v1" in str(error)
    assert not [asked for asked, _, _ in chat_server.asked if asked.count("/chat/completions") > 1]


def data(value: Any) -> str:
    return f"data: {value if isinstance(value, str) else json.dumps(value)}"


def delta(text: str) -> str:
    return data({"choices": [{"index": 0, "delta": {"content": text}}]})


STRANGE = [
    case("choice without delta", data({"choices": [{"index": 0}]})),
    case("delta of null", data({"choices": [{"index": 0, "delta": None}]})),
    case("empty delta", data({"choices": [{"index": 0, "delta": {}}]})),
    case("content of null", data({"choices": [{"index": 0, "delta": {"content": None}}]})),
    case("no choices", data({"choices": []})),
    case("choices of null", data({"choices": None, "usage": None})),
    case("ping", 'event: ping\ndata: {"type": "ping"}'),
    case("ping without an event", data({"type": "ping"})),
    case("comment", ": keep-alive"),
    case("empty object", data({})),
    case("usage", data({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})),
    case("thoughts", data({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]})),
    case(
        "annotations of Azure",
        data({"choices": [{"index": 0, "content_filter_results": {}}]}),
    ),
    case("error of null", data({"choices": [], "error": None})),
    case("role only", data({"choices": [{"index": 0, "delta": {"role": "assistant"}}]})),
    case("a retry line", "retry: 3000"),
    case("an id line", "id: 7"),
    case("empty data", "data:"),
    case("a list", data([])),
    case("choice of null", data({"choices": [None]})),
]


@pytest.mark.parametrize("event", STRANGE)
def test_kind_10_a_stream_goes_on_past_what_is_not_understood(chat_server: Any, event: str) -> None:
    end = data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    llm = OpenAICompatible(chat_server.url, "m")
    for lines in ([event, delta("Hel"), delta("lo")], [delta("Hel"), event, delta("lo")], [delta("Hello"), event]):
        chat_server.stream = [*lines, end, data("[DONE]")]
        chunks: Any = llm([{"role": "user", "content": "hi"}], stream=True)
        assert "".join(chunk.text for chunk in chunks) == "Hello"


@pytest.mark.parametrize(("event", "word"), [
    case("error object", data({"error": {"message": "overloaded", "type": "server_error"}}), "overloaded"),
    case("error text", data({"error": "overloaded"}), "overloaded"),
    case("error event", 'event: error\ndata: {"message": "overloaded"}', "overloaded"),
    case("error of another dialect", data({"type": "error", "error": {"message": "overloaded"}}), "overloaded"),
    case("object of kind error", data({"object": "error", "message": "overloaded", "code": 503}), "overloaded"),
])  # fmt: skip
def test_kind_10_what_is_said_to_be_an_error_is_one(chat_server: Any, event: str, word: str) -> None:
    chat_server.stream = [delta("Hel"), event, data("[DONE]")]
    llm = OpenAICompatible(chat_server.url, "m")
    with pytest.raises(LLMError, match=word):
        list(llm([{"role": "user", "content": "hi"}], stream=True))
