"""Ambient state of tracing: whether it is on, which nodes a body has read, and how nodes are named.

The switch and the record of reads live in ContextVars, so every thread and task has its own and nothing can
leak out of a `with` block. `GRAPH` hands out names and holds the switches; it stores counters, not nodes, so it keeps
nothing alive. Imports the standard library only.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextvars import ContextVar
from operator import length_hint
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

__all__ = [
    "COUNTERS",
    "GRAPH",
    "NAME_SCOPES",
    "TRACING",
    "USED_NODES",
    "Graph",
    "is_tracing",
    "next_index",
    "stop_tracing",
    "unwatched",
]

TRACING: ContextVar[bool] = ContextVar("opto_tracing", default=True)
USED_NODES: ContextVar[set[Any] | None] = ContextVar("opto_used_nodes", default=None)
"""The nodes whose `.data` the running bundled body has read; None while nobody records."""

_OUTER: ContextVar[tuple[tuple[bool, set[Any] | None], ...]] = ContextVar("opto_outer", default=())
"""The state outside of each `stop_tracing` that this context is in. Here, not in the blocks: one `stop_tracing()`
may be entered by many threads, and blocks of generators may end in another order than they began."""

is_tracing = TRACING.get

_F = TypeVar("_F", bound=Callable[..., Any])
_P = ParamSpec("_P")
_T = TypeVar("_T")


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
    """A generator function whose steps run stopped, one by one; its consumer gets the yielded values outside."""

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


def unwatched(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Reads of nodes by `method` do not count: the text of an error may read some."""

    @functools.wraps(method)
    def quiet(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        outside = USED_NODES.set(None)
        try:
            return method(*args, **kwargs)
        finally:
            USED_NODES.reset(outside)

    return quiet


NAME_SCOPES: list[str] = []
"""While not empty, its last entry is put before the names of new nodes: `scope/base:k`."""

_ENDLESS = range(2**62)
COUNTERS: dict[str, Iterator[int]] = {}
"""One counter a base name. `next()` on a range iterator is atomic, so names are unique across threads."""


def next_index(base: str) -> int:
    """Draw the next number of the name `base:<number>`."""
    counter = COUNTERS.get(base)
    if counter is None:
        counter = COUNTERS.setdefault(base, iter(_ENDLESS))
    return next(counter)


class Graph:
    """Names and switches of the tape; `GRAPH` is the only instance.

    Attributes: `TRACE` (is recording on in this context), `ALLOW_NESTED_GRAPHS`
    (backward also visits what no parameter reaches, so that `TraceGraph.expand`
    works), `LEGACY_GRAPH_BEHAVIOR` (after the next `clear()` nodes are stored
    and backward leaves the graph attached).
    """

    def __init__(self) -> None:
        self.ALLOW_NESTED_GRAPHS = False
        self.LEGACY_GRAPH_BEHAVIOR = False
        self.nodes: dict[str, Any] | None = None

    @property
    def TRACE(self) -> bool:
        """Whether operations are recorded in this thread or task."""
        return TRACING.get()

    @TRACE.setter
    def TRACE(self, on: bool) -> None:
        TRACING.set(bool(on))

    def clear(self) -> None:
        """Start all names at 0 again; nodes that exist keep theirs."""
        COUNTERS.clear()
        self.nodes = {} if self.LEGACY_GRAPH_BEHAVIOR else None

    def register(self, node: Any) -> None:
        """Give `node` the next free name of its base (and store it in legacy mode)."""
        node._index = next_index(node._op.base)
        self.store(node)

    def store(self, node: Any) -> None:
        """Remember `node` by its name if this is legacy mode."""
        if self.nodes is not None:
            self.nodes[node.name] = node

    def count(self, base: str) -> int:
        """How many nodes named `base:…` were made since the last `clear()`; AssertionError if none ever was."""
        counter = COUNTERS.get(base)
        assert counter is not None, f"No node has the base name {base!r}."
        return len(_ENDLESS) - length_hint(counter)

    def get(self, name: str) -> Any:
        """The node called `name`; ValueError unless in legacy mode."""
        return self._stored()[name]

    @property
    def roots(self) -> list[Any]:
        """All stored nodes without parents; ValueError unless in legacy mode."""
        return [node for node in self._stored().values() if node.is_root]

    def _stored(self) -> dict[str, Any]:
        if self.nodes is None:
            raise ValueError("Nodes are not stored: set GRAPH.LEGACY_GRAPH_BEHAVIOR = True, then GRAPH.clear().")
        return self.nodes

    def __len__(self) -> int:
        return sum(self.count(base) for base in list(COUNTERS))

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        counts = ", ".join(f"{base}: {self.count(base)}" for base in list(COUNTERS))
        return f"Graph({counts})"


GRAPH = Graph()
