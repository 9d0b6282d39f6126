"""Generators and coroutines in a worker: they stay there, and the program takes one value at a time.

Imports the standard library only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any

__all__ = ["Generators"]

_MOST = 1000


class Generators:
    """The generators that are under way, by number."""

    def __init__(self) -> None:
        self._generators: dict[int, Any] = {}
        self._next = 0
        self._loop: Any = None

    def add(self, stream: Any) -> int:
        """Keeps a generator; of very many the oldest are given up."""
        if len(self._generators) >= _MOST:
            self._generators.pop(next(iter(self._generators)))
        self._next += 1
        self._generators[self._next] = stream
        return self._next

    def finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine to its end, and cancels the tasks that it started."""
        import asyncio  # here: most code needs none, and a worker is to be ready soon

        loop = self._loop
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()

    def next_value(self, number: int, value: Any) -> tuple[bool, Any]:
        """Takes the next value: (False, value), or (True, what the generator returned) at the end."""
        stream = self._generators.get(number)
        if stream is None:
            return True, None
        try:
            if isinstance(stream, AsyncIterator):
                return False, self.finish(_awaited(stream, value))
            return False, next(stream) if value is None else stream.send(value)
        except StopIteration as end:
            del self._generators[number]
            return True, end.value
        except StopAsyncIteration:
            del self._generators[number]
            return True, None
        except BaseException:
            self._generators.pop(number, None)
            raise


async def _awaited(stream: Any, value: Any) -> Any:
    return await (stream.__anext__() if value is None else stream.asend(value))
