"""Choose a backend by name or profile."""

from __future__ import annotations

import inspect
import os
from typing import Any, ClassVar

from opto.llm.abstract import AbstractModel
from opto.llm.backends.autogen_backend import AutoGenLLM
from opto.llm.backends.common import Backend
from opto.llm.backends.hosted import CustomLLM, EmbeddedLLM, LiteLLM

__all__ = ["BACKENDS", "LLM", "LLMFactory"]

BACKENDS: dict[str, type[AbstractModel]] = {
    "AutoGen": AutoGenLLM,
    "CustomLLM": CustomLLM,
    "LiteLLM": LiteLLM,
    "Local": EmbeddedLLM,
}


class LLMFactory:
    """Models under names of one's own: a profile is a backend and its parameters.

    Parameters that the backend's constructor does not know (temperature, max_tokens …) become default
    completion options.

    >>> LLMFactory.register_profile("precise", "LiteLLM", model="gpt-4o-mini", temperature=0)
    >>> LLMFactory.get_llm("precise").model_name
    'gpt-4o-mini'
    """

    _profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"backend": "LiteLLM", "params": {"model": "gpt-4o-mini"}},
        "premium": {"backend": "LiteLLM", "params": {"model": "gpt-4"}},
        "cheap": {"backend": "LiteLLM", "params": {"model": "gpt-4o-mini"}},
        "fast": {"backend": "LiteLLM", "params": {"model": "gpt-3.5-turbo-mini"}},
        "reasoning": {"backend": "LiteLLM", "params": {"model": "o1-mini"}},
    }

    @classmethod
    def get_llm(cls, profile: str = "default") -> AbstractModel:
        """A new model of this profile; ValueError if it is not registered."""
        entry = cls._profiles.get(profile)
        if entry is None:
            raise ValueError(
                f"No LLM profile '{profile}': known are {', '.join(cls._profiles)}; register_profile adds."
            )
        return _build(entry["backend"], (), entry["params"])

    @classmethod
    def register_profile(cls, name: str, backend: str, **params: Any) -> None:
        """Add a profile, or overwrite one."""
        cls._profiles[name] = {"backend": backend, "params": params}

    @classmethod
    def list_profiles(cls) -> list[str]:
        """All names, the built-in ones first."""
        return list(cls._profiles)

    @classmethod
    def get_profile_info(cls, profile: str | None = None) -> dict[str, Any] | None:
        """Backend and parameters of one profile (None if unknown), or those of all by name."""
        return cls._profiles.get(profile) if profile else cls._profiles


class LLM:
    """Constructing it gives a model of the chosen backend, which is no instance of this class.

    `profile` wins over everything else; then `backend`, then TRACE_DEFAULT_LLM_BACKEND, then LiteLLM.

    >>> LLM("gpt-4o-mini").model_name
    'gpt-4o-mini'
    """

    def __new__(cls, *args: Any, profile: str | None = None, backend: str | None = None, **kwargs: Any) -> Any:
        if profile:
            return LLMFactory.get_llm(profile)
        return _build(backend or os.environ.get("TRACE_DEFAULT_LLM_BACKEND") or "LiteLLM", args, kwargs)


def _build(backend: str, args: tuple[Any, ...], params: dict[str, Any]) -> AbstractModel:
    kind = BACKENDS.get(backend)
    if kind is None:
        raise ValueError(f"No LLM backend '{backend}': known are {', '.join(BACKENDS)}.")
    known = inspect.signature(kind).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return kind(*args, **params)
    model = kind(*args, **{name: value for name, value in params.items() if name in known})
    rest = {name: value for name, value in params.items() if name not in known}
    return model.with_defaults(rest) if isinstance(model, Backend) else model
