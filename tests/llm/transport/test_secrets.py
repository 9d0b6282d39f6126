"""A key is in the request and nowhere else: no file, no log, no error, no name of a model."""

from __future__ import annotations

import asyncio
import importlib.machinery
import logging
import sys
import traceback
import types
from pathlib import Path
from typing import Any

import pytest

from opto.errors import LLMError, LLMTimeoutError
from opto.llm import (
    Budget,
    CachedLLM,
    OpenAICompatible,
    RecordLLM,
    ReplayLLM,
    Response,
    Retry,
    RetryPolicy,
    ScriptedLLM,
    SQLiteStore,
    Wire,
    identity_of,
)
from opto.llm.backends import LiteLLM

KEY = "sk-a-key-that-nobody-may-read"
ASK = [{"role": "user", "content": "hi"}]
ECHOES = [
    (401, f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}'),
    (500, f"crashed with {KEY}"),
    (302, "moved"),
    (200, f"<html>{KEY}</html>"),
    (200, f'{{"headers": {{"Authorization": "Bearer {KEY}"}}}}'),
    (200, f'{{"choices": "{KEY}"}}'),
    (200, "x" * 40 + KEY),  # would be cut in the middle of the key
]
EVENTS = [f'{{"error": {{"message": "bad key {KEY}"}}}}', f'{{"headers": "{KEY}"}}', KEY]


def told(llm: Any, **options: Any) -> str:
    """All that a user and a log see of a failed call."""
    seen = ""
    for call in (lambda: list(llm(ASK, **options)), lambda: asyncio.run(drain(llm, **options))):
        with pytest.raises(LLMError) as caught:
            call()
        seen += "".join(traceback.format_exception(caught.value))
    return seen


async def drain(llm: Any, **options: Any) -> None:
    answer = await llm.acall(ASK, **options)
    if options.get("stream"):
        async for _ in answer:
            pass


@pytest.mark.parametrize(("status", "body"), ECHOES)
def test_a_server_that_repeats_the_key_is_not_quoted(
    server: Any, wire: Any, status: int, body: str, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    server.script = [wire.send(body.encode(), status, Location=f"http://h/?key={KEY}")]
    llm = Retry(OpenAICompatible(server.url, "m", api_key=KEY), RetryPolicy(attempts=2, now=id, later=later))
    for options in ({}, {"stream": True}):
        text = told(llm, **options)
        assert KEY[:12] not in text and KEY[:12] not in caplog.text
    with pytest.raises(LLMError) as caught:
        OpenAICompatible(server.url, "m", api_key=KEY).embed("text")
    assert KEY[:12] not in "".join(traceback.format_exception(caught.value))


async def later(seconds: float) -> None:
    pass


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_repeats_the_key_is_not_quoted(server: Any, wire: Any, event: str) -> None:
    server.script = [wire.send(f"data: {event}\n\n".encode(), Content_Type="text/event-stream")]
    assert KEY[:12] not in told(OpenAICompatible(server.url, "m", api_key=KEY), stream=True)


def test_a_user_and_password_in_the_address_travel_in_a_header_only(server: Any, wire: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    url = server.url.replace("http://", "http://me:pass%20word@")
    llm = OpenAICompatible(url, "m")
    assert llm(ASK).text == asyncio.run(llm.acall(ASK)).text == "hello"
    assert server.requests[0][1]["authorization"] == server.requests[1][1]["authorization"] == "Basic bWU6cGFzcyB3b3Jk"
    server.script = [wire.fail(500)]
    assert "pass" not in told(llm).replace("passed", "") + caplog.text + repr(llm) + identity_of(llm)
    OpenAICompatible(url, "m", api_key="k", wire=Wire(headers={"x-token": KEY}))
    server.script = [wire.say("fine")]
    OpenAICompatible(url, "m", api_key="k")(ASK)
    assert server.requests[-1][1]["authorization"] == "Bearer k"
    assert KEY not in repr(Wire(headers={"x-token": KEY}, query={"key": KEY}))


def test_files_and_names_hold_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("litellm")
    fake.__spec__ = importlib.machinery.ModuleSpec("litellm", None)
    seen: list[dict[str, Any]] = []
    fake.completion = lambda *args, **options: seen.append(options) or Response.of("fine")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litellm", fake)
    llm = LiteLLM("m").with_defaults({"api_key": KEY, "temperature": 0})
    store = SQLiteStore(tmp_path / "answers.db")
    stack = CachedLLM(RecordLLM(llm, tmp_path / "run.jsonl"), store)
    secrets: dict[str, Any] = {"api_key": KEY, "extra_headers": {"x": KEY}}
    assert stack(ASK, **secrets).text == "fine" and seen[0]["api_key"] == KEY and seen[0]["temperature"] == 0
    store.close()
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert KEY not in identity_of(llm) and "temperature" in identity_of(llm)
    assert ReplayLLM(tmp_path / "run.jsonl")(ASK, api_key="another's").text == "fine"


def test_a_key_or_a_time_limit_is_no_part_of_the_question() -> None:
    llm = CachedLLM(ScriptedLLM(["a", "b"]))
    answers = [
        llm(ASK, **options).text for options in ({}, {"api_key": "1"}, {"timeout": 5}, {"extra_headers": {"v": 2}})
    ]
    assert answers == ["a", "a", "a", "b"], "other headers may ask for another answer"


def test_a_call_that_never_connected_costs_nothing() -> None:
    late = LLMTimeoutError("late")
    late.sent = False
    budget = Budget(calls=1)
    with pytest.raises(LLMTimeoutError):
        budget.wrap(ScriptedLLM([late]))(ASK)
    assert budget.spent.calls == 0
