"""A profile's parameters: what the constructor knows goes there, the rest with every call, on each backend."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from opto.llm import FREE, Response
from opto.llm.backends import EmbeddedLLM, LLMFactory

ASK = [{"role": "user", "content": "hi"}]


@pytest.fixture(autouse=True)
def profiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(LLMFactory, "_profiles", dict(LLMFactory._profiles))
    yield


class OpenAIWrapper:
    """AutoGen's client, as far as `AutoGenLLM` knows it: it answers with what it was asked."""

    def __init__(self, config_list: list[dict[str, Any]]) -> None:
        self.config_list = config_list

    def create(self, **config: Any) -> Response:
        return Response.of(repr(sorted(config.items())))


def test_custom_by_call_and_by_create(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", server.url)
    LLMFactory.register_profile("mine", "CustomLLM", model="m", cache=False, temperature=0.25, max_tokens=7, stop=["x"])
    llm: Any = LLMFactory.get_llm("mine")
    for twin in (llm, copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
        twin(messages=ASK), twin.create(messages=ASK, temperature=1)
    for k, (_, _, body) in enumerate(server.requests):
        assert body == {"model": "m", "messages": ASK, "temperature": k % 2 or 0.25, "max_tokens": 7, "stop": ["x"]}
    assert llm.cache is False


def test_litellm_names(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    LLMFactory.register_profile("mine", "LiteLLM", model="gpt-4o", max_retries=1, top_p=0.1)
    LLMFactory.get_llm("mine")(messages=ASK, max_tokens=5)
    assert server.requests[0][2] == {"model": "gpt-4o", "messages": ASK, "top_p": 0.1, "max_tokens": 5}


def test_autogen(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("autogen")
    fake.OpenAIWrapper = OpenAIWrapper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "autogen", fake)
    configs = [{"model": "a"}, {"model": "b"}]
    LLMFactory.register_profile("mine", "AutoGen", config_list=configs, filter_dict={"model": ["b"]}, temperature=0)
    llm: Any = LLMFactory.get_llm("mine")
    assert llm.config_list == [{"model": "b"}] and llm.model_name == "b"
    for answer in (llm(messages=ASK), llm.create(messages=ASK)):
        assert answer.text == repr(sorted({"messages": ASK, "temperature": 0}.items()))


def test_the_local_model() -> None:
    LLMFactory.register_profile("mine", "Local", threads=1, context=2048, temperature=0, max_tokens=9)
    llm = LLMFactory.get_llm("mine")
    assert isinstance(llm, EmbeddedLLM) and llm.default_options == {"temperature": 0, "max_tokens": 9}
    assert llm.profile.context_tokens == 2048 and llm.price == FREE and "max_tokens" in llm.identity
    for twin in (copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
        assert twin.default_options == llm.default_options and twin.model_name == llm.model_name
