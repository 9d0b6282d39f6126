"""A short memory: the last few entries, the oldest dropped first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

__all__ = ["FIFOBuffer"]


class FIFOBuffer:
    """Keeps the last `size` items; size 0 keeps nothing.

    >>> memory = FIFOBuffer(2)
    >>> for item in "abc":
    ...     memory.add(item)
    >>> list(memory), len(memory)
    (['b', 'c'], 2)
    """

    def __init__(self, size: int) -> None:
        given: Any = size
        if not isinstance(given, int) or given < 0:
            raise ValueError(f"A memory holds a whole number of attempts, 0 or more, not {size!r}.")
        self.size = size
        self._items: deque[Any] = deque(maxlen=size)

    @property
    def buffer(self) -> list[Any]:
        """The items, oldest first."""
        return list(self._items)

    def add(self, item: Any) -> None:
        """Remember `item`, forgetting the oldest if there is no room."""
        self._items.append(item)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.buffer)

    def __len__(self) -> int:
        return len(self._items)
