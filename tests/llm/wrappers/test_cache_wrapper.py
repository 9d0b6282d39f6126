"""The cache: the whole request is the key, equal requests fly once, errors are not kept."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import LLMServerError
from opto.llm import CachedLLM, CacheStats, DummyLLM, MemoryStore, OpenAICompatible, Response, ScriptedLLM
from opto.llm.wrappers.cache import request_key

ASK = [{"role": "user", "content": "hi"}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_an_equal_request_is_asked_once() -> None:
    inner = ScriptedLLM(["one"])
    llm = CachedLLM(inner)
    assert llm(ASK, n=1).text == llm(messages=list(ASK), n=1, stop=None).text == "one"
    assert asyncio.run(llm.acall(ASK, n=1)).text == "one"
    assert llm.stats == CacheStats(hits=2, misses=1) and len(inner.calls) == 1


@pytest.mark.parametrize(
    "other", [{"temperature": 0.2}, {"temperature": 1}, {"seed": 1}, {"response_format": {"type": "x"}}]
)
def test_any_difference_is_another_request(other: dict[str, Any]) -> None:
    llm = CachedLLM(ScriptedLLM(["one", "two"]))
    assert llm(ASK, temperature=0.1).text == "one"
    assert llm(ASK, **other).text == "two"


@given(st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(st.text(), JSON, max_size=4))
def test_keys_are_equal_exactly_when_requests_are(one: dict[str, Any], two: dict[str, Any]) -> None:
    def plain(options: dict[str, Any]) -> str:  # tells 1 from True, which == does not
        return repr(sorted((k, repr_sorted(v)) for k, v in options.items() if v is not None))

    def repr_sorted(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + repr(sorted((k, repr_sorted(v)) for k, v in value.items())) + "}"
        return "[" + ",".join(map(repr_sorted, value)) + "]" if isinstance(value, list) else repr(value)

    assert (request_key("m", ASK, one) == request_key("m", ASK, two)) == (plain(one) == plain(two))


def test_the_model_is_part_of_the_key(server: Any) -> None:
    store = MemoryStore()
    for name in ("a", "b", "a"):
        CachedLLM(OpenAICompatible(server.url, name), store)(ASK)
    CachedLLM(OpenAICompatible(server.url, "a", defaults={"seed": 1}), store)(ASK)
    assert len(server.requests) == len(store) == 3


def test_what_has_no_json_form_is_passed_on_uncached() -> None:
    llm = CachedLLM(ScriptedLLM(["one", "two"]))
    assert [llm(ASK, tools=[print]).text, llm(ASK, tools=[print]).text] == ["one", "two"]
    assert llm.stats == CacheStats(unkeyed=2)


def test_errors_are_not_kept() -> None:
    llm = CachedLLM(ScriptedLLM([LLMServerError("busy"), "fine"]))
    with pytest.raises(LLMServerError):
        llm(ASK)
    assert llm(ASK).text == "fine"


def test_the_oldest_answer_leaves_first() -> None:
    store = MemoryStore(size=2)
    for key in "ab":
        store.put(key, Response.of(key))
    assert store.get("a") is not None
    store.put("c", Response.of("c"))
    assert store.get("b") is None and store.get("a") is not None and len(store) == 2


class Gate:
    """A model that answers when it is let, and says when it was asked."""

    def __init__(self) -> None:
        self.asked, self.open, self.calls = threading.Event(), threading.Event(), 0

    def __call__(self, messages: Any, **options: Any) -> str:
        self.calls += 1
        self.asked.set()
        assert self.open.wait(10)
        return "answer"


def test_equal_requests_of_many_threads_fly_once() -> None:
    gate = Gate()
    llm = CachedLLM(DummyLLM(gate))
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(llm(ASK).text)) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert gate.asked.wait(10)
    gate.open.set()
    for thread in threads:
        thread.join()
    assert texts == ["answer"] * 8 and gate.calls == 1
    assert llm.stats == CacheStats(hits=7, misses=1)


class AsyncGate:
    """The same for tasks."""

    def __init__(self, error: Exception | None = None) -> None:
        self.open, self.calls, self.error = asyncio.Event(), 0, error

    def __call__(self, messages: Any, **options: Any) -> Response:
        return Response.of("alone")

    async def acall(self, messages: Any, **options: Any) -> Response:
        self.calls += 1
        await self.open.wait()
        if self.error:
            raise self.error
        return Response.of("together")


async def started(tasks: list[asyncio.Task[Response]]) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_equal_requests_of_many_tasks_fly_once() -> None:
    gate = AsyncGate()
    llm = CachedLLM(gate)
    tasks = [asyncio.create_task(llm.acall(ASK)) for _ in range(8)]
    await started(tasks)
    gate.open.set()
    assert {response.text for response in await asyncio.gather(*tasks)} == {"together"}
    assert gate.calls == 1


async def test_a_failed_flight_fails_for_all_and_is_forgotten() -> None:
    gate = AsyncGate(LLMServerError("busy"))
    llm = CachedLLM(gate)
    tasks = [asyncio.create_task(llm.acall(ASK)) for _ in range(3)]
    await started(tasks)
    gate.open.set()
    assert all(isinstance(r, LLMServerError) for r in await asyncio.gather(*tasks, return_exceptions=True))
    gate.error = None
    assert (await llm.acall(ASK)).text == "together"


async def test_cancelling_the_first_lets_another_ask() -> None:
    gate = AsyncGate()
    llm = CachedLLM(gate)
    first, second = (asyncio.create_task(llm.acall(ASK)) for _ in range(2))
    await started([first, second])
    first.cancel()
    gate.open.set()
    assert (await second).text == "together" and gate.calls == 2
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_cancelling_one_that_waits_harms_nobody() -> None:
    gate = AsyncGate()
    llm = CachedLLM(gate)
    first, second, third = (asyncio.create_task(llm.acall(ASK)) for _ in range(3))
    await started([first, second, third])
    second.cancel()
    gate.open.set()
    assert (await first).text == (await third).text == "together" and gate.calls == 1


async def test_a_blocking_call_inside_the_loop_that_flies_does_not_hang() -> None:
    gate = AsyncGate()
    llm = CachedLLM(gate)
    task = asyncio.create_task(llm.acall(ASK))
    await started([task])
    assert llm(ASK).text == "alone"
    gate.open.set()
    assert (await task).text == "together"


def test_answers_travel_with_a_pickle() -> None:
    llm = CachedLLM(ScriptedLLM(["one"]))
    llm(ASK)
    assert pickle.loads(pickle.dumps(llm))(ASK).text == "one"


class BrokenStore:
    def get(self, key: str) -> Response | None:
        return None

    def put(self, key: str, response: Response) -> None:
        raise OSError("disk full")


def test_a_store_that_fails_leaves_nobody_waiting() -> None:
    llm = CachedLLM(ScriptedLLM(["one", "two"]), BrokenStore())
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            llm(ASK)
