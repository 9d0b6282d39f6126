"""The abilities of a model, so that a prompt can ask for a reply in the shape that suits it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["ModelProfile", "Reply", "known_profile", "profile_of"]

Reply = Literal["json_schema", "json_object", "prefill", "text"]


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """Facts about one model behind one server.

    `reply` is the shape to ask for: "json_schema" and "json_object" are enforced by the server,
    "prefill" means that the server continues a final assistant message (a begun code fence) and that
    the response holds the continuation only, "text" promises nothing. `context_tokens` counts prompt
    and reply together. `small` asks for short prompts, one change at a time. `limit_option` is
    the name under which the server knows `max_tokens`.
    """

    name: str
    reply: Reply = "json_object"
    context_tokens: int = 8192
    small: bool = False
    limit_option: str = "max_tokens"


# First match wins, so longer prefixes stand first.
_KNOWN: tuple[tuple[str, ModelProfile], ...] = (
    ("gpt-3.5", ModelProfile("gpt-3.5", "json_object", 16_000)),
    ("gpt-4o", ModelProfile("gpt-4o", "json_schema", 128_000)),
    ("gpt-4.1", ModelProfile("gpt-4.1", "json_schema", 1_000_000)),
    ("gpt-4-turbo", ModelProfile("gpt-4-turbo", "json_object", 128_000)),
    ("gpt-4", ModelProfile("gpt-4", "text", 8_000)),
    ("gpt-5", ModelProfile("gpt-5", "json_schema", 256_000, limit_option="max_completion_tokens")),
    ("o1-mini", ModelProfile("o1-mini", "text", 128_000, limit_option="max_completion_tokens")),
    ("o1", ModelProfile("o1", "json_schema", 200_000, limit_option="max_completion_tokens")),
    ("o3", ModelProfile("o3", "json_schema", 200_000, limit_option="max_completion_tokens")),
    ("o4", ModelProfile("o4", "json_schema", 200_000, limit_option="max_completion_tokens")),
    ("claude", ModelProfile("claude", "text", 200_000)),
    ("gemini", ModelProfile("gemini", "json_schema", 1_000_000)),
)


def known_profile(model: str) -> ModelProfile:
    """Look a hosted model's name up; an unknown name gets the careful default.

    >>> known_profile("gpt-4o-mini").reply, known_profile("my-model").reply
    ('json_schema', 'json_object')
    """
    for prefix, profile in _KNOWN:
        if model.startswith(prefix):
            return replace(profile, name=model)
    return ModelProfile(model)


def profile_of(llm: object) -> ModelProfile:
    """The profile of a model: its own `profile`, else the careful default (JSON object, not small)."""
    profile = getattr(llm, "profile", None)
    if isinstance(profile, ModelProfile):
        return profile
    name = getattr(llm, "model_name", None)
    return ModelProfile(name if isinstance(name, str) else type(llm).__name__)
