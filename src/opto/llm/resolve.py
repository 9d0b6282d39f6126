"""The default model: the one that the environment configures, else the one on this machine."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping

from opto.errors import LLMConfigError
from opto.llm.base import LLM
from opto.llm.local.local_llm import LocalLLM
from opto.llm.local.progress import Progress, Report, watch
from opto.llm.local.server_process import require_extra
from opto.llm.transport.providers import azure, custom, transport_for
from opto.llm.wrappers.retry import Retry

__all__ = ["configured_llm", "default_llm", "local_llm", "named_model"]

_log = logging.getLogger(__name__)
_NOTE = (
    "No language model is configured, so {name} runs on this machine "
    "(set OPENAI_API_KEY or TRACE_CUSTOMLLM_URL to use another)"
)
_WHY_LOCAL = (
    "Without a configured model (set OPENAI_API_KEY or TRACE_CUSTOMLLM_URL to have one) the local model answers; it"
)


def default_llm(environment: Mapping[str, str] | None = None) -> LLM:
    """The model that the environment asks for, or the local one when it asks for none (and a note says so).

    In order: TRACE_DEFAULT_LLM_BACKEND (LiteLLM, CustomLLM, Local), TRACE_CUSTOMLLM_URL,
    TRACE_LITELLM_MODEL or DEFAULT_LITELLM_MODEL, the keys of OpenAI, Azure, Anthropic.
    """
    environment = os.environ if environment is None else environment
    return configured_llm(environment) or local_llm()


def configured_llm(environment: Mapping[str, str]) -> LLM | None:
    """The model that the environment asks for; None when it asks for none."""
    backend = environment.get("TRACE_DEFAULT_LLM_BACKEND")
    if backend:
        make = _BACKENDS.get(backend)
        if make is None:
            raise LLMConfigError(
                f"TRACE_DEFAULT_LLM_BACKEND is '{backend}': here it may be {', '.join(_BACKENDS)}; "
                "others are reached through opto.utils.llm.LLM()."
            )
        return make(environment)
    for variables, make in _SIGNS:
        sign = next((name for name in variables if environment.get(name)), None)
        if sign is not None:
            llm = make(environment)
            _log.info("%r answers, because %s is set", llm, sign)
            return llm
    return None


def named_model(environment: Mapping[str, str]) -> str | None:
    """The model that the user named in the environment."""
    return environment.get("TRACE_LITELLM_MODEL") or environment.get("DEFAULT_LITELLM_MODEL") or None


def local_llm(report: Report | None = None) -> LocalLLM:
    """The model on this machine, with a note, once in a process, that nothing else is configured."""
    require_extra(_WHY_LOCAL)
    llm = LocalLLM(report=report)
    _say_once(_NOTE.format(name=llm.model_name), report)
    return llm


def _named(environment: Mapping[str, str]) -> LLM:
    return Retry(transport_for(named_model(environment) or "gpt-4o", environment))


_BACKENDS: dict[str, Callable[[Mapping[str, str]], LLM]] = {
    "CustomLLM": lambda environment: Retry(custom(environment)),
    "LiteLLM": _named,
    "Local": lambda environment: LocalLLM(),
}
# What shows that a model is configured, in the order in which it counts.
_SIGNS: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, str]], LLM]], ...] = (
    (("TRACE_CUSTOMLLM_URL",), lambda environment: Retry(custom(environment))),
    (("TRACE_LITELLM_MODEL", "DEFAULT_LITELLM_MODEL"), _named),
    (("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"), _named),
    (
        ("AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"),
        lambda environment: Retry(azure(environment.get("AZURE_OPENAI_DEPLOYMENT") or "gpt-4o", environment)),
    ),
    (
        ("ANTHROPIC_API_KEY",),
        lambda environment: Retry(transport_for("anthropic/claude-sonnet-4-5", environment)),
    ),
)

_said: set[str] = set()
_said_lock = threading.Lock()


def _say_once(note: str, report: Report | None) -> None:
    with _said_lock:
        if note in _said:
            return
        _said.add(note)
    _log.info(note)
    (report or watch())(Progress(note))
