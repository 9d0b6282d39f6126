"""What a call may say about its way: key, address, headers, extra fields, patience. None of it strays into the body."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import httpx2
import pytest

from opto.errors import LLMConfigError, LLMRateLimitError, LLMServerError, LLMTimeoutError
from opto.llm import (
    LLM,
    CachedLLM,
    Clock,
    MemoryStore,
    OpenAICompatible,
    Pace,
    Paced,
    Retry,
    RetryPolicy,
    ScriptedLLM,
    Wire,
)
from opto.llm.backends.retry_by_words import retry_with_exponential_backoff
from opto.llm.transport.failures import from_exception
from opto.utils.llm import LiteLLM, LLMFactory

ASK = [{"role": "user", "content": "hi"}]
KEY = "sk-very-secret"


def both(llm: LLM, **options: Any) -> None:
    llm(ASK, **options)
    asyncio.run(llm.acall(ASK, **options))


def test_a_key_given_with_a_call_is_used_and_is_not_in_the_body(server: Any) -> None:
    both(OpenAICompatible(server.url, "m", api_key="other"), api_key=KEY, max_retries=3, azure_ad_token="t")
    for _, headers, body in server.requests:
        assert headers["authorization"] == f"Bearer {KEY}"
        assert set(body) == {"model", "messages"}


def test_a_model_constructed_with_key_and_address_uses_both(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # as without litellm
    llm = LiteLLM("gpt-4o").with_defaults({"api_key": KEY, "base_url": server.url, "temperature": 0})
    llm(messages=ASK)
    LLMFactory.register_profile("mine", "LiteLLM", model="gpt-4o", api_key=KEY, api_base=server.url)
    LLMFactory.get_llm("mine")(messages=ASK)
    assert [headers["authorization"] for _, headers, _ in server.requests] == [f"Bearer {KEY}"] * 2
    assert [set(body) - {"model", "messages"} for _, _, body in server.requests] == [{"temperature"}, set()]
    assert KEY not in llm.identity


def test_extra_headers_and_fields_go_where_they_belong(server: Any) -> None:
    wire = Wire(headers={"User-Agent": "mine", "X-Team": "a"})
    llm = OpenAICompatible(server.url, "m", wire=wire)
    both(llm, extra_headers={"X-Team": "b"}, extra_body={"guided_choice": ["x"]})
    for _, headers, body in server.requests:
        assert (headers["user-agent"], headers["x-team"]) == ("mine", "b")
        assert body["guided_choice"] == ["x"] and not {"extra_headers", "extra_body"} & set(body)


@pytest.mark.parametrize("value", [f"{KEY}\n", f" {KEY}", f"{KEY}é", f"{KEY}\0", 7])
def test_a_header_that_none_can_carry_is_not_quoted(value: Any) -> None:
    for llm, options in (
        (OpenAICompatible("http://127.0.0.1:1/v1", "m", wire=Wire(headers={"X-Key": value})), {}),
        (OpenAICompatible("http://127.0.0.1:1/v1", "m"), {"extra_headers": {"X-Key": value}}),
    ):
        with pytest.raises(LLMConfigError) as caught:
            llm(ASK, **options)
        assert KEY not in str(caught.value)


def test_another_address_or_field_is_another_request_to_the_cache(server: Any) -> None:
    llm = CachedLLM(OpenAICompatible(server.url, "m"), MemoryStore())
    for options in ({}, {"base_url": f"{server.url}/"}, {"extra_body": {"a": 1}}, {"extra_headers": {"X-A": "1"}}):
        llm(ASK, **options)
        llm(ASK, **options, api_key=KEY)
    assert len(server.requests) == 4


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_senseless_timeout_is_refused(seconds: float) -> None:
    with pytest.raises(LLMConfigError, match="above zero"):
        OpenAICompatible("http://127.0.0.1:1/v1", "m")(ASK, timeout=seconds)


@pytest.mark.parametrize("seconds", [1e12, float("inf")])
def test_a_call_may_take_for_ever(server: Any, seconds: float) -> None:
    both(OpenAICompatible(server.url, "m", timeout=seconds))
    assert len(server.requests) == 2


def test_defaults_may_hold_a_timeout(server: Any) -> None:
    server.script = [server.stall]
    with pytest.raises(LLMTimeoutError):
        OpenAICompatible(server.url, "m", defaults={"timeout": 0.05})(ASK)


def test_who_takes_no_connection_costs_nothing_and_is_called_so() -> None:
    error = from_exception(httpx2.ConnectTimeout("late"), "http://10.0.0.1/v1", 120)
    assert isinstance(error, LLMTimeoutError) and not error.sent and "connection" in str(error)
    assert "120" not in str(error)


# --- what a server wishes ---


def test_a_busy_server_may_say_how_long(server: Any, wire: Any) -> None:
    server.script = [wire.fail(503, Retry_After="7"), wire.say("yes")]
    waits = list[float]()
    assert Retry(OpenAICompatible(server.url, "m"), RetryPolicy(now=waits.append))(ASK).text == "yes"
    assert waits == [7]


def test_a_wish_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(LLMServerError("busy", 7)))
    assert error.retry_after == 7 and str(error) == "busy"


def test_a_wish_for_days_is_raised_and_stops_nobody_else() -> None:
    waits = list[float]()
    pace = Pace(requests=100, clock=Clock(read=lambda: 0.0, now=waits.append))
    llm = Paced(ScriptedLLM([LLMRateLimitError("tomorrow", 86400.0), "fine"]), pace)
    with pytest.raises(LLMRateLimitError):
        Retry(llm)(ASK)
    assert llm(ASK).text == "fine" and waits == [60.0]


def test_old_retrying_does_not_wait_for_days() -> None:
    def tomorrow() -> None:
        raise LLMRateLimitError("tomorrow", 86400.0)

    with pytest.raises(LLMRateLimitError):
        retry_with_exponential_backoff(tomorrow)
