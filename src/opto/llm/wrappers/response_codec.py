"""A response as plain JSON data and back, for files. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from opto.llm.base import Choice, Message, Response, TokenUsage

__all__ = ["dump", "from_plain", "load", "to_plain"]


def to_plain(response: Any) -> dict[str, Any]:
    """Plain data of a response, ours or one of the same shape; TypeError if a choice holds no text. None is no words.

    >>> to_plain(Response.of("hi"))
    {'choices': [{'content': 'hi', 'role': 'assistant', 'finish_reason': 'stop'}], 'usage': {}, 'model': None}
    """
    model = getattr(response, "model", None)
    return {
        "choices": [_choice(choice) for choice in response.choices],
        "usage": _usage(getattr(response, "usage", None)),
        "model": model if isinstance(model, str) else None,
    }


def from_plain(data: Mapping[str, Any]) -> Response:
    """The response that `to_plain` wrote; KeyError, TypeError or ValueError if the data is something else."""
    choices = tuple(Choice(_message(choice), choice.get("finish_reason")) for choice in data["choices"])
    if not choices:
        raise ValueError("no choices")
    usage = data["usage"]
    return Response(choices, TokenUsage(usage.get("prompt_tokens"), usage.get("completion_tokens")), data.get("model"))


def dump(response: Any) -> bytes:
    """`to_plain` as bytes; every string survives, lone surrogates included."""
    return json.dumps(to_plain(response), ensure_ascii=False).encode("utf-8", "surrogatepass")


def load(data: bytes) -> Response:
    """The response that `dump` wrote."""
    return from_plain(json.loads(data.decode("utf-8", "surrogatepass")))


def _choice(choice: Any) -> dict[str, Any]:
    message, reason = choice.message, getattr(choice, "finish_reason", None)
    role, refusal = getattr(message, "role", None), getattr(message, "refusal", None)
    plain: dict[str, Any] = {
        "content": _text("" if message.content is None else message.content),
        "role": role if isinstance(role, str) else "assistant",
        "finish_reason": reason if isinstance(reason, str) else None,
    }
    calls = getattr(message, "tool_calls", None)
    if isinstance(calls, (list, tuple)) and calls:
        plain["tool_calls"] = [_tool_call(call) for call in calls]
    if isinstance(refusal, str):
        plain["refusal"] = refusal
    return plain


def _tool_call(call: Any) -> dict[str, Any]:
    """A call of a tool: ours is plain already, that of another library knows how to become so."""
    if isinstance(call, Mapping):
        return dict(cast("Mapping[str, Any]", call))
    become: Any = getattr(call, "model_dump", None)
    if not callable(become):
        raise TypeError(f"a call of a tool is a {type(call).__name__}")
    return cast("dict[str, Any]", become())


def _message(plain: Mapping[str, Any]) -> Message:
    calls = tuple(dict(call) for call in plain.get("tool_calls", ()))
    return Message(_text(plain["content"]), _text(plain["role"]), calls, plain.get("refusal"))


def _usage(usage: Any) -> dict[str, int]:
    counts = {name: getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")}
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {type(value).__name__}")
    return value
