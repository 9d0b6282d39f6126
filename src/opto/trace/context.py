"""Ambient state of tracing: is it on, and who records reads of data.

Both live in ContextVars, so every thread and task has its own and nothing can
leak out of a `with` block. A leaf: imports the standard library only.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import ContextVar
from types import TracebackType
from typing import Any

__all__ = ["TRACING", "USED_NODES", "is_tracing", "stop_tracing"]

TRACING: ContextVar[bool] = ContextVar("opto_tracing", default=True)
USED_NODES: ContextVar[set[Any] | None] = ContextVar("opto_used_nodes", default=None)
"""The nodes whose `.data` the running bundled body has read; None while nobody records."""

is_tracing = TRACING.get


class stop_tracing(ContextDecorator):
    """Compute without recording: inside the block new nodes have no inputs.

    Works as a context manager or a decorator, nests, and ends with the value
    that held before, also after an error.

    >>> from opto.trace import node
    >>> x = node(1)
    >>> with stop_tracing():
    ...     y = x + 1
    >>> y.data, y.parents
    (2, [])
    """

    def __init__(self) -> None:
        self._before: list[tuple[bool, set[Any] | None]] = []

    def __enter__(self) -> stop_tracing:
        self._before.append((TRACING.get(), USED_NODES.get()))
        TRACING.set(False)
        USED_NODES.set(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tracing, used = self._before.pop()
        TRACING.set(tracing)
        USED_NODES.set(used)

    def _recreate_cm(self) -> stop_tracing:
        return stop_tracing()
