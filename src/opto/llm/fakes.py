"""Models that need no model: for tests, and for trying a program out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, cast

from opto.errors import LLMError
from opto.llm.abstract import AbstractModel
from opto.llm.base import Messages, Response
from opto.llm.stream import Stream

__all__ = ["DummyLLM", "ScriptedLLM"]


class DummyLLM(AbstractModel):
    """Answer by calling a Python function with whatever the caller gave.

    The function returns the text, a list of texts (one a choice) or a response object; a module-level
    function keeps the model picklable.

    >>> llm = DummyLLM(lambda messages, **options: messages[-1]["content"].upper())
    >>> llm(messages=[{"role": "user", "content": "hi"}]).choices[0].message.content
    'HI'
    """

    def __init__(self, callable: Callable[..., Any], reset_freq: float | None = None) -> None:
        self.callable = callable
        super().__init__(self._build, reset_freq)

    @property
    def identity(self) -> str:
        name = getattr(self.callable, "__qualname__", type(self.callable).__qualname__)
        return f"DummyLLM:{getattr(self.callable, '__module__', '')}.{name}"

    def _build(self) -> Callable[..., Any]:
        return self._answer

    def _answer(self, *args: Any, **kwargs: Any) -> Any:
        said = self.callable(*args, **kwargs)
        texts = _texts(said)
        if not texts and hasattr(said, "choices"):
            return said
        response = Response.of(*texts) if texts else Response.of(said)
        return Stream.of(response) if kwargs.get("stream") else response


def _texts(said: Any) -> list[str]:
    """A list of texts as it is; anything else, also a list that holds other things, as no texts."""
    items: list[object] = list(said) if isinstance(said, (list, tuple)) else []
    texts = [item for item in items if isinstance(item, str)]
    return texts if len(texts) == len(items) else []


class ScriptedLLM:
    """Give prepared replies in order, and keep the requests in `calls`; an error in the list is raised.

    A call beyond the last reply is an LLMError.

    >>> llm = ScriptedLLM(["one", "two"])
    >>> ask = [{"role": "user", "content": "?"}]
    >>> llm(ask).text, llm(ask, temperature=1).text, llm.calls[1]["temperature"]
    ('one', 'two', 1)
    """

    model_name = "scripted"

    def __init__(self, replies: Iterable[str | Response | Exception]) -> None:
        self._replies = list(replies)
        self._lock = threading.Lock()
        self.calls: list[dict[str, Any]] = []

    def __call__(self, messages: Messages, **options: Any) -> Response:
        with self._lock:
            turn = len(self.calls)
            self.calls.append({"messages": messages, **options})
        if turn >= len(self._replies):
            raise LLMError(f"ScriptedLLM has {len(self._replies)} replies and got call {turn + 1}: script more.")
        reply = self._replies[turn]
        if isinstance(reply, Exception):
            raise reply
        response = Response.of(reply) if isinstance(reply, str) else reply
        return cast(Response, Stream.of(response)) if options.get("stream") else response

    async def acall(self, messages: Messages, **options: Any) -> Response:
        return self(messages, **options)

    def __getstate__(self) -> dict[str, Any]:
        return {"_replies": self._replies, "calls": list(self.calls)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
