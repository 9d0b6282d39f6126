"""A server that misbehaves on purpose, seen through each wrapper: one error of the tree, nothing left held."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opto.errors import (
    LLMConnectionError,
    LLMError,
    LLMRateLimitError,
    LLMRequestError,
    LLMResponseError,
    LLMServerError,
    LLMTimeoutError,
)
from opto.llm import (
    LLM,
    Budget,
    CachedLLM,
    Clock,
    Fallback,
    Limited,
    LocalLLM,
    Metered,
    OpenAICompatible,
    Pace,
    Paced,
    RecordLLM,
    Retry,
    RetryPolicy,
    SQLiteStore,
    Timeout,
    Wire,
)
from opto.llm.backends import CustomLLM, LiteLLM
from opto.llm.backends import hosted as models
from opto.llm.local import local_llm as local

ASK = [{"role": "user", "content": "hi ✓ \ud83c"}]
HUGE = json.dumps({"choices": [{"message": {"content": "x" * 10_000_000}}]}).encode()
PRICES = {"m": (1, 1)}


def no_wait(seconds: float) -> None:
    pass


async def no_wait_later(seconds: float) -> None:
    pass


def drip(handler: Any) -> None:
    """One byte at a time, for ever, as far as the caller knows."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    try:
        for _ in range(100_000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
    except OSError:
        handler.close_connection = True


def faults(server: Any, wire: Any) -> dict[str, tuple[Any, type[LLMError]]]:
    return {
        "429": (wire.fail(429), LLMRateLimitError),
        "429 and how long": (wire.fail(429, Retry_After="3"), LLMRateLimitError),
        "429 and a date": (wire.fail(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), LLMRateLimitError),
        "429 and nonsense": (wire.fail(429, Retry_After="soon"), LLMRateLimitError),
        "429 for want of money": (wire.fail(429, code="insufficient_quota"), LLMRequestError),
        "500": (wire.fail(500), LLMServerError),
        "hang up": (wire.hang_up, LLMConnectionError),
        "invalid JSON": (wire.send(b'{"choices": [}'), LLMResponseError),
        "not UTF-8": (wire.send(b'{"choices": "\xff\xfe"}'), LLMResponseError),
        "empty": (wire.send(b""), LLMResponseError),
        "empty choices": (wire.send(b'{"choices": []}'), LLMResponseError),
        "a list": (wire.send(b"[1, 2]"), LLMResponseError),
        "numbers for text": (wire.send(b'{"choices": [{"message": {"content": 7}}]}'), LLMResponseError),
        "text for choices": (wire.send(b'{"choices": "many"}'), LLMResponseError),
        "no message": (wire.send(b'{"choices": [null]}'), LLMResponseError),
        "10 MB, refused": (wire.send(HUGE), LLMResponseError),
        "deep": (wire.send(b"[" * 200_000), LLMResponseError),
    }


class _NoWords:
    def __getattr__(self, name: str) -> Any:
        return lambda *texts, **extra: {}


NAMES = sorted(faults(None, _NoWords()))
WRAPPERS: dict[str, Callable[[LLM, Path], LLM]] = {
    "bare": lambda llm, path: llm,
    "budget": lambda llm, path: Budget(calls=10**6, tokens=10**9, money=10**6, prices=PRICES).wrap(llm),
    "cache": lambda llm, path: CachedLLM(llm, SQLiteStore(path / "answers.db")),
    "fallback": lambda llm, path: Fallback([llm]),
    "limited": lambda llm, path: Limited(llm, 1),
    "metered": lambda llm, path: Metered(llm),
    "paced": lambda llm, path: Paced(llm, Pace(requests=10**6, clock=Clock(now=no_wait, later=no_wait_later))),
    "record": lambda llm, path: RecordLLM(llm, path / "run.jsonl"),
    "retry": lambda llm, path: Retry(llm, RetryPolicy(attempts=1)),
    "timeout": lambda llm, path: Timeout(llm, 30),
    "timeout in a thread": lambda llm, path: Timeout(Metered(llm), 30),
}


def transport(server: Any, **settings: Any) -> OpenAICompatible:
    return OpenAICompatible(server.url, "m", wire=Wire(max_reply_bytes=5_000_000), **settings)


def call(llm: LLM, stream: bool) -> None:
    answer: Any = llm(ASK, max_tokens=5, stream=stream)
    list(answer if stream else ())


async def acall(llm: LLM, stream: bool) -> None:
    answer: Any = await llm.acall(ASK, max_tokens=5, stream=stream)
    if stream:
        async for _ in answer:
            pass


class Listening:
    """A local server's process, as far as `LocalLLM` knows it, that lives and misbehaves."""

    alive, key = True, "k"

    def __init__(self, url: str) -> None:
        self.url = url

    def ended(self, within: float) -> bool:
        return False


@pytest.fixture(params=["custom", "litellm", "local"])
def backend(request: pytest.FixtureRequest, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LLM:
    """The transports that users construct by name, with the patience of the tests."""
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", server.url)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setattr(models, "Retry", lambda llm, policy=None: Retry(llm, RetryPolicy(attempts=1)))
    monkeypatch.setattr(Wire, "__init__", functools.partialmethod(Wire.__init__, max_reply_bytes=5_000_000))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "litellm" else find(name))
    monkeypatch.setattr(local, "server_for", lambda config: Listening(server.url))
    monkeypatch.setattr(local, "require_extra", lambda: None)
    weights = tmp_path / "small.gguf"
    weights.write_bytes(b"GGUF")
    made: dict[str, Callable[[], LLM]] = {
        "custom": lambda: CustomLLM("m"),
        "litellm": lambda: LiteLLM("gpt-4o"),
        "local": lambda: LocalLLM(weights, threads=1),
    }
    return made[request.param]()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", NAMES)
def test_each_fault_is_its_error_from_each_backend(
    server: Any, wire: Any, backend: LLM, fault: str, stream: bool
) -> None:
    behaviour, kind = faults(server, wire)[fault]
    server.script = [behaviour, behaviour, wire.say("fine")]
    with pytest.raises(kind):
        call(backend, stream)
    with pytest.raises(kind):
        asyncio.run(acall(backend, stream))
    assert backend(ASK).text == "fine"


CASES = [(name, stream) for name in sorted(WRAPPERS) for stream in (False, True)]
CASES.remove(("timeout in a thread", True))  # refused: nothing bounds it


@pytest.mark.parametrize(("wrapper", "stream"), CASES)
@pytest.mark.parametrize("fault", NAMES)
def test_each_fault_is_its_error_through_each_wrapper(
    server: Any, wire: Any, fault: str, wrapper: str, stream: bool, tmp_path: Path
) -> None:
    behaviour, kind = faults(server, wire)[fault]
    server.script = [behaviour, behaviour, wire.say("fine")]
    llm = WRAPPERS[wrapper](transport(server), tmp_path)
    with pytest.raises(kind):
        call(llm, stream)
    with pytest.raises(kind):
        asyncio.run(acall(llm, stream))
    assert llm(ASK, max_tokens=5).text == "fine", "no slot, no flight, no sum is left behind"
    if isinstance(llm, CachedLLM):
        llm.store.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrapper", sorted(WRAPPERS))
def test_drips_end_at_the_time_limit(server: Any, wrapper: str, tmp_path: Path) -> None:
    server.script = [drip]
    ticks = iter(range(10**9))
    clock = Wire(clock=lambda: float(next(ticks)))  # a second passes with every piece
    llm = WRAPPERS[wrapper](OpenAICompatible(server.url, "m", wire=clock, timeout=20), tmp_path)
    begin = time.monotonic()
    with pytest.raises(LLMTimeoutError):
        llm(ASK)
    with pytest.raises(LLMTimeoutError):
        asyncio.run(llm.acall(ASK))
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("wrapper", sorted(WRAPPERS))
def test_ten_megabytes_of_every_script_arrive_whole(server: Any, wire: Any, wrapper: str, tmp_path: Path) -> None:
    text = "żółw 🐢 \u2028 \ud800 \0" * 400_000
    server.script = [wire.say(text)]
    llm = WRAPPERS[wrapper](OpenAICompatible(server.url, "m"), tmp_path)
    assert llm(ASK).text == text
    if isinstance(llm, CachedLLM):
        assert CachedLLM(transport(server), SQLiteStore(tmp_path / "answers.db"))(ASK).text == text
        assert len(server.requests) == 1


def test_all_wrappers_together_recover(server: Any, wire: Any, tmp_path: Path) -> None:
    bad = [behaviour for behaviour, kind in faults(server, wire).values() if kind is not LLMRequestError]
    server.script = [*bad, wire.say("at last")]
    waits: list[float] = []
    kinds = (LLMRateLimitError, LLMServerError, LLMConnectionError, LLMTimeoutError, LLMResponseError)
    policy = RetryPolicy(attempts=50, kinds=kinds, now=waits.append)
    budget = Budget(calls=len(bad) + 1)
    inner = Limited(Metered(Timeout(transport(server), 30)), 1)
    llm = CachedLLM(Retry(budget.wrap(inner), policy))
    assert llm(ASK).text == llm(ASK).text == "at last"
    assert len(server.requests) == len(bad) + 1 == budget.spent.calls and 3.0 in waits


def test_a_hundred_callers_of_a_failing_server_stay_within_the_budget(server: Any, wire: Any) -> None:
    server.script = [wire.fail(503), wire.hang_up] * 30 + [wire.say("fine")]
    budget = Budget(calls=50)
    llm = budget.wrap(Retry(transport(server), RetryPolicy(attempts=4, now=lambda seconds: None)))

    def work() -> None:
        try:
            llm(ASK)
        except LLMError:
            pass

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == budget.spent.calls == 50
