"""What every model and every wrapper promises, asked of each of them."""

from __future__ import annotations

import asyncio
import copy
import importlib.machinery
import importlib.util
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opto.errors import LLMServerError
from opto.llm import (
    LLM,
    Budget,
    CachedLLM,
    DummyLLM,
    EnvKey,
    Fallback,
    Limited,
    LocalLLM,
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
    Timeout,
    Wire,
    Wrapper,
    ask,
    identity_of,
    profile_of,
)
from opto.llm.backends import AutoGenLLM, CustomLLM, EmbeddedLLM, LiteLLM, LLMFactory

ASK = [{"role": "user", "content": "hi"}]


def greet(messages: Any, **options: Any) -> Any:
    return ["hello"] * (options.get("n") or 1)


def down(messages: Any, **options: Any) -> Any:
    raise LLMServerError("down")


def no_wait(seconds: float) -> None:
    pass


async def no_wait_later(seconds: float) -> None:
    pass


QUICK = RetryPolicy(now=no_wait, later=no_wait_later)
PRICES = {"DummyLLM": (1, 1), "m": (1, 1)}


def budget() -> Budget:
    return Budget(calls=10_000, tokens=10**9, money=10**6, seconds=10**6, prices=PRICES)


def custom(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LLM:
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", server.url)
    return CustomLLM("m").with_defaults({"top_p": 0.5})


def litellm(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LLM:
    """LiteLLM's names without its package: the OpenAI protocol."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "litellm" else find(name, *rest)
    )
    return LiteLLM("gpt-4o")


def litellm_package(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LLM:
    fake = types.ModuleType("litellm")
    fake.completion = lambda model, *args, **options: OpenAICompatible(server.url, model)(*args, **options)  # type: ignore[attr-defined]
    fake.__spec__ = importlib.machinery.ModuleSpec("litellm", None)
    monkeypatch.setitem(sys.modules, "litellm", fake)
    return LiteLLM("gpt-4o")


class OpenAIWrapper:
    """AutoGen's client, as far as `AutoGenLLM` knows it."""

    def __init__(self, config_list: list[dict[str, Any]]) -> None:
        self.config = config_list[0]

    def create(self, **config: Any) -> Response:
        return OpenAICompatible(self.config["base_url"], self.config["model"])(**config)


def autogen(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LLM:
    fake = types.ModuleType("autogen")
    fake.OpenAIWrapper = OpenAIWrapper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "autogen", fake)
    return KeywordOnly(AutoGenLLM([{"model": "m", "base_url": server.url}]))


class KeywordOnly(Wrapper):
    """AutoGen's client knows keywords only; a wrapper always asks with keywords."""

    def flow(self, messages: Any, options: dict[str, Any]) -> Any:
        return (yield ask(self.llm, messages, options))


def http(server: Any) -> LLM:
    return OpenAICompatible(server.url, "m", api_key="k")


def on_disk(llm: LLM, tmp_path: Path) -> LLM:
    return CachedLLM(llm, SQLiteStore(tmp_path / "answers.db"))


def recorded(tmp_path: Path) -> LLM:
    """A replay of a recording that has every request of this suite often enough."""
    llm = RecordLLM(DummyLLM(greet), tmp_path / "run.jsonl")
    usual = {
        "max_tokens": 5,
        "temperature": 0.5,
        "response_format": {"type": "json_object"},
        "stop": ["x"],
        "seed": 1,
    }
    for options in ({}, {"temperature": 0}, usual, *({"seed": k} for k in range(12))):
        for _ in range(6):
            llm(ASK, **options)
    return ReplayLLM(tmp_path / "run.jsonl")


Maker = Callable[[Any, Path, pytest.MonkeyPatch], LLM]
MAKERS: dict[str, Maker] = {
    "autogen": autogen,
    "budget": lambda server, path, patch: budget().wrap(DummyLLM(greet)),
    "cache": lambda server, path, patch: CachedLLM(DummyLLM(greet)),
    "cache on disk": lambda server, path, patch: on_disk(DummyLLM(greet), path),
    "custom": custom,
    "dummy": lambda server, path, patch: DummyLLM(greet),
    "fallback": lambda server, path, patch: Fallback([DummyLLM(down), DummyLLM(greet)]),
    "http": lambda server, path, patch: http(server),
    "limited": lambda server, path, patch: Limited(DummyLLM(greet), 2),
    "litellm": litellm,
    "litellm package": litellm_package,
    "metered": lambda server, path, patch: Metered(DummyLLM(greet)),
    "paced": lambda server, path, patch: Paced(DummyLLM(greet), Pace(requests=10**6, tokens=10**9)),
    "record": lambda server, path, patch: RecordLLM(DummyLLM(greet), path / "run.jsonl"),
    "replay": lambda server, path, patch: recorded(path),
    "retry": lambda server, path, patch: Retry(DummyLLM(greet), QUICK),
    "scripted": lambda server, path, patch: ScriptedLLM(["hello"] * 50),
    "stack": lambda server, path, patch: stack(server, path),
    "timeout": lambda server, path, patch: Timeout(DummyLLM(greet), 30),
}


def stack(server: Any, path: Path) -> LLM:
    """All wrappers over one another."""
    paid = Metered(Timeout(http(server), 30))
    paced = Paced(Limited(paid, 4), Pace(requests=10**6, tokens=10**9))
    careful = Retry(Fallback([budget().wrap(paced)]), QUICK)
    return on_disk(RecordLLM(careful, path / "run.jsonl"), path)


@pytest.fixture(params=sorted(MAKERS))
def llm(request: pytest.FixtureRequest, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLM]:
    made = MAKERS[request.param](server, tmp_path, monkeypatch)
    yield made
    store = getattr(made, "store", None)
    if isinstance(store, SQLiteStore):
        store.close()


def test_it_is_a_model(llm: LLM) -> None:
    assert isinstance(llm, LLM)


def test_it_answers_positional_and_keyword_messages(llm: LLM) -> None:
    for response in (llm(ASK), llm(messages=ASK)):
        assert isinstance(response, Response)
        assert response.choices[0].message.content == response.text == "hello"
        assert response.choices[0].message.role == "assistant"


def test_it_accepts_the_options_that_optimizers_pass(llm: LLM) -> None:
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


BACKENDS: dict[str, Callable[[Path], LLM]] = {
    "autogen": lambda path: AutoGenLLM([{"model": "m", "api_key": "k"}]),
    "azure": lambda path: OpenAICompatible.azure("http://h", "d", api_version="1", api_key=EnvKey(("AZURE_API_KEY",))),
    "custom": lambda path: CustomLLM("m").with_defaults({"temperature": 0}),
    "dummy": lambda path: DummyLLM(greet),
    "embedded": lambda path: EmbeddedLLM("smollm2-135m-instruct", temperature=0),
    "http": lambda path: OpenAICompatible("http://h/v1", "m", api_key="k", wire=Wire(query={"a": "b"})),
    "litellm": lambda path: LiteLLM("gpt-4o"),
    "local": lambda path: LocalLLM("smollm2-135m-instruct"),
    "profile": lambda path: LLMFactory.get_llm("cheap"),
    "replay": recorded,
    "scripted": lambda path: ScriptedLLM([LLMServerError("down"), "hello"]),
}


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_every_wrapper_around_every_backend_travels(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("autogen")
    fake.OpenAIWrapper = OpenAIWrapper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "autogen", fake)
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", "http://h/v1")
    llm, limits, store = BACKENDS[name](tmp_path), budget(), SQLiteStore(tmp_path / "a.db")
    llm = Paced(Limited(Metered(Timeout(llm, 30)), 4), Pace(requests=100, tokens=1000))
    llm = RecordLLM(Retry(Fallback([limits.wrap(llm)])), tmp_path / "new.jsonl")
    llm = CachedLLM(CachedLLM(llm), store)
    for twin in (pickle.loads(pickle.dumps(llm)), copy.deepcopy(llm), copy.copy(llm)):
        assert identity_of(twin) == identity_of(llm)
        assert twin.llm.llm.llm.llm.llms[0].budget is limits, "a copy of a run spends from the same budget"
    store.close()


def test_it_has_a_profile_and_an_identity(llm: LLM) -> None:
    assert profile_of(llm).context_tokens > 0
    assert identity_of(llm)


def test_it_leaves_the_messages_alone(llm: LLM) -> None:
    messages = [{"role": "user", "content": "hi"}]
    llm(messages)
    assert messages == ASK
