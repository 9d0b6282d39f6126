"""From a model's name and the environment to the server that has it. A table of providers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opto.errors import LLMConfigError, MissingExtraError
from opto.llm.transport.openai_compatible import EnvKey, OpenAICompatible

__all__ = ["PROVIDERS", "AzureToken", "Provider", "azure", "custom", "transport_for"]


@dataclass(frozen=True, slots=True)
class Provider:
    """A service that speaks the OpenAI protocol: address, variables that move it, variables with its key."""

    base_url: str
    keys: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    url_suffix: str = ""
    names: tuple[str, ...] = ()


# `names` are beginnings of model names that need no "provider/" before them.
PROVIDERS: dict[str, Provider] = {
    "anthropic": Provider("https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",), names=("claude",)),
    "deepseek": Provider("https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), names=("deepseek-",)),
    "gemini": Provider(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        names=("gemini-",),
    ),
    "groq": Provider("https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
    "hosted_vllm": Provider("http://127.0.0.1:8000/v1", url_variables=("HOSTED_VLLM_API_BASE",)),
    "mistral": Provider("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    "ollama": Provider("http://127.0.0.1:11434/v1", url_variables=("OLLAMA_API_BASE",), url_suffix="/v1"),
    "openai": Provider("https://api.openai.com/v1", ("OPENAI_API_KEY",), ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "openrouter": Provider("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "together_ai": Provider("https://api.together.xyz/v1", ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY")),
    "xai": Provider("https://api.x.ai/v1", ("XAI_API_KEY",)),
}
_ALIASES = {"ollama_chat": "ollama", "vllm": "hosted_vllm", "google": "gemini"}


def transport_for(model: str, environment: Mapping[str, str], **settings: Any) -> OpenAICompatible:
    """The transport for `provider/model` or a well-known model name; settings go to OpenAICompatible.

    >>> transport_for("ollama/llama3", {})
    OpenAICompatible('http://127.0.0.1:11434/v1', 'llama3')
    """
    prefix, _, rest = model.partition("/")
    if prefix == "azure" and rest:
        return azure(rest, environment, **settings)
    name = _ALIASES.get(prefix, prefix)
    if rest and name in PROVIDERS:
        return _provided(PROVIDERS[name], rest, environment, settings)
    for provider in PROVIDERS.values():
        if model.startswith(provider.names or ("\0",)):
            return _provided(provider, model, environment, settings)
    openai = PROVIDERS["openai"]
    if rest and not any(environment.get(variable) for variable in openai.url_variables):
        raise LLMConfigError(
            f"No route to '{model}': install litellm, which knows more providers, "
            "or set OPENAI_BASE_URL to a server that has this model."
        )
    return _provided(openai, model, environment, settings)


def azure(deployment: str, environment: Mapping[str, str], **settings: Any) -> OpenAICompatible:
    """An Azure OpenAI deployment, by key or (AZURE_TOKEN_PROVIDER_SCOPE) by a bearer token of azure-identity."""
    endpoint = _first(environment, "AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT")
    if endpoint is None:
        raise LLMConfigError(f"No address for azure/{deployment}: set AZURE_API_BASE to your resource's endpoint.")
    version = _first(environment, "AZURE_API_VERSION", "OPENAI_API_VERSION") or "2024-10-21"
    scope = environment.get("AZURE_TOKEN_PROVIDER_SCOPE")
    key = AzureToken(scope) if scope else EnvKey(("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"), f" for azure/{deployment}")
    return OpenAICompatible.azure(
        endpoint, deployment, api_version=version, api_key=key, bearer=bool(scope), **settings
    )


def custom(environment: Mapping[str, str], model: str | None = None, **settings: Any) -> OpenAICompatible:
    """The server that TRACE_CUSTOMLLM_URL, …_MODEL and …_API_KEY describe."""
    url = environment.get("TRACE_CUSTOMLLM_URL")
    if not url:
        raise LLMConfigError(
            "CustomLLM has no server: set TRACE_CUSTOMLLM_URL to its base URL (often it ends in /v1), "
            "and TRACE_CUSTOMLLM_MODEL to its model."
        )
    key = EnvKey(("TRACE_CUSTOMLLM_API_KEY",)) if environment.get("TRACE_CUSTOMLLM_API_KEY") else None
    name = model or environment.get("TRACE_CUSTOMLLM_MODEL") or "gpt-4o"
    return OpenAICompatible(url, name, api_key=key, **settings)


@dataclass(frozen=True, slots=True)
class AzureToken:
    """A bearer token that azure-identity obtains, and renews, for a scope."""

    scope: str

    def __call__(self) -> str:
        try:
            identity = importlib.import_module("azure.identity")
        except ImportError as error:
            raise MissingExtraError("azure-identity", "azure", "AZURE_TOKEN_PROVIDER_SCOPE") from error
        return str(identity.DefaultAzureCredential().get_token(self.scope).token)


def _provided(
    provider: Provider, model: str, environment: Mapping[str, str], settings: Mapping[str, Any]
) -> OpenAICompatible:
    moved = _first(environment, *provider.url_variables)
    url = (
        provider.base_url
        if moved is None
        else moved.rstrip("/").removesuffix(provider.url_suffix) + provider.url_suffix
    )
    needs_key = bool(provider.keys) and (moved is None or _first(environment, *provider.keys) is not None)
    key = EnvKey(provider.keys, f" for {model}") if needs_key else None  # a server of one's own often asks for none
    return OpenAICompatible(url, model, api_key=key, **settings)


def _first(environment: Mapping[str, str], *names: str) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)
