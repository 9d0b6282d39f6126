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

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
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


@contextmanager
def listen(listener: Listener) -> Generator[None, None, None]:
    """Let `listener` hear every event emitted inside the block, in this thread or task and its children."""
    token = _LISTENERS.set((*_LISTENERS.get(), listener))
    try:
        yield
    finally:
        with suppress(ValueError):  # a coroutine that is dropped ends in another context, which heard nothing
            _LISTENERS.reset(token)
