"""Ambient state of tracing: is it on, and who records reads of data.

Both live in ContextVars, so every thread and task has its own and nothing can
leak out of a `with` block. A leaf: imports the standard library only.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
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

    Works as a context manager or a decorator (of coroutine functions and generators too), nests, and ends with what
    held before, also after an error. It holds for the running thread or task and for the tasks that it starts.

    A generator that yields inside of such a block hands its consumer the stopped state until it goes on: Python has no
    context of their own for generators. Decorate it instead; then only its own steps run stopped. A new thread, that
    of `loop.run_in_executor` included, starts with recording on: give it `contextvars.copy_context().run, f`, or call
    `asyncio.to_thread`, which does so.

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
        @functools.wraps(fun)
        def quiet(*args: Any, **kwargs: Any) -> Any:
            with stop_tracing():
                return fun(*args, **kwargs)

        @functools.wraps(fun)
        async def quiet_async(*args: Any, **kwargs: Any) -> Any:
            with stop_tracing():
                return await fun(*args, **kwargs)

        if inspect.isgeneratorfunction(fun):
            return cast(_F, _quiet_steps(fun))
        if inspect.isasyncgenfunction(fun):
            return cast(_F, _quiet_steps_async(fun))
        return cast(_F, quiet_async if inspect.iscoroutinefunction(fun) else quiet)


def _quiet_steps(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function whose steps run stopped, one by one; what it yields, its consumer gets outside."""

    @functools.wraps(fun)
    def steps(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        inner = fun(*args, **kwargs)
        step, given = inner.send, None
        while True:
            try:
                with stop_tracing():
                    made, given = step(given), None  # an error given to it must not stay here: it knows this frame
            except StopIteration as end:
                return end.value
            try:
                step, given = inner.send, (yield made)
            except GeneratorExit:
                with stop_tracing():
                    inner.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is for the inner generator to judge
                step, given = inner.throw, error

    return steps


def _quiet_steps_async(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The same for an asynchronous generator function."""

    @functools.wraps(fun)
    async def steps(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inner = fun(*args, **kwargs)
        step, given = inner.asend, None
        while True:
            try:
                with stop_tracing():
                    made, given = await step(given), None
            except StopAsyncIteration:
                return
            try:
                step, given = inner.asend, (yield made)
            except GeneratorExit:
                with stop_tracing():
                    await inner.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - it is for the inner generator to judge
                step, given = inner.athrow, error

    return steps
