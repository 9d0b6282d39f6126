"""Vectors are asked for as anything else is: through every wrapper, and paid from the same budget."""

from __future__ import annotations

import asyncio
import importlib.machinery
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opto.errors import BudgetExceeded, LLMConfigError, LLMRateLimitError, LLMResponseError
from opto.llm import (
    LLM,
    Budget,
    CachedLLM,
    Fallback,
    Limited,
    LocalLLM,
    Metered,
    OpenAICompatible,
    Pace,
    Paced,
    RecordLLM,
    ReplayLLM,
    Retry,
    RetryPolicy,
    ScriptedLLM,
    SQLiteStore,
    Timeout,
)
from opto.llm.backends import AutoGenLLM, CustomLLM, LiteLLM, embed

MODEL = "text-embedding-3-small"
VECTOR = b'{"data": [{"embedding": [1, 0.1]}], "model": "e", "usage": {"prompt_tokens": 4, "total_tokens": 4}}'
WRAPPERS: dict[str, Callable[[Any, Path], Any]] = {
    "bare": lambda llm, path: llm,
    "budget": lambda llm, path: Budget(calls=9, tokens=9000, money=1.0).wrap(llm),
    "cache": lambda llm, path: CachedLLM(llm),
    "fallback": lambda llm, path: Fallback([llm]),
    "limited": lambda llm, path: Limited(llm, 1),
    "metered": lambda llm, path: Metered(llm),
    "paced": lambda llm, path: Paced(llm, Pace(requests=10**6, tokens=10**6)),
    "record": lambda llm, path: RecordLLM(llm, path / "run.jsonl"),
    "retry": lambda llm, path: Retry(llm),
    "timeout": lambda llm, path: Timeout(llm, 30),
    "timeout in a thread": lambda llm, path: Timeout(Metered(llm), 30),
}


@pytest.fixture
def vectors(server: Any, wire: Any) -> Any:
    server.script = [wire.send(VECTOR)]
    return server


@pytest.mark.parametrize("name", sorted(WRAPPERS))
def test_every_wrapper_embeds_sync_and_async(vectors: Any, name: str, tmp_path: Path) -> None:
    llm = WRAPPERS[name](OpenAICompatible(vectors.url, MODEL, defaults={"temperature": 0}), tmp_path)
    assert llm.embed("żółw", dimensions=2) == asyncio.run(llm.aembed("żółw", dimensions=2)) == (1.0, 0.1)
    path, _, body = vectors.requests[0]
    assert path == "/v1/embeddings" and body == {"model": MODEL, "input": "żółw", "dimensions": 2}
    assert len(vectors.requests) == (1 if name == "cache" else 2)
    if name == "record":
        replay = ReplayLLM(tmp_path / "run.jsonl")
        assert replay.embed("żółw", dimensions=2) == (1.0, 0.1)


def test_the_budget_pays_vectors_by_their_tokens_and_stops_before_one_too_many(vectors: Any) -> None:
    budget = Budget(tokens=200, money=1.0)
    llm, meter = budget.wrap(OpenAICompatible(vectors.url, MODEL)), Metered(OpenAICompatible(vectors.url, MODEL))
    for _ in range(30):
        llm.embed("text")
    with pytest.raises(BudgetExceeded):
        llm.embed("text")
    with pytest.raises(BudgetExceeded):
        asyncio.run(llm.aembed("text"))
    assert len(vectors.requests) == 30 and budget.spent.tokens == 30 * 4
    assert budget.spent.completion_tokens == 0 and budget.spent.money == pytest.approx(30 * 4 * 0.02e-6)
    asyncio.run(meter.aembed("text"))
    assert meter.spent.prompt_tokens == 4 and meter.spent.money == pytest.approx(4 * 0.02e-6)
    with pytest.raises(LLMConfigError, match="price of 'e'"):
        Budget(money=1.0).wrap(OpenAICompatible(vectors.url, "e")).embed("text")


