"""Typed events: what happened, for machines. A leaf: it imports nothing of ours.

A part that has news builds a frozen dataclass deriving from `Event` (in its own
module, beside the code that emits it) and calls `emit(event)`. Whoever wants to
know says so for the current context:

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Tick(Event):
...     count: int
>>> seen = []
>>> with listen(seen.append):
...     emit(Tick(1))
>>> seen
[Tick(count=1)]
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar

__all__ = ["Event", "emit", "listen"]


class Event:
    """Base of all events, which are frozen dataclasses."""


Listener = Callable[[Event], object]
_LISTENERS: ContextVar[tuple[Listener, ...]] = ContextVar("opto_listeners", default=())


def emit(event: Event) -> None:
    """Hand `event` to every listener of this context, outermost first; their errors propagate."""
    for listener in _LISTENERS.get():
        listener(event)


class listen:
    """Let `listener` hear every event emitted inside the block, in this thread or task and its children."""

    # A function to its users; a class because one is made for each call of a model, and this is the quicker way.

    __slots__ = ("_listener", "_token")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __enter__(self) -> None:
        self._token = _LISTENERS.set((*_LISTENERS.get(), self._listener))

    def __exit__(self, *error: object) -> None:
        with suppress(ValueError):  # a coroutine that is dropped ends in another context, which heard nothing
            _LISTENERS.reset(self._token)
