"""What every model and every wrapper promises, asked of each of them."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from opto.llm import (
    LLM,
    CachedLLM,
    DummyLLM,
    Metered,
    OpenAICompatible,
    Response,
    Retry,
    RetryPolicy,
    ScriptedLLM,
    identity_of,
    profile_of,
)

ASK = [{"role": "user", "content": "hi"}]


def greet(messages: Any, **options: Any) -> Any:
    return ["hello"] * (options.get("n") or 1)


def no_wait(seconds: float) -> None:
    pass


async def no_wait_later(seconds: float) -> None:
    pass


QUICK = RetryPolicy(now=no_wait, later=no_wait_later)
MAKERS: dict[str, Callable[[Any], LLM]] = {
    "dummy": lambda server: DummyLLM(greet),
    "scripted": lambda server: ScriptedLLM(["hello"] * 50),
    "http": lambda server: OpenAICompatible(server.url, "m", api_key="k"),
    "retry": lambda server: Retry(DummyLLM(greet), QUICK),
    "metered": lambda server: Metered(DummyLLM(greet)),
    "cache": lambda server: CachedLLM(DummyLLM(greet)),
    "stack": lambda server: CachedLLM(Metered(Retry(OpenAICompatible(server.url, "m"), QUICK))),
}


@pytest.fixture(params=sorted(MAKERS))
def llm(request: pytest.FixtureRequest, server: Any) -> LLM:
    return MAKERS[request.param](server)


def test_it_is_a_model(llm: LLM) -> None:
    assert isinstance(llm, LLM)


def test_it_answers_positional_and_keyword_messages(llm: LLM) -> None:
    for response in (llm(ASK), llm(messages=ASK)):
        assert isinstance(response, Response)
        assert response.choices[0].message.content == response.text == "hello"
        assert response.choices[0].message.role == "assistant"


def test_it_accepts_the_options_of_the_contract(llm: LLM) -> None:
    options = {
        "max_tokens": 5,
        "temperature": 0.5,
        "response_format": {"type": "json_object"},
        "stop": ["x"],
        "seed": 1,
    }
    assert llm(messages=ASK, **options).text == "hello"
    assert llm(messages=ASK, max_tokens=None, n=None).text == "hello"


async def test_the_async_twin_answers_alike(llm: LLM) -> None:
    assert (await llm.acall(ASK, temperature=0)).text == "hello"
    assert (await llm.acall(messages=ASK)).text == llm(ASK).text


def test_it_serves_several_event_loops_one_after_another(llm: LLM) -> None:
    for k in range(3):
        assert asyncio.run(llm.acall(ASK, seed=k)).text == "hello"


async def test_it_serves_many_tasks_at_once(llm: LLM) -> None:
    responses = await asyncio.gather(*(llm.acall(ASK, seed=k) for k in range(12)))
    assert {response.text for response in responses} == {"hello"}


def test_it_serves_many_threads_at_once(llm: LLM) -> None:
    texts: list[str] = []
    threads = [threading.Thread(target=lambda k=k: texts.append(llm(ASK, seed=k).text)) for k in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["hello"] * 12


def test_it_survives_pickle_and_deepcopy_after_use(llm: LLM) -> None:
    llm(ASK)
    for twin in (pickle.loads(pickle.dumps(llm)), copy.deepcopy(llm)):
        assert twin(ASK).text == "hello"
        assert identity_of(twin) == identity_of(llm)


def test_it_has_a_profile_and_an_identity(llm: LLM) -> None:
    assert profile_of(llm).context_tokens > 0
    assert identity_of(llm)


def test_it_leaves_the_messages_alone(llm: LLM) -> None:
    messages = [{"role": "user", "content": "hi"}]
    llm(messages)
    assert messages == ASK
