"""LiteLLM, CustomLLM and the local model as classes with the constructors that old programs use."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import logging
import os
from typing import Any

from opto.cost import token_counts
from opto.errors import BudgetExceeded, LLMError
from opto.llm.backends.common import Backend
from opto.llm.backends.retry_by_words import retry_with_exponential_backoff
from opto.llm.base import LLM, Messages, Response, TokenUsage
from opto.llm.embedding import embedding_request, text_to_embed, vector_of
from opto.llm.local.local_llm import LocalLLM
from opto.llm.profile import ModelProfile, known_profile
from opto.llm.resolve import configured_llm, local_llm, named_model
from opto.llm.transport.failures import from_client
from opto.llm.transport.providers import AzureToken, custom, transport_for
from opto.llm.wrappers.retry import Retry, RetryPolicy

__all__ = ["CustomLLM", "EmbeddedLLM", "LiteLLM", "LiteLLMTransport", "embed"]

_log = logging.getLogger(__name__)


class LiteLLM(Backend):
    """Any hosted model by the name that LiteLLM knows; without that package, by the OpenAI protocol.

    The model is the argument, else TRACE_LITELLM_MODEL, DEFAULT_LITELLM_MODEL or gpt-4o. When
    nobody named one and no key or server is configured, the model on this machine answers.
    `cache` is kept for old programs; wrap the model in `opto.llm.CachedLLM` to cache.
    """

    def __init__(
        self,
        model: str | None = None,
        reset_freq: float | None = None,
        cache: bool = True,
        max_retries: int = 10,
        base_delay: float = 1.0,
    ) -> None:
        super().__init__(self._build, reset_freq)
        self._named = model or named_model(os.environ)
        self.model_name = self._named or "gpt-4o"
        self.cache = cache
        self.max_retries, self.base_delay = max_retries, base_delay

    def _build(self) -> Any:
        installed = importlib.util.find_spec("litellm") is not None
        if installed and (self._named or os.environ.get("OPENAI_API_KEY")):
            return LiteLLMTransport(self.model_name, self.max_retries, self.base_delay)
        if self._named is None:
            # LiteLLM was chosen already: the rest of the environment says which server.
            others = {name: value for name, value in os.environ.items() if name != "TRACE_DEFAULT_LLM_BACKEND"}
            return configured_llm(others) or local_llm()
        policy = RetryPolicy(attempts=self.max_retries, base=self.base_delay)
        return Retry(transport_for(self._named, os.environ), policy)


class LiteLLMTransport:
    """`litellm.completion` with retries, as a model; errors are those of `opto.errors`.

    Its own retries are switched off, as no budget would see them. It makes two more all the same for vectors and
    for Azure: an exact budget for these needs `OpenAICompatible`.
    """

    def __init__(self, model: str, max_retries: int, base_delay: float) -> None:
        self.model_name, self.max_retries, self.base_delay = model, max_retries, base_delay

    @property
    def profile(self) -> ModelProfile:
        return known_profile(self.model_name.rpartition("/")[2])

    @property
    def identity(self) -> str:
        return f"litellm|{self.model_name}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        ask = self._vector if kwargs.get("embedding") else importlib.import_module("litellm").completion
        options = {"max_retries": 0, **self._credentials(), **kwargs}
        name = f"LiteLLM {self.model_name}"

        def call() -> Any:
            try:
                return ask(self.model_name, *args, **options)
            except Exception as error:
                ours = from_client(error, name)
                if ours is None:
                    raise
                raise ours from error

        try:
            return retry_with_exponential_backoff(call, self.max_retries, self.base_delay, name)
        except RuntimeError as error:
            if isinstance(error.__cause__, LLMError):
                raise error.__cause__ from error.__cause__.__cause__
            raise

    def _vector(self, model: str, messages: Messages, embedding: bool = True, **options: Any) -> Response:
        given = {name: value for name, value in options.items() if value is not None}
        reply = importlib.import_module("litellm").embedding(model=model, input=text_to_embed(messages), **given)
        return Response.of(
            json.dumps(reply.data[0]["embedding"]),
            usage=TokenUsage(token_counts(getattr(reply, "usage", None))[0], 0),
            model=model,
        )

    def _credentials(self) -> dict[str, Any]:
        scope = os.environ.get("AZURE_TOKEN_PROVIDER_SCOPE")
        if scope and self.model_name.startswith("azure/"):
            return {"azure_ad_token_provider": AzureToken(scope)}
        return {}


class CustomLLM(Backend):
    """A server that speaks the OpenAI protocol: TRACE_CUSTOMLLM_URL, …_MODEL (gpt-4o), …_API_KEY."""

    def __init__(self, model: str | None = None, reset_freq: float | None = None, cache: bool = True) -> None:
        super().__init__(self._build, reset_freq)
        self.model_name = model or os.environ.get("TRACE_CUSTOMLLM_MODEL") or "gpt-4o"
        self.cache = cache

    def create(self, **config: Any) -> Any:
        """Complete a chat; the model's name is added."""
        return self._live()(**{"model": self.model_name, **self.default_options, **config})

    def _build(self) -> LLM:
        return Retry(custom(os.environ, self.model_name))


class EmbeddedLLM(Backend):
    """The model on this machine (`opto.llm.local.LocalLLM`) as an AbstractModel.

    Settings that LocalLLM does not know (temperature, max_tokens …) are default completion options.
    """

    def __init__(self, model: str | None = None, reset_freq: float | None = None, **settings: Any) -> None:
        super().__init__(self._build, reset_freq)
        known = inspect.signature(LocalLLM).parameters
        self._settings: dict[str, Any] = {
            "model": model,
            **{name: value for name, value in settings.items() if name in known},
        }
        self.default_options = {name: value for name, value in settings.items() if name not in known}

    @property
    def model_name(self) -> str:
        name: str = self._live().model_name
        return name

    def _build(self) -> LocalLLM:
        return LocalLLM(**self._settings)


def embed(model: str | LLM, text: str, max_retries: int = 10, base_delay: float = 1.0) -> list[float] | None:
    """The embedding of `text`, or None (with a logged warning) when the model does not give one.

    `model` is a name or a model, such as one under a budget: `embed(budget.wrap(llm), text)`. A budget that is used up
    is an error, not None. In new programs `llm.embed(text)` and `await llm.aembed(text)` do the same.
    """
    name = model if isinstance(model, str) else repr(model)
    try:
        return retry_with_exponential_backoff(
            lambda: _embed(model, text), max_retries, base_delay, f"embedding by {name}"
        )
    except BudgetExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - the promise is None, whatever a foreign library raises
        _log.warning("no embedding: %s", error)
        return None


def _embed(model: str | LLM, text: str) -> list[float]:
    llm = _named(model) if isinstance(model, str) else model
    return list(vector_of(llm(messages=embedding_request(text), embedding=True)))


def _named(model: str) -> Any:
    if importlib.util.find_spec("litellm") is None:
        return transport_for(model, os.environ)
    return LiteLLMTransport(model, max_retries=1, base_delay=0.0)
