"""Bounds and estimates: the most that a call can cost, its likely cost, the likely cost of a run. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opto.cost import Cost
from opto.llm.base import Messages
from opto.llm.prices import Price

__all__ = ["Bound", "Forecast", "choice_count", "estimated_tokens", "prompt_token_bound", "reply_token_bound"]

_TEMPLATE, _PER_MESSAGE = 64, 16  # what a server's chat template may add, in tokens
_BYTES_PER_TOKEN = 4  # of English text and code, roughly


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that calls may take; dollars are 0 where money is not limited."""

    calls: int = 0
    tokens: int = 0
    money: float = 0.0

    def __add__(self, other: Bound) -> Bound:
        return Bound(self.calls + other.calls, self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Bound) -> Bound:
        return Bound(self.calls - other.calls, self.tokens - other.tokens, self.money - other.money)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The likely cost of a run, and the limits that it would break."""

    calls: int
    tokens: int
    money: float | None
    seconds: float
    breaks: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return not self.breaks

    @classmethod
    def of(cls, dry: Cost, times: float, price: Price | None, limits: Mapping[str, float | None]) -> Forecast:
        """`dry` so many times over, at `price` if one is given."""
        money = dry.money if price is None else price.of(dry.prompt_sum, dry.completion_sum)
        values: dict[str, Any] = {
            "calls": round(dry.calls * times),
            "tokens": round((dry.prompt_sum + dry.completion_sum) * times),
            "money": None if money is None else money * times,
            "seconds": dry.seconds * times,
        }
        breaks = [
            name
            for name, limit in limits.items()
            if limit is not None and (values[name] is None or values[name] > limit)
        ]
        return cls(**values, breaks=tuple(breaks))


def prompt_token_bound(messages: Messages, options: Mapping[str, Any]) -> int:
    """No fewer tokens than the prompt has: a token stands for at least one byte.

    >>> prompt_token_bound([{"role": "user", "content": "four"}], {})
    84
    """
    extra = {name: options[name] for name in ("tools", "functions", "response_format") if options.get(name)}
    size = sum(map(_message_size, messages))
    return _TEMPLATE + _PER_MESSAGE * len(messages) + size + (_size(extra) if extra else 0)


def estimated_tokens(text_bytes: int) -> int:
    """About how many tokens so many bytes are."""
    return -(-text_bytes // _BYTES_PER_TOKEN)


def reply_token_bound(options: Mapping[str, Any]) -> int | None:
    """How many tokens all choices together may have; None when the request does not bound them."""
    if options.get("embedding"):
        return 0
    limits = (options.get(name) for name in ("max_tokens", "max_completion_tokens"))
    given = [limit for limit in limits if isinstance(limit, int)]
    return min(given) * choice_count(options) if given else None


def choice_count(options: Mapping[str, Any]) -> int:
    """How many answers the request asks for."""
    wanted = options.get("n")
    return wanted if isinstance(wanted, int) and wanted > 0 else 1


def _message_size(message: Mapping[str, Any]) -> int:
    size = _size(message.get("content"))
    if len(message) > 2:  # a name, calls of tools, what these said
        size += _size({name: value for name, value in message.items() if name not in ("role", "content")})
    return size


def _size(content: Any) -> int:
    text = content if isinstance(content, str) else json.dumps(content, default=repr, ensure_ascii=False)
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
