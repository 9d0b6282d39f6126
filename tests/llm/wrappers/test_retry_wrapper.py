"""Retry goes by the kind of an error and the server's wish, waits as told, and gives up in time."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import (
    LLMAuthError,
    LLMConnectionError,
    LLMError,
    LLMRateLimitError,
    LLMRequestError,
    LLMResponseError,
    LLMServerError,
    LLMTimeoutError,
)
from opto.events import listen
from opto.llm import OpenAICompatible, Retried, Retry, RetryPolicy, ScriptedLLM

ASK = [{"role": "user", "content": "hi"}]


class Waits:
    """A clock that only counts."""

    def __init__(self, **settings: Any) -> None:
        self.seconds: list[float] = []
        self.policy = RetryPolicy(draw=lambda: 1.0, now=self.seconds.append, later=self._later, **settings)

    async def _later(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.mark.parametrize(
    "error", [LLMRateLimitError("x"), LLMServerError("x"), LLMConnectionError("x"), LLMTimeoutError("x")]
)
def test_passing_failures_are_tried_again(error: LLMError) -> None:
    for call in (lambda llm: llm(ASK), lambda llm: asyncio.run(llm.acall(ASK))):
        waits = Waits()
        assert call(Retry(ScriptedLLM([error, error, "done"]), waits.policy)).text == "done"
        assert waits.seconds == [1.0, 2.0]


@pytest.mark.parametrize(
    "error", [LLMAuthError("rate limit 429"), LLMRequestError("timeout"), LLMResponseError("x"), LLMError("x")]
)
def test_lasting_failures_are_not_whatever_their_words(error: LLMError) -> None:
    waits = Waits()
    inner = ScriptedLLM([error, "never"])
    with pytest.raises(LLMError) as caught:
        Retry(inner, waits.policy)(ASK)
    assert caught.value is error and not waits.seconds and len(inner.calls) == 1


def test_a_programming_error_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Retry(ScriptedLLM([ZeroDivisionError()]), Waits().policy)(ASK)


def test_the_servers_wish_replaces_the_wait_unless_it_is_too_long() -> None:
    waits = Waits(longest=30.0)
    assert Retry(ScriptedLLM([LLMRateLimitError("x", 12.5), "done"]), waits.policy)(ASK).text == "done"
    assert waits.seconds == [12.5]
    with pytest.raises(LLMRateLimitError):
        Retry(ScriptedLLM([LLMRateLimitError("x", 31.0), "never"]), waits.policy)(ASK)


def test_the_last_failure_is_raised_as_it_is() -> None:
    waits = Waits(attempts=3)
    inner = ScriptedLLM([LLMServerError(str(k)) for k in range(9)])
    with pytest.raises(LLMServerError, match="2"):
        Retry(inner, waits.policy)(ASK)
    assert len(inner.calls) == 3 and len(waits.seconds) == 2


def test_each_retry_is_an_event() -> None:
    seen: list[Any] = []
    error = LLMServerError("busy")
    with listen(seen.append):
        Retry(ScriptedLLM([error, "done"]), Waits().policy)(ASK)
    assert seen == [Retried(1, 1.0, error)]


@given(attempt=st.integers(1, 60), draw=st.floats(0, 1), base=st.floats(0, 100), longest=st.floats(0, 1000))
def test_waits_grow_within_their_bounds(attempt: int, draw: float, base: float, longest: float) -> None:
    policy = RetryPolicy(attempts=61, base=base, longest=longest, draw=lambda: draw)
    wait = policy.wait(LLMServerError("x"), attempt)
    assert wait is not None and 0 <= wait <= longest
    assert policy.wait(LLMServerError("x"), 61) is None


def test_against_a_server_that_recovers(server: Any, wire: Any) -> None:
    server.script = [wire.fail(429, Retry_After="2"), wire.fail(503), wire.hang_up, wire.say("at last")]
    waits = Waits()
    assert Retry(OpenAICompatible(server.url, "m"), waits.policy)(ASK).text == "at last"
    assert waits.seconds == [2.0, 2.0, 4.0]


def test_the_default_policy_travels() -> None:
    assert pickle.loads(pickle.dumps(Retry(ScriptedLLM(["a"])))).policy.attempts == 4
