"""The model layer as `opto.utils.llm` shows it."""

from __future__ import annotations

import copy
import importlib.machinery
import pickle
import warnings
from typing import Any

import pytest

import opto.utils.llm as llms
from opto.utils.auto_retry import retry_with_exponential_backoff
from opto.utils.llm import LLM, AbstractModel, AutoGenLLM, CustomLLM, DummyLLM, LiteLLM, LLMFactory

ENVIRONMENT = (
    "TRACE_DEFAULT_LLM_BACKEND TRACE_LITELLM_MODEL DEFAULT_LITELLM_MODEL TRACE_CUSTOMLLM_MODEL TRACE_CUSTOMLLM_URL"
    " TRACE_CUSTOMLLM_API_KEY OPENAI_API_KEY ANTHROPIC_API_KEY OAI_CONFIG_LIST AZURE_TOKEN_PROVIDER_SCOPE"
)
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT.split():
        monkeypatch.delenv(name, raising=False)


def shout(*args: Any, **kwargs: Any) -> str:
    messages = kwargs.get("messages", args[0] if args else None)
    return messages[-1]["content"].upper()


# --- DummyLLM -------------------------------------------------------------------------------------------------------


def test_response_shape() -> None:
    r = DummyLLM(shout)(messages=HELLO, max_tokens=5, response_format=None, n=1, temperature=0.0)
    assert r.choices[0].message.content == "HELLO"
    assert DummyLLM(shout)(HELLO).choices[0].message.content == "HELLO"


def test_arguments_are_forwarded() -> None:
    seen: list[Any] = []

    def record(*args: Any, **kwargs: Any) -> str:
        seen.append((args, kwargs))
        return "ok"

    DummyLLM(record)(HELLO, max_tokens=7)
    DummyLLM(record)(messages=HELLO, n=2)
    assert seen == [((HELLO,), {"max_tokens": 7}), ((), {"messages": HELLO, "n": 2})]


def test_dummy_travels() -> None:
    d = DummyLLM(shout, reset_freq=100)
    for dup in (pickle.loads(pickle.dumps(d)), copy.deepcopy(d), copy.copy(d)):
        assert dup(messages=HELLO).choices[0].message.content == "HELLO"
    assert isinstance(d, AbstractModel)
    assert copy.deepcopy(DummyLLM(lambda *a, **k: "local"))(HELLO).choices[0].message.content == "local"


# --- AbstractModel --------------------------------------------------------------------------------------------------

BUILT: list[int] = []


def factory() -> Any:
    BUILT.append(1)
    return lambda *args, **kwargs: ("model", args, kwargs)


def test_abstract_model() -> None:
    BUILT.clear()
    m = AbstractModel(factory)
    assert callable(m.model)
    assert m(HELLO, n=1) == ("model", (HELLO,), {"n": 1})
    before = len(BUILT)
    m(HELLO)
    assert len(BUILT) == before


def test_rebuilt_after_some_seconds() -> None:
    BUILT.clear()
    m = AbstractModel(factory, reset_freq=-1)
    m(HELLO)
    m(HELLO)
    assert len(BUILT) >= 2
    lazy = AbstractModel(factory, reset_freq=10_000)
    BUILT.clear()
    lazy(HELLO)
    lazy(HELLO)
    assert len(BUILT) <= 1


def test_pickling_rebuilds() -> None:
    m = AbstractModel(factory)
    back = pickle.loads(pickle.dumps(m))
    assert back(HELLO)[0] == "model"


# --- LLM ------------------------------------------------------------------------------------------------------------


def test_llm_makes_a_backend() -> None:
    for made in (LLM(model="x"), LLM("x"), LLM("x", backend="LiteLLM")):
        assert isinstance(made, AbstractModel) and isinstance(made, LiteLLM) and made.model_name == "x"
    assert isinstance(LLM(), AbstractModel) or callable(LLM())


def test_backend_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(LLM(backend="CustomLLM", model="m"), CustomLLM)
    monkeypatch.setenv("TRACE_DEFAULT_LLM_BACKEND", "CustomLLM")
    assert isinstance(LLM(), CustomLLM)
    assert isinstance(LLM(backend="LiteLLM", model="m"), LiteLLM)
    with pytest.raises(ValueError):
        LLM(backend="NoSuch")
    monkeypatch.setenv("TRACE_DEFAULT_LLM_BACKEND", "NoSuch")
    with pytest.raises(ValueError):
        LLM()


def test_profile_wins() -> None:
    made = LLM("ignored", profile="premium", backend="CustomLLM")
    assert isinstance(made, LiteLLM) and made.model_name == "gpt-4"
    with pytest.raises(ValueError):
        LLM(profile="no such profile")


def test_litellm_model_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LiteLLM().model_name == "gpt-4o" and LiteLLM("a/b").model_name == "a/b"
    monkeypatch.setenv("DEFAULT_LITELLM_MODEL", "second")
    assert LiteLLM().model_name == "second"
    monkeypatch.setenv("TRACE_LITELLM_MODEL", "first")
    assert LiteLLM().model_name == "first" and LiteLLM(model="given").model_name == "given"
    assert LiteLLM(cache=False).cache is False and LiteLLM().cache is True


def test_litellm_travels() -> None:
    m = LiteLLM(model="x", max_retries=2, base_delay=0.0)
    assert pickle.loads(pickle.dumps(m)).model_name == "x" and copy.deepcopy(m).model_name == "x"


