"""What a user pays for is counted, kept and given, in the cases where that is easily forgotten."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opto.errors import BudgetExceeded, LLMError, LLMRateLimitError, LLMRequestError, LLMServerError, LoadError
from opto.llm import (
    Budget,
    CachedLLM,
    Clock,
    DummyLLM,
    Metered,
    OpenAICompatible,
    Pace,
    Paced,
    RecordLLM,
    ReplayLLM,
    Response,
    Retry,
    RetryPolicy,
    ScriptedLLM,
    SQLiteStore,
    Usage,
    Wire,
    identity_of,
)
from opto.llm.wrappers.estimates import prompt_token_bound

ASK = [{"role": "user", "content": "hi"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "π"}'}}


def events(*data: str) -> Any:
    def behave(handler: Any) -> None:
        body = "".join(f"data: {event}\n\n" for event in data).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def delta(finish: str | None = None, **fields: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


# --- the bound ---


def test_a_stream_that_the_server_breaks_off_stays_paid_at_its_bound(server: Any) -> None:
    server.script = [events(delta(content="half"), '{"error": {"message": "overloaded"}}')]
    budget = Budget(tokens=10_000)
    stream: Any = budget.wrap(OpenAICompatible(server.url, "m"))(ASK, stream=True, max_tokens=500)
    with pytest.raises(LLMServerError, match="overloaded"):
        list(stream)
    assert budget._counted.tokens == prompt_token_bound(ASK, {}) + 500 and budget.spent.uncounted == 1


def test_several_answers_without_a_limit_may_each_fill_the_window() -> None:
    llm = Budget(tokens=20_000).wrap(ScriptedLLM(["a", "b"]))
    assert llm(ASK).text == "a"
    with pytest.raises(BudgetExceeded, match=str(3 * 8192 + prompt_token_bound(ASK, {}))):
        llm(ASK, n=3)


def test_calls_of_tools_in_the_past_are_part_of_the_prompt() -> None:
    past = [{"role": "assistant", "content": None, "tool_calls": [{**CALL, "function": {"arguments": "x" * 5000}}]}]
    assert prompt_token_bound(past, {}) > 5000


def test_a_model_named_by_a_call_is_paid_at_its_own_price() -> None:
    usage = Usage(1_000_000, 0)
    inner = ScriptedLLM([Response.of("a", usage=usage)] * 2)
    budget = Budget(money=100, prices={"scripted": (1, 1), "dear": (50, 50)})
    meter = Metered(inner, prices=budget.prices)
    llm = budget.wrap(meter)
    llm(ASK, max_tokens=1)
    assert budget.spent.money == meter.spent.money == 1
    llm(ASK, max_tokens=1, model="dear")
    assert budget.spent.money == meter.spent.money == 51
    with pytest.raises(LLMError, match="price of 'unheard'"):
        llm(ASK, model="unheard")


# --- seconds ---


def test_no_call_is_sent_after_a_wait_for_which_there_is_no_time() -> None:
    waits = list[float]()
    budget = Budget(seconds=10)
    budget.clock = lambda: 0.0
    inner = ScriptedLLM([LLMRateLimitError("slow down", 30.0), "late"])
    with pytest.raises(BudgetExceeded, match="10 seconds"):
        budget.wrap(Retry(inner, RetryPolicy(now=waits.append)))(ASK)
    paced = budget.wrap(Paced(DummyLLM(lambda messages: "a"), Pace(requests=1, clock=Clock(lambda: 0.0, waits.append))))
    paced(ASK)
    with pytest.raises(BudgetExceeded, match="10 seconds"):
        paced(ASK)
    assert not waits and len(inner.calls) == 1 and budget.spent.calls == 2


def test_a_wait_for_which_there_is_time_is_waited() -> None:
    waits = list[float]()
    budget = Budget(seconds=60)
    llm = budget.wrap(Retry(ScriptedLLM([LLMRateLimitError("slow down", 30.0), "a"]), RetryPolicy(now=waits.append)))
    assert llm(ASK).text == "a" and waits == [30.0] and budget.spent.calls == 2


# --- tools and refusals ---


def test_calls_of_tools_and_refusals_arrive_and_are_kept(server: Any, wire: Any, tmp_path: Path) -> None:
    said = {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": "I would rather not."}
    body = {"choices": [{"message": said, "finish_reason": "tool_calls"}]}
    server.script = [wire.send(json.dumps(body).encode())]
    store = SQLiteStore(tmp_path / "a.db")
    llm = CachedLLM(RecordLLM(OpenAICompatible(server.url, "m"), tmp_path / "r.jsonl"), store)
    first = llm(ASK, tools=[{"type": "function"}])
    again = llm(ASK, tools=[{"type": "function"}])
    replayed = ReplayLLM(tmp_path / "r.jsonl")(ASK, tools=[{"type": "function"}])
    for response in (first, again, replayed):
        message = response.choices[0].message
        assert (message.content, message.tool_calls, message.refusal) == ("", (CALL,), "I would rather not.")
    assert len(server.requests) == 1
    llm.close()


def test_calls_of_tools_are_put_together_from_a_stream(server: Any) -> None:
    text = CALL["function"]["arguments"]  # type: ignore[index]
    pieces = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}},
        {"index": 0, "id": None, "type": "", "function": {"arguments": text[:4]}},
        {"index": 0, "function": {"arguments": text[4:]}},
        {"index": 1, "id": "c2", "function": "nonsense"},
    ]
    server.script = [events(*(delta(tool_calls=[piece]) for piece in pieces), delta("tool_calls"), "[DONE]")]
    llm = CachedLLM(OpenAICompatible(server.url, "m"))
    stream: Any = llm(ASK, stream=True)
    list(stream)
    assert stream.whole.choices[0].message.tool_calls[0] == CALL
    kept: Any = llm(ASK, stream=True)
    (chunk,) = kept
    assert chunk.choices[0].delta.tool_calls == stream.whole.choices[0].message.tool_calls
    assert kept.whole == stream.whole and len(server.requests) == 1


def test_calls_of_tools_of_other_libraries_are_kept_or_the_reply_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def foreign(call: Any) -> Any:
        message = SimpleNamespace(content=None, role="assistant", tool_calls=[call])
        return SimpleNamespace(choices=[SimpleNamespace(message=message)])

    store = SQLiteStore(tmp_path / "a.db")
    store.put("knows", foreign(SimpleNamespace(model_dump=lambda: CALL)))
    kept = store.get("knows")
    assert kept is not None and kept.choices[0].message.tool_calls == (CALL,)
    strange = DummyLLM(lambda messages: foreign(object()))
    with caplog.at_level(logging.WARNING):
        store.put("strange", strange(messages=ASK))
        RecordLLM(strange, tmp_path / "r.jsonl")(ASK)
    assert store.get("strange") is None and caplog.text.count("not the shape") == 2
    store.close()


# --- what a server says ---


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ({"code": 429, "message": "slow down"}, LLMRateLimitError, "slow down"),
        ({"code": 502, "message": "upstream"}, LLMServerError, "upstream"),
        ({"code": 400, "message": "too long sk-secret"}, LLMRequestError, "too long"),
        ({"code": "odd", "message": "broken"}, LLMServerError, "broken"),
        ("plain words", LLMServerError, "plain words"),
    ],
)
def test_an_error_under_status_200_has_its_kind(server: Any, wire: Any, error: Any, kind: Any, words: str) -> None:
    server.script = [wire.send(json.dumps({"error": error}).encode())]
    with pytest.raises(kind, match=words) as caught:
        OpenAICompatible(server.url, "m", api_key="sk-secret")(ASK)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("detail", ["too long", [{"loc": ["body"], "msg": "too long"}]])
def test_a_refusal_is_shown_wherever_the_server_puts_it(server: Any, wire: Any, detail: Any) -> None:
    server.script = [wire.send(json.dumps({"detail": detail}).encode(), 422)]
    with pytest.raises(LLMRequestError, match="too long"):
        OpenAICompatible(server.url, "m")(ASK)


# --- which request is the same ---


def test_ways_that_end_elsewhere_are_other_models_and_say_no_secret() -> None:
    url = "http://127.0.0.1:1/v1"
    ways = [
        OpenAICompatible(url, "m"),
        OpenAICompatible(f"{url}?route=a", "m"),
        OpenAICompatible(f"{url}?route=b", "m"),
        OpenAICompatible(url, "m", wire=Wire(headers={"x-provider": "sk-secret"})),
        OpenAICompatible(url, "m", wire=Wire(query={"api-version": "sk-secret"})),
        OpenAICompatible(url, "m", defaults={"extra_headers": {"x-provider": "sk-secret"}}),
    ]
    names = [identity_of(llm) for llm in ways]
    assert len(set(names)) == len(names) and "secret" not in "".join(names) and "route" not in "".join(names)


def test_a_newer_recording_is_not_misread(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"model": "m", "profile": {"name": "m"}, "format": 2}\n', encoding="utf-8")
    with pytest.raises(LoadError, match="format 2"):
        ReplayLLM(path)


def test_a_model_lives_through_one_loop_after_the_other(server: Any) -> None:
    llm = CachedLLM(Retry(Budget(calls=3).wrap(OpenAICompatible(server.url, "m"))))

    async def ask(k: int) -> str:
        return (await llm.acall([{"role": "user", "content": str(k)}])).text

    assert [asyncio.run(ask(k)) for k in range(3)] == ["hello"] * 3
    assert llm([{"role": "user", "content": "0"}]).text == "hello" and len(server.requests) == 3
