"""The seam: the protocol of a language model, and the records that it answers with.

A model is anything callable with chat messages that has an async twin `acall`:

>>> def first_word(llm: LLM) -> str:
...     return llm(messages=[{"role": "user", "content": "Hi"}], max_tokens=5).text.split()[0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

__all__ = [
    "DELIVERY_OPTIONS",
    "LLM",
    "ChatMessage",
    "Choice",
    "Chunk",
    "ChunkChoice",
    "Delta",
    "Message",
    "Messages",
    "Options",
    "Response",
    "TokenUsage",
    "Usage",
    "identity_of",
    "request_options",
]

ChatMessage = Mapping[str, Any]
"""One message as sent: `role` and `content`, plus whatever the server knows."""
Messages = Sequence[ChatMessage]
Options = Mapping[str, Any]
"""max_tokens, temperature, response_format, n, stop, seed …; an option that is None is not sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """A model's reply: its text, its calls of tools (as the protocol's plain dicts), or its refusal."""

    content: str
    role: str = "assistant"
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the `n` answers; `finish_reason` is "stop", "length" … or None when unknown."""

    message: Message
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens paid for; None, which is not zero, if the server did not tell."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """Both together, None when either is unknown."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


Usage = TokenUsage  # the shorter name, which programs import


@dataclass(frozen=True, slots=True)
class Response:
    """A model's answer, in the shape that users of OpenAI-like libraries know.

    >>> Response.of("Hello").choices[0].message.content
    'Hello'
    """

    choices: tuple[Choice, ...]
    usage: TokenUsage = field(default_factory=TokenUsage)
    model: str | None = None

    @classmethod
    def of(cls, *texts: str, usage: TokenUsage | None = None, model: str | None = None) -> Response:
        """Build a response with one choice a text."""
        return cls(tuple(Choice(Message(text), "stop") for text in texts), usage or TokenUsage(), model)

    @property
    def text(self) -> str:
        """The content of the first choice."""
        return self.choices[0].message.content


@dataclass(frozen=True, slots=True)
class Delta:
    """The part of a message that a chunk adds."""

    content: str
    role: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkChoice:
    """A chunk's part of the answer number `index`."""

    delta: Delta
    index: int = 0
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer, in the shape that users of OpenAI-like libraries know."""

    choices: tuple[ChunkChoice, ...]
    usage: TokenUsage | None = None
    model: str | None = None

    @property
    def text(self) -> str:
        """The text that this chunk adds to the first answer."""
        return "".join(choice.delta.content for choice in self.choices if choice.index == 0)


DELIVERY_OPTIONS = frozenset(
    {"api_key", "azure_ad_token", "azure_ad_token_provider", "extra_headers", "headers", "max_retries", "timeout"}
)
"""Options that say how a request is sent, which no answer depends on: keys, headers, limits of time."""
_NOT_ASKED = DELIVERY_OPTIONS | {"stream", "stream_options"}


def request_options(options: Options) -> dict[str, Any]:
    """The options that decide the answer, for a cache's key and for recordings: no keys, no manner of delivery.

    >>> request_options({"seed": 1, "stop": None, "timeout": 5, "api_key": "secret"})
    {'seed': 1}
    """
    return {name: value for name, value in options.items() if value is not None and name not in _NOT_ASKED}


@runtime_checkable
class LLM(Protocol):
    """Anything that answers chat messages; wrappers (retry, cache …) wrap one and are one."""

    def __call__(self, messages: Messages, **options: Any) -> Response:
        """Answer, or raise a subclass of `opto.errors.LLMError`."""
        ...

    async def acall(self, messages: Messages, **options: Any) -> Response:
        """Answer without blocking the event loop; otherwise the same."""
        ...


def identity_of(llm: object) -> str:
    """Name the model behind `llm` so that equal requests to equal names may share an answer.

    Reads `llm.identity` when there is one; otherwise the class and the model's name stand for it.
    """
    identity = getattr(llm, "identity", None)
    if isinstance(identity, str):
        return identity
    name = getattr(llm, "model_name", None) or getattr(llm, "model", None)
    kind = type(llm)
    return f"{kind.__module__}.{kind.__qualname__}:{name if isinstance(name, str) else ''}"