def test_litellm_calls_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    calls: list[Any] = []

    def completion(model: str, *args: Any, **kwargs: Any) -> Any:
        calls.append((model, args, kwargs))
        message = types.SimpleNamespace(content="from litellm")
        return types.SimpleNamespace(choices=[types.SimpleNamespace(message=message)])

    fake = types.ModuleType("litellm")
    fake.__spec__ = importlib.machinery.ModuleSpec("litellm", None)
    fake.completion = completion  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litellm", fake)
    out = LiteLLM(model="m")(messages=HELLO, max_tokens=3)
    assert out.choices[0].message.content == "from litellm"
    assert calls[0][0] == "m" and calls[0][2]["messages"] == HELLO and calls[0][2]["max_tokens"] == 3


def test_custom_llm_needs_nothing_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("TRACE_CUSTOMLLM_API_KEY", "k")
    m = CustomLLM(model="m")
    assert isinstance(m, AbstractModel) and callable(m.create)


def test_autogen_is_late() -> None:
    import importlib.util

    if importlib.util.find_spec("autogen") is None:
        with pytest.raises(Exception):  # noqa: B017
            AutoGenLLM()


# --- profiles -------------------------------------------------------------------------------------------------------


def test_built_in_profiles() -> None:
    want = {
        "default": "gpt-4o-mini", "premium": "gpt-4", "cheap": "gpt-4o-mini", "fast": "gpt-3.5-turbo-mini",
        "reasoning": "o1-mini",
    }  # fmt: skip
    assert set(want) <= set(LLMFactory.list_profiles())
    for profile, name in want.items():
        made = LLMFactory.get_llm(profile)
        assert isinstance(made, LiteLLM) and made.model_name == name
        assert isinstance(LLMFactory.get_profile_info(profile), dict)
    assert LLMFactory.get_llm().model_name == "gpt-4o-mini"
    assert LLMFactory.get_profile_info("no such") is None
    assert set(want) <= set(LLMFactory.get_profile_info())
    with pytest.raises(ValueError):
        LLMFactory.get_llm("no such")


def test_own_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    calls: list[Any] = []
    fake = types.ModuleType("litellm")
    fake.__spec__ = importlib.machinery.ModuleSpec("litellm", None)
    message = types.SimpleNamespace(content="ok")
    reply = types.SimpleNamespace(choices=[types.SimpleNamespace(message=message)])
    fake.completion = lambda model, *a, **k: calls.append((model, k)) or reply  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litellm", fake)
    LLMFactory.register_profile("contract test", "LiteLLM", model="m1", temperature=0.3, max_tokens=9)
    assert "contract test" in LLMFactory.list_profiles()
    LLMFactory.get_llm("contract test")(messages=HELLO, max_tokens=4)
    assert calls[0][0] == "m1" and calls[0][1]["temperature"] == 0.3 and calls[0][1]["max_tokens"] == 4
    LLMFactory.register_profile("contract test", "LiteLLM", model="m2")
    assert LLMFactory.get_llm("contract test").model_name == "m2"
    LLMFactory.register_profile("contract odd", "NoSuchBackend")
    with pytest.raises(ValueError):
        LLMFactory.get_llm("contract odd")


def test_tests_may_patch_llm(monkeypatch: pytest.MonkeyPatch) -> None:
    from opto.optimizers import OptoPrimeV1
    from opto.trace import node

    fake = DummyLLM(shout)
    monkeypatch.setattr(llms, "LLM", lambda *a, **k: fake)
    o = OptoPrimeV1([node(1, trainable=True)])
    assert o.llm is fake


# --- retry ----------------------------------------------------------------------------------------------------------


def failing(*errors: Exception) -> Any:
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


@pytest.mark.parametrize(
    "text", ["rate limit reached", "timeout", "503 service unavailable", "connection reset", "overloaded", "quota"]
)
def test_passing_errors_are_retried(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert retry_with_exponential_backoff(failing(RuntimeError(text)), base_delay=0.001) == "done"
    assert len(waits) == 1


def test_other_errors_are_not() -> None:
    with pytest.raises(KeyError):
        retry_with_exponential_backoff(failing(KeyError("wrong"), KeyError("x")), base_delay=0.001)


def test_the_last_failure_says_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    call = failing(*(TimeoutError("connection timeout") for _ in range(9)))
    with pytest.raises(RuntimeError, match=r"fetch.*3|3.*fetch") as e:
        retry_with_exponential_backoff(call, max_retries=3, base_delay=1.0, operation_name="fetch")
    assert "timeout" in str(e.value)
    assert waits[:2] == pytest.approx([1.0, 2.1])


def test_waits_of_rate_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    call = failing(*(RuntimeError("rate limit") for _ in range(3)))
    assert retry_with_exponential_backoff(call, base_delay=1.0) == "done"
    assert waits == pytest.approx([2.0, 9.0, 20.0])


# --- the rest -------------------------------------------------------------------------------------------------------


def test_config_list_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(llms.auto_construct_oai_config_list_from_env(), list)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    configs = llms.auto_construct_oai_config_list_from_env()
    assert any(c.get("api_key") == "sk-test" and c.get("model") == "gpt-4o" for c in configs)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "ak-test")
    assert any(c.get("api_key") == "ak-test" for c in llms.auto_construct_oai_config_list_from_env())


def test_embed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import sys
    import types

    fake = types.ModuleType("litellm")
    fake.__spec__ = importlib.machinery.ModuleSpec("litellm", None)
    fake.embedding = lambda *a, **k: types.SimpleNamespace(  # type: ignore[attr-defined]
        data=[{"embedding": [1.0, 2.0]}]
    )
    monkeypatch.setitem(sys.modules, "litellm", fake)
    assert llms.embed("m", "text") == [1.0, 2.0]

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("no such model")

    fake.embedding = broken  # type: ignore[attr-defined]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert llms.embed("m", "text", max_retries=1, base_delay=0.0) is None
    assert caught or any(r.levelname == "WARNING" for r in caplog.records)
