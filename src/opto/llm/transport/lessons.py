"""What a server refuses, learnt from its own words: a request is changed so that the server takes it.

Servers that speak OpenAI's protocol differ in the options that they take, and a model's name does not tell. So nothing
is guessed: what a refusal names is renamed, left out or folded, the call is made again, and the lesson is remembered.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opto.events import Event, emit

__all__ = ["LessonLearnt", "Lessons"]

_log = logging.getLogger(__name__)
_LIMITS = ("max_tokens", "max_completion_tokens")
_DROPPABLE = (
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "reasoning_effort",
    "stream_options",
)
_UNSUPPORTED = re.compile(
    r"not\s+supported|unsupported|not\s+support|only the default|unrecogni[sz]ed|unknown|unexpected|extra\b|"
    r"not\s+(?:allowed|permitted|available|enabled|implemented)",
    re.IGNORECASE,
)
_NO_SYSTEM = re.compile(
    r"\bsystem\b.{0,40}\b(?:role|message|prompt|instruction)|role.{0,20}\bsystem\b|'system'|developer instruction",
    re.IGNORECASE | re.DOTALL,
)
_NO_FORMAT = re.compile(r"response_format|json[ _](?:mode|object|schema)", re.IGNORECASE)
_AT_MOST = re.compile(
    r"(?:at most|maximum|max(?:imum)? of|less than or equal to|<=|limit(?: of| is)?)\D{0,20}(\d+)", re.IGNORECASE
)

Payload = dict[str, Any]


@dataclass(frozen=True)
class LessonLearnt(Event):
    """A server refused something, and this model no longer sends it; `lesson` says what, in words."""

    model: str
    lesson: str


class Lessons:
    """The changes that a server's refusals have taught, for the life of a model and shared by its copies.

    >>> lessons = Lessons()
    >>> payload = {"messages": [], "max_tokens": 9}
    >>> lessons.learn(payload, "'max_tokens' is not supported: use 'max_completion_tokens'", failed=False)
    'max_tokens is sent as max_completion_tokens'
    >>> lessons.applied(payload)
    {'messages': [], 'max_completion_tokens': 9}
    """

    def __init__(self) -> None:
        self._changes: dict[str, Callable[[Payload], Payload]] = {}
        self._lock = threading.Lock()

    def applied(self, payload: Mapping[str, Any]) -> Payload:
        """The request as the server takes it, as far as that is known."""
        changed = dict(payload)
        for change in tuple(self._changes.values()):
            changed = change(changed)
        return changed

    def learn(self, payload: Payload, words: str, *, failed: bool) -> str | None:
        """The new lesson of a refusal, in words; None if it teaches nothing about this payload.

        `words` are the server's; `failed` says that it answered as if it had broken down (status 500 and above).
        """
        found = _lesson_of(payload, words, failed=failed)
        if found is None:
            return None
        lesson, change = found
        with self._lock:
            if lesson in self._changes:
                return None
            self._changes[lesson] = change
        return lesson

    def forget(self, lesson: str) -> None:
        """Take back a lesson that did not help."""
        with self._lock:
            self._changes.pop(lesson, None)

    @staticmethod
    def tell(model: str, lesson: str) -> None:
        """Say, once, that a lesson holds."""
        _log.warning("The server of %s refused a request; from now on %s.", model, lesson)
        emit(LessonLearnt(model, lesson))

    def __copy__(self) -> Lessons:
        return self

    def __deepcopy__(self, memo: Any) -> Lessons:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Lessons, ()


def _lesson_of(payload: Payload, words: str, *, failed: bool) -> tuple[str, Callable[[Payload], Payload]] | None:
    """(the lesson in words, the change of a request) of a refusal; the most telling words first."""
    limit = next((name for name in _LIMITS if name in payload), None)
    if limit is not None and limit in words and "context length" not in words:
        other = _LIMITS[limit == _LIMITS[0]]
        most = _AT_MOST.search(words)
        if most is not None and 0 < int(most[1]) < (payload[limit] or 0):
            return f"{limit} is at most {most[1]}", _capped(int(most[1]))
        if other in words or _UNSUPPORTED.search(words):
            return f"{limit} is sent as {other}", _renamed(limit, other)
    if any(message.get("role") == "system" for message in payload["messages"]) and _NO_SYSTEM.search(words):
        return "the system text stands before the first message of the user", _folded
    if "response_format" in payload and _NO_FORMAT.search(words):
        return "response_format is left out", _without("response_format")
    if not failed and _UNSUPPORTED.search(words):
        named = next((name for name in _DROPPABLE if name in payload and re.search(rf"\b{name}\b", words)), None)
        if named is not None:
            return f"{named} is left out", _without(named)
    if failed and "response_format" in payload:
        return "response_format is left out", _without("response_format")
    return None


def _without(name: str) -> Callable[[Payload], Payload]:
    return lambda payload: {key: value for key, value in payload.items() if key != name}


def _renamed(old: str, new: str) -> Callable[[Payload], Payload]:
    return lambda payload: {new if key == old else key: value for key, value in payload.items()}


def _capped(most: int) -> Callable[[Payload], Payload]:
    def change(payload: Payload) -> Payload:
        return {key: min(value, most) if key in _LIMITS else value for key, value in payload.items()}

    return change


def _folded(payload: Payload) -> Payload:
    """The payload with the texts of the system at the beginning of the first message of the user."""
    told = [message for message in payload["messages"] if message.get("role") == "system"]
    others = [message for message in payload["messages"] if message.get("role") != "system"]
    if not told:
        return payload
    text = "\n\n".join(str(message.get("content") or "") for message in told)
    at = next((i for i, message in enumerate(others) if message.get("role") == "user"), None)
    if at is None:
        return {**payload, "messages": [{"role": "user", "content": text}, *others]}
    content = others[at].get("content")
    whole: Any = [{"type": "text", "text": text}, *content] if isinstance(content, list) else f"{text}\n\n{content}"
    return {**payload, "messages": [*others[:at], {**others[at], "content": whole}, *others[at + 1 :]]}
