"""Read a chat completion's body into a `Response`, believing nothing. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from opto.errors import LLMError, LLMResponseError, LLMServerError
from opto.llm.base import Choice, Chunk, ChunkChoice, Delta, Message, Response, TokenUsage
from opto.llm.transport.failures import from_status, quote, shown_url

__all__ = ["parse_chunk", "parse_completion", "parse_embedding", "parse_json", "without_secret"]

T = TypeVar("T")


def without_secret(parse: Callable[[bytes, str], T], body: bytes, url: str, secret: str | None) -> T:
    """Parse a body; an error that would quote the API key (some servers repeat requests) quotes stars instead."""
    try:
        return parse(body, url)
    except LLMError:
        if not secret or secret.encode() not in body:
            raise
    return parse(body.replace(secret.encode(), b"***"), url)


def parse_json(body: bytes, url: str) -> dict[str, Any]:
    """Decode a body that must be a JSON object."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad(url, f"the reply is not JSON ({_glimpse(body)})") from error
    if not isinstance(data, dict):
        raise _bad(url, f"the reply is a JSON {type(data).__name__}, not an object")
    return data


def parse_completion(body: bytes, url: str) -> Response:
    """Read a chat completion; raise LLMResponseError naming the first thing that is wrong."""
    data = parse_json(body, url)
    choices = data.get("choices")
    told = data.get("error")
    if not choices and (isinstance(told, str) or (isinstance(told, dict) and isinstance(told.get("message"), str))):
        raise _reported_error(told, body, url)
    if not isinstance(choices, list) or not choices:
        what = "has no `choices`" if "choices" not in data else "has empty or malformed `choices`"
        raise _bad(url, f"the reply {what} ({_glimpse(body)})")
    model = data.get("model")
    return Response(
        choices=tuple(_choice(choice, i, url) for i, choice in enumerate(choices)),
        usage=_usage(data.get("usage")),
        model=model if isinstance(model, str) else None,
    )


def parse_chunk(data: bytes, url: str) -> Chunk:
    """Read one event of a streamed completion: JSON without choices (a ping, a list) is an empty chunk, for servers add
    events of their own; what says that it is an error raises LLMServerError.
    """
    try:
        fields = parse_json(data, url)
    except LLMResponseError:
        if data.lstrip()[:1] != b"[":
            raise
        fields = {}
    is_error = "error" in (fields.get("object"), fields.get("type"))
    said = fields.get("error") or (fields.get("message") if is_error else None)
    if said:
        raise LLMServerError(f"{shown_url(url)} broke its stream off, it says: {quote(str(said))}")
    found = fields.get("choices")
    choices: list[Any] = found if isinstance(found, list) else []
    usage, model = fields.get("usage"), fields.get("model")
    return Chunk(
        tuple(_chunk_choice(choice, i, url) for i, choice in enumerate(choices) if isinstance(choice, dict)),
        _usage(usage) if isinstance(usage, dict) else None,
        model if isinstance(model, str) else None,
    )


def parse_embedding(body: bytes, url: str) -> Response:
    """Read the first vector of an embeddings reply: the response's text is that vector in JSON."""
    data = parse_json(body, url)
    rows, model = data.get("data"), data.get("model")
    row = rows[0] if isinstance(rows, list) and rows else None
    vector = row.get("embedding") if isinstance(row, dict) else None
    if not isinstance(vector, list) or not vector or not all(type(x) in (int, float) for x in vector):
        raise _bad(url, f"the reply holds no embedding ({_glimpse(body)})")
    text = json.dumps([float(x) for x in vector])
    usage = TokenUsage(_usage(data.get("usage")).prompt_tokens, 0)
    return Response.of(text, usage=usage, model=model if isinstance(model, str) else None)


def _reported_error(error: Any, body: bytes, url: str) -> LLMError:
    """The error that some gateways send under status 200."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 600:
        return from_status(code, {}, body, url, None)
    said = error["message"] if isinstance(error, dict) else error
    return LLMServerError(f'{shown_url(url)} sent an error in place of an answer, it says: "{quote(said)}"')


def _choice(choice: Any, index: int, url: str) -> Choice:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise _bad(url, f"`choices[{index}].message` is missing")
    content = _content(message.get("content"))
    if content is None:
        kind = type(message["content"]).__name__
        raise _bad(url, f"`choices[{index}].message.content` is a {kind}, not text")
    role, reason, refusal = message.get("role"), choice.get("finish_reason"), message.get("refusal")
    said = Message(
        content,
        role if isinstance(role, str) else "assistant",
        _tool_calls(message.get("tool_calls")),
        refusal if isinstance(refusal, str) else None,
    )
    return Choice(said, reason if isinstance(reason, str) else None)


def _chunk_choice(choice: dict[str, Any], place: int, url: str) -> ChunkChoice:
    given = choice.get("delta")
    delta: dict[str, Any] = given if isinstance(given, dict) else {}
    content = _content(delta.get("content"))
    if content is None:
        raise _bad(url, f"`choices[{place}].delta.content` is a {type(delta['content']).__name__}, not text")
    index, role, reason = choice.get("index"), delta.get("role"), choice.get("finish_reason")
    return ChunkChoice(
        Delta(content, role if isinstance(role, str) else None, _tool_calls(delta.get("tool_calls"))),
        index if isinstance(index, int) else place,
        reason if isinstance(reason, str) else None,
    )


def _content(content: Any) -> str | None:
    """The text of a content, or None if the content is no text. Null is an empty text (a refusal, a tool call)."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # a list of parts, of which texts count
        parts = [part.get("text", "") if isinstance(part, dict) else part for part in content]
        return "".join(parts) if all(isinstance(part, str) for part in parts) else None
    return None


def _tool_calls(calls: Any) -> tuple[dict[str, Any], ...]:
    return tuple(call for call in calls if isinstance(call, dict)) if isinstance(calls, list) else ()


def _usage(usage: Any) -> TokenUsage:
    """Token counts are extra: a senseless one is unknown, it does not spoil the reply."""
    if not isinstance(usage, dict):
        return TokenUsage()
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (c if isinstance(c, int) and not isinstance(c, bool) and c >= 0 else None for c in counts)
    return TokenUsage(prompt, completion)


def _glimpse(body: bytes) -> str:
    text = body[:400].decode("utf-8", "replace")
    return f'it begins with "{quote(text, limit=60)}"' if text.strip() else "it is empty"


def _bad(url: str, what: str) -> LLMResponseError:
    return LLMResponseError(
        f"{shown_url(url)} does not speak the OpenAI protocol: {what}; check the base URL (often it ends in /v1)."
    )
