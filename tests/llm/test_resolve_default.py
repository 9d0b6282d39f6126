"""Which model a user means, from the environment alone; and the old classes that lead to it."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from opto.errors import (
    LLMAuthError,
    LLMConfigError,
    LLMConnectionError,
    LLMError,
    LLMRateLimitError,
    LLMRequestError,
    LLMServerError,
    LLMTimeoutError,
    MissingExtraError,
)
from opto.llm import (
    Budget,
    Fallback,
    LocalLLM,
    OpenAICompatible,
    Response,
    Retry,
    ScriptedLLM,
    default_llm,
    identity_of,
    profile_of,
    resolve,
)
from opto.llm.backends import BACKENDS, AutoGenLLM, CustomLLM, EmbeddedLLM, LiteLLM, LLMFactory, embed
from opto.llm.backends.retry_by_words import retry_with_exponential_backoff
from opto.llm.transport.providers import AzureToken, transport_for
from opto.utils.llm import LLM, AbstractModel, auto_construct_oai_config_list_from_env

ASK = [{"role": "user", "content": "hi"}]


def inner(environment: dict[str, str]) -> OpenAICompatible:
    llm = default_llm(environment)
    assert isinstance(llm, Retry) and isinstance(llm.llm, OpenAICompatible)
    return llm.llm


@pytest.mark.parametrize(
    ("environment", "url", "model"),
    [
        ({"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1", "gpt-4o"),
        ({"OPENAI_BASE_URL": "http://h:1/v1/"}, "http://h:1/v1", "gpt-4o"),
        ({"OPENAI_API_KEY": "k", "TRACE_LITELLM_MODEL": "gpt-4o-mini"}, "https://api.openai.com/v1", "gpt-4o-mini"),
        ({"DEFAULT_LITELLM_MODEL": "ollama/llama3"}, "http://127.0.0.1:11434/v1", "llama3"),
        ({"TRACE_LITELLM_MODEL": "ollama_chat/q", "OLLAMA_API_BASE": "http://o:2"}, "http://o:2/v1", "q"),
        ({"TRACE_LITELLM_MODEL": "ollama/q", "OLLAMA_API_BASE": "http://o:2/v1/"}, "http://o:2/v1", "q"),
        ({"TRACE_LITELLM_MODEL": "hosted_vllm/a/b", "HOSTED_VLLM_API_BASE": "http://v/v1"}, "http://v/v1", "a/b"),
        ({"ANTHROPIC_API_KEY": "k"}, "https://api.anthropic.com/v1", "claude-sonnet-4-5"),
        ({"TRACE_LITELLM_MODEL": "claude-x"}, "https://api.anthropic.com/v1", "claude-x"),
        ({"TRACE_LITELLM_MODEL": "a/b", "OPENAI_BASE_URL": "http://h/v1"}, "http://h/v1", "a/b"),
        ({"TRACE_CUSTOMLLM_URL": "http://c/", "OPENAI_API_KEY": "k"}, "http://c", "gpt-4o"),
        ({"TRACE_CUSTOMLLM_URL": "http://c", "TRACE_CUSTOMLLM_MODEL": "m"}, "http://c", "m"),
        (
            {"TRACE_DEFAULT_LLM_BACKEND": "LiteLLM", "TRACE_CUSTOMLLM_URL": "http://c", "OPENAI_API_KEY": "k"},
            "https://api.openai.com/v1",
            "gpt-4o",
        ),
        (
            {"AZURE_API_BASE": "https://a/", "AZURE_API_KEY": "k", "AZURE_OPENAI_DEPLOYMENT": "d"},
            "https://a/openai/deployments/d",
            "d",
        ),
        (
            {"TRACE_LITELLM_MODEL": "azure/d", "AZURE_OPENAI_ENDPOINT": "https://a"},
            "https://a/openai/deployments/d",
            "d",
        ),
    ],
)
def test_the_environment_decides(environment: dict[str, str], url: str, model: str) -> None:
    llm = inner(environment)
    assert (llm.base_url, llm.model_name) == (url, model)


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({"TRACE_DEFAULT_LLM_BACKEND": "CustomLLM"}, "TRACE_CUSTOMLLM_URL"),
        ({"TRACE_DEFAULT_LLM_BACKEND": "Magic"}, "CustomLLM, LiteLLM, Local"),
        ({"TRACE_LITELLM_MODEL": "bedrock/x"}, "litellm"),
        ({"TRACE_LITELLM_MODEL": "azure/x"}, "AZURE_API_BASE"),
    ],
)
def test_half_a_configuration_is_one_sentence(environment: dict[str, str], what: str) -> None:
    with pytest.raises(LLMConfigError, match=what):
        default_llm(environment)


def test_what_was_taken_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "opto.llm"):
        default_llm({"TRACE_CUSTOMLLM_URL": "http://me:secret@127.0.0.1:1/v1", "OPENAI_API_KEY": "sk-secret"})
    [said] = caplog.messages
    assert "127.0.0.1:1/v1" in said and "because TRACE_CUSTOMLLM_URL is set" in said and "secret" not in said


def test_nothing_configured_is_the_local_model_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "require_extra", lambda purpose: None)
    monkeypatch.setattr(resolve, "_said", set())
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    assert isinstance(default_llm({}), LocalLLM) and isinstance(default_llm({}), LocalLLM)
    assert screen.getvalue().count("No language model is configured") == 1
    assert isinstance(default_llm({"TRACE_DEFAULT_LLM_BACKEND": "Local"}), LocalLLM)


def test_without_key_and_extra_both_ways_out_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else real(name))
    for call in (lambda: default_llm({}), lambda: LLM()(messages=ASK)):
        with pytest.raises(MissingExtraError, match=r"set OPENAI_API_KEY.*opto-trace\[local\]"):
            call()


def test_llm_without_a_configuration_answers_by_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "require_extra", lambda purpose: None)
    monkeypatch.setattr(LocalLLM, "__call__", lambda self, messages, **options: Response.of("local"))
    llm = LLM()
    assert isinstance(llm, LiteLLM) and isinstance(llm, AbstractModel)
    assert llm(messages=ASK).text == "local" and profile_of(llm).small
    assert identity_of(llm).startswith("local:")


def test_a_named_model_without_its_key_says_which() -> None:
    with pytest.raises(LLMError, match="No API key for gpt-4o: set OPENAI_API_KEY"):
        LLM("gpt-4o")(messages=ASK)


def test_azure_tokens_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"AZURE_API_BASE": "https://a", "AZURE_TOKEN_PROVIDER_SCOPE": "s"}
    assert transport_for("azure/d", environment)._api_key == AzureToken("s")
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(MissingExtraError, match="azure-identity"):
        AzureToken("s")()
    credential = SimpleNamespace(get_token=lambda scope: SimpleNamespace(token=f"for {scope}"))
    monkeypatch.setitem(sys.modules, "azure", ModuleType("azure"))
    monkeypatch.setitem(sys.modules, "azure.identity", SimpleNamespace(DefaultAzureCredential=lambda: credential))
    assert AzureToken("s")() == "for s"


# The classes of older programs


@pytest.mark.parametrize("profile", [None, "custom"])
def test_custom_llm_on_the_wire(server: Any, monkeypatch: pytest.MonkeyPatch, profile: str | None) -> None:
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", server.url)
    monkeypatch.setenv("TRACE_CUSTOMLLM_API_KEY", "k")
    LLMFactory.register_profile("custom", "CustomLLM", model="m", temperature=0.3, max_tokens=9)
    llm = LLM(profile=profile) if profile else LLM("m", backend="CustomLLM", temperature=0.3, max_tokens=9)
    assert isinstance(llm, CustomLLM)
    assert llm(messages=ASK, max_tokens=4).choices[0].message.content == "hello"
    assert llm.create(messages=ASK).text == pickle.loads(pickle.dumps(llm))(ASK).text == "hello"
    _, headers, body = server.requests[0]
    assert headers["authorization"] == "Bearer k"
    assert body == {"model": "m", "messages": ASK, "temperature": 0.3, "max_tokens": 4}
    assert server.requests[-1][2]["temperature"] == 0.3


async def test_backends_answer_async(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", server.url)
    assert (await CustomLLM().with_defaults({"seed": 4}).acall(messages=ASK)).text == "hello"
    assert server.requests[0][2]["seed"] == 4


def test_litellm_without_the_package_speaks_openai(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    llm = LiteLLM("openai/mine", max_retries=2)
    assert llm.model_name == "openai/mine" and llm.cache
    assert copy.deepcopy(llm)(messages=ASK).text == "hello" and server.requests[0][2]["model"] == "mine"


def test_litellm_with_the_package_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    module = ModuleType("litellm")
    module.__spec__ = importlib.machinery.ModuleSpec("litellm", None)
    module.completion = lambda *args, **kwargs: calls.append((args, kwargs)) or Response.of("lite")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litellm", module)
    monkeypatch.setenv("AZURE_TOKEN_PROVIDER_SCOPE", "s")
    assert LiteLLM("azure/d")(messages=ASK, n=2).text == "lite"
    given = {"messages": ASK, "n": 2, "azure_ad_token_provider": AzureToken("s"), "max_retries": 0}
    assert calls == [(("azure/d",), given)], "retries that no budget sees are switched off"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert LLM()(ASK).text == "lite" and calls[1] == (("gpt-4o", ASK), {"max_retries": 0})
    assert profile_of(LiteLLM("openai/gpt-4o")).reply == "json_schema"
    assert identity_of(LiteLLM("a")) != identity_of(LiteLLM("b"))


def test_the_embedded_backend_is_the_local_model() -> None:
    llm = LLM("smollm2-135m-instruct", backend="Local", slots=1)
    assert isinstance(llm, EmbeddedLLM) and isinstance(pickle.loads(pickle.dumps(llm)), EmbeddedLLM)
    assert llm.model_name == "smollm2-135m-instruct" and llm.profile.reply == "prefill"


def test_unknown_backends_and_profiles_are_value_errors() -> None:
    with pytest.raises(ValueError, match="LiteLLM"):
        LLM(backend="Magic")
    with pytest.raises(ValueError, match="register_profile"):
        LLM(profile="nobody")
    assert set(BACKENDS) == {"AutoGen", "CustomLLM", "LiteLLM", "Local"}
    assert LLMFactory.get_profile_info("nobody") is None and "fast" in LLMFactory.list_profiles()


class Wrapper:
    def __init__(self, config_list: Any) -> None:
        self.config_list = config_list

    def create(self, **config: Any) -> Response:
        return Response.of(f"{len(self.config_list)} {config['n']}")


def test_autogen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "autogen", None)
    with pytest.raises(MissingExtraError, match="autogen"):
        AutoGenLLM()
    monkeypatch.setitem(sys.modules, "autogen", SimpleNamespace(OpenAIWrapper=Wrapper))
    monkeypatch.chdir(tmp_path)
    entries = [{"model": "a"}, {"model": "b"}]
    llm = AutoGenLLM(entries, filter_dict={"model": ["b"]})
    assert llm(messages=ASK, n=3).text == "1 3" and llm.model_name == "b"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert AutoGenLLM().create(n=1).text == "2 1" and len(auto_construct_oai_config_list_from_env()) == 2
    (tmp_path / "OAI_CONFIG_LIST").write_text(json.dumps(entries[:1]))
    assert AutoGenLLM().config_list == entries[:1]
    monkeypatch.setenv("OAI_CONFIG_LIST", json.dumps(entries))
    assert AutoGenLLM().config_list == entries
    for text in ("nowhere.json", "[3]", "[broken"):
        monkeypatch.setenv("OAI_CONFIG_LIST", text)
        with pytest.raises(LLMConfigError, match="OAI_CONFIG_LIST"):
            AutoGenLLM()


class Foreign(Exception):
    """An error as litellm's are: with a status and, where a server answered, with its headers."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__("no\nluck")
        self.status_code = status
        self.response = SimpleNamespace(headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the package litellm does, call by call."""
    script: list[Any] = []
    module = ModuleType("litellm")
    module.__spec__ = importlib.machinery.ModuleSpec("litellm", None)

    def completion(*args: Any, **kwargs: Any) -> Any:
        told = script.pop(0)
        if isinstance(told, Exception):
            raise told
        return Response.of(told)

    module.completion = completion  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litellm", module)
    return script


@pytest.mark.parametrize(
    ("error", "kind", "tokens"),
    [
        (Foreign(429), LLMRateLimitError, 0),
        (Foreign(401), LLMAuthError, 0),
        (Foreign(404), LLMRequestError, 0),
        (Foreign(408), LLMTimeoutError, 87),
        (Foreign(503, server="x"), LLMServerError, 0),
        (Foreign(500), LLMConnectionError, 87),
        (KeyError("own"), KeyError, 87),
    ],
)
def test_errors_of_litellm_are_ours_by_their_status(
    foreign: list[Any], error: Exception, kind: type[Exception], tokens: int
) -> None:
    budget = Budget(tokens=1000)
    foreign.append(error)
    with pytest.raises(kind) as caught:
        budget.wrap(LiteLLM("m", max_retries=1))(ASK, max_tokens=5)
    assert budget.spent.calls == 1 and budget._counted.tokens == tokens
    assert "\n" not in str(caught.value)
    foreign[:] = [error, "fine"]
    if kind in Fallback([ScriptedLLM([])]).kinds:
        assert Fallback([LiteLLM("m", max_retries=1), LiteLLM("n")])(ASK).text == "fine"


def test_litellm_waits_as_long_as_the_server_wishes(foreign: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("opto.llm.backends.retry_by_words.time.sleep", waits.append)
    foreign[:] = [Foreign(429, retry_after="7"), Foreign(429), "fine"]
    assert LiteLLM("m")(ASK).text == "fine" and waits == [7.0, 9.0]


def test_embed_gives_a_vector_or_none(server: Any, wire: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    server.script = [wire.send(b'{"data": [{"embedding": [1, 2]}]}'), wire.fail(400)]
    assert embed("text-embedding-3-small", "hi") == [1.0, 2.0]
    assert embed("text-embedding-3-small", "hi") is None and "no embedding" in caplog.text


# Retrying by words


@pytest.mark.parametrize(
    ("errors", "waits"),
    [
        ([RuntimeError("Rate limit reached"), RuntimeError("429")], [2.0, 9.0]),
        ([RuntimeError("quota exceeded")], [2.0]),
        ([RuntimeError("503 Service Unavailable"), TimeoutError(), ConnectionError()], [1.0, 2.1, 4.2]),
        ([json.JSONDecodeError("x", "", 0)], [1.0]),
    ],
)
def test_words_that_promise_better_times(errors: list[Exception], waits: list[float], monkeypatch: Any) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    script: list[Any] = [*errors, "done"]

    def call() -> str:
        step = script.pop(0)
        if isinstance(step, Exception):
            raise step
        return str(step)

    assert retry_with_exponential_backoff(call) == "done"
    assert slept == pytest.approx(waits)


def test_other_errors_pass_at_once_and_the_last_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(ZeroDivisionError):
        retry_with_exponential_backoff(lambda: 1 / 0)

    def busy() -> None:
        raise RuntimeError("overloaded")

    with pytest.raises(RuntimeError, match="judging failed after 3 attempts: overloaded"):
        retry_with_exponential_backoff(busy, max_retries=3, operation_name="judging")
