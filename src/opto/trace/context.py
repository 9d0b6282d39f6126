"""Ambient state of tracing: is it on, and who records reads of data.

Both live in ContextVars, so every thread and task has its own and nothing can
leak out of a `with` block. A leaf: imports the standard library only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from opto.deferred import Deferred

if TYPE_CHECKING:
    import inspect
else:
    inspect = Deferred("inspect")

__all__ = ["TRACING", "USED_NODES", "is_tracing", "stop_tracing"]

TRACING: ContextVar[bool] = ContextVar("opto_tracing", default=True)
USED_NODES: ContextVar[set[Any] | None] = ContextVar("opto_used_nodes", default=None)
"""The nodes whose `.data` the running bundled body has read; None while nobody records."""

_OUTER: ContextVar[tuple[tuple[bool, set[Any] | None], ...]] = ContextVar("opto_outer", default=())
"""What held outside of each `stop_tracing` that this context is in. Here, not in the blocks: one `stop_tracing()`
may be entered by many threads, and blocks of generators may end in another order than they began."""

is_tracing = TRACING.get

_F = TypeVar("_F", bound=Callable[..., Any])


class stop_tracing:
    """Compute without recording: inside the block new nodes have no inputs.

    Works as a context manager or a decorator (of coroutine functions too), nests, and ends with what
    held before, also after an error.

    >>> from opto.trace import node
    >>> x = node(1)
    >>> with stop_tracing():
    ...     y = x + 1
    >>> y.data, y.parents
    (2, [])
    """

    def __enter__(self) -> stop_tracing:
        _OUTER.set((*_OUTER.get(), (TRACING.get(), USED_NODES.get())))
        TRACING.set(False)
        USED_NODES.set(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outer = _OUTER.get()
        if outer:  # a generator may be closed by a context that never entered the block
            tracing, used = outer[-1]
            _OUTER.set(outer[:-1])
            TRACING.set(tracing)
            USED_NODES.set(used)

    def __call__(self, fun: _F) -> _F:
        if inspect.isgeneratorfunction(fun) or inspect.isasyncgenfunction(fun):
            raise TypeError(
                f"stop_tracing() cannot decorate {fun.__name__}, a generator, which stops and goes on in between: "
                "write `with stop_tracing():` around what it computes between two yields."
            )

        @functools.wraps(fun)
        def quiet(*args: Any, **kwargs: Any) -> Any:
            with stop_tracing():
                return fun(*args, **kwargs)

        @functools.wraps(fun)
        async def quiet_async(*args: Any, **kwargs: Any) -> Any:
            with stop_tracing():
                return await fun(*args, **kwargs)

        return cast(_F, quiet_async if inspect.iscoroutinefunction(fun) else quiet)