async def test_a_hundred_tasks_embed_not_once_too_often(vectors: Any) -> None:
    budget = Budget(calls=30)
    llm = budget.wrap(OpenAICompatible(vectors.url, MODEL))
    seen = await asyncio.gather(*(llm.aembed(str(k)) for k in range(100)), return_exceptions=True)
    assert len(vectors.requests) == 30 == seen.count((1.0, 0.1)) and budget.spent.calls == 30


def test_a_failed_vector_is_tried_again(vectors: Any, wire: Any) -> None:
    vectors.script = [wire.fail(429), wire.fail(503), wire.send(VECTOR)]
    llm = Retry(OpenAICompatible(vectors.url, MODEL), RetryPolicy(attempts=2, now=lambda seconds: None))
    with pytest.raises(LLMRateLimitError):
        Retry(OpenAICompatible(vectors.url, MODEL), RetryPolicy(attempts=1)).embed("text")
    assert llm.embed("text") == (1.0, 0.1)


@pytest.mark.parametrize("text", ["hello", "[]", '["a"]', "[true]", '{"a": 1}', "[" * 100_000])
def test_words_are_no_vector(text: str) -> None:
    with pytest.raises(LLMResponseError, match="not a vector"):
        Retry(ScriptedLLM([text])).embed("text")


def test_models_that_cannot_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LLMConfigError, match="LocalLLM gives no vectors"):
        LocalLLM().embed("text")
    fake = types.ModuleType("autogen")
    fake.OpenAIWrapper = lambda config_list: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "autogen", fake)
    with pytest.raises(LLMConfigError, match="AutoGen's client gives no vectors"):
        AutoGenLLM([{"model": "m"}]).embed("text")


def test_the_named_backends_embed(vectors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", vectors.url)
    llm = CustomLLM(MODEL).with_defaults({"temperature": 0})
    assert llm.embed("a") == asyncio.run(llm.aembed("a")) == (1.0, 0.1)
    assert vectors.requests[0][2] == {"model": MODEL, "input": "a"}
    asked: list[dict[str, Any]] = []

    def embedding(**given: Any) -> Any:
        asked.append(given)
        return types.SimpleNamespace(data=[{"embedding": [1, 0.1]}], usage=types.SimpleNamespace(prompt_tokens=7))

    fake = types.ModuleType("litellm")
    fake.__spec__ = importlib.machinery.ModuleSpec("litellm", None)
    fake.embedding = embedding  # type: ignore[attr-defined]
    fake.completion = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litellm", fake)
    budget = Budget(money=1.0)
    paid = budget.wrap(LiteLLM(MODEL))
    assert paid.embed("a", dimensions=2) == asyncio.run(paid.aembed("a")) == (1.0, 0.1)
    once = {"model": MODEL, "input": "a", "max_retries": 0}
    assert asked == [{**once, "dimensions": 2}, once]
    assert budget.spent.tokens == 14 and budget.spent.money == pytest.approx(14 * 0.02e-6)


def test_the_function_of_old_programs_takes_a_model_under_a_budget(vectors: Any, wire: Any, caplog: Any) -> None:
    budget = Budget(calls=3)
    llm: LLM = budget.wrap(OpenAICompatible(vectors.url, MODEL))
    vectors.script = [wire.fail(500), wire.send(VECTOR), wire.fail(400)]
    assert embed(llm, "text", base_delay=0.0) == [1.0, 0.1] and budget.spent.calls == 2
    assert embed(llm, "text") is None and "no embedding" in caplog.text
    with pytest.raises(BudgetExceeded):
        embed(llm, "text")


def test_vectors_on_disk_come_back_exactly(vectors: Any, wire: Any, tmp_path: Path) -> None:
    vectors.script = [wire.send(b'{"data": [{"embedding": [0.1, 1e-320, -3.0000000000000004]}]}')]
    store = SQLiteStore(tmp_path / "a.db")
    llm = CachedLLM(OpenAICompatible(vectors.url, MODEL), store)
    assert llm.embed("t") == llm.embed("t") == (0.1, 1e-320, -3.0000000000000004) and len(vectors.requests) == 1
    store.close()
