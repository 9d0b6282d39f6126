"""Live connections: one pool an address for all threads, one for each event loop, none after a fork or a pickle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, finalize

import httpcore

from opto.llm.forks import begins_anew
from opto.llm.transport.address import PORTS, Address
from opto.llm.transport.call_deadline import AsyncSockets, Limit, Sockets
from opto.llm.transport.proxies import surroundings

__all__ = ["Clients", "request_to"]

T = TypeVar("T")

_KEPT = 100  # idle connections
_IDLE = 5.0  # seconds: common servers close theirs after five

Origin = tuple[str, str, int]


class Clients:
    """The live half of a transport; copies and pickles of it start empty."""

    def __init__(self) -> None:
        self._sync: dict[Origin, httpcore.ConnectionPool] = {}
        finalize(self, _close_all, self._sync)
        self.begin_anew()
        begins_anew(self)

    def __reduce__(self) -> tuple[type[Clients], tuple[()]]:
        return Clients, ()

    def begin_anew(self) -> None:
        """Hold nothing: sockets shared with a parent process would mix two conversations."""
        self._lock = threading.Lock()
        self._sync.clear()
        self._async: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Origin, _LoopPool]] = WeakKeyDictionary()

    def sync(self, address: Address) -> httpcore.ConnectionPool:
        """The blocking connections to `address`, shared by all threads of this process."""
        with self._lock:
            pool = self._sync.get(address.origin)
            if pool is None:
                pool = self._sync[address.origin] = _made(httpcore.ConnectionPool, Sockets(), address)
            return pool

    async def loop(self, address: Address) -> httpcore.AsyncConnectionPool:
        """The connections to `address` in the running loop; they close with the loop."""
        with self._lock:
            for old in [loop for loop in self._async if loop.is_closed()]:
                del self._async[old]
            of_loop = self._async.setdefault(asyncio.get_running_loop(), {})
            entry = of_loop.get(address.origin)
            if entry is None:
                entry = of_loop[address.origin] = _LoopPool(
                    _made(httpcore.AsyncConnectionPool, AsyncSockets(), address)
                )
        await entry.start()
        return entry.pool

    def close(self) -> None:
        """Close the blocking connections; those of event loops close with their loops."""
        with self._lock:
            _close_all(self._sync)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        with self._lock:
            pools = self._async.pop(asyncio.get_running_loop(), {})
        for entry in pools.values():
            await entry.aclose()


def request_to(
    method: str, address: Address, headers: Mapping[str, str], limits: Mapping[str, Limit], content: bytes = b""
) -> httpcore.Request:
    """A request to `address`; `limits` are those of each wait to `connect`, to `read` and to `write`."""
    port = None if address.port == PORTS[address.scheme] else address.port
    url = httpcore.URL(scheme=address.scheme, host=address.host, port=port, target=address.target)
    sent = {"host": address.authority, **headers}
    return httpcore.Request(method, url, headers=list(sent.items()), content=content, extensions={"timeout": limits})


def _made(kind: Callable[..., T], sockets: object, address: Address) -> T:
    trusted, proxy = surroundings(address)
    return kind(
        ssl_context=trusted,
        proxy=proxy,
        max_connections=None,
        max_keepalive_connections=_KEPT,
        keepalive_expiry=_IDLE,
        network_backend=sockets,
    )


def _close_all(pools: dict[Origin, httpcore.ConnectionPool]) -> None:
    while pools:
        pools.popitem()[1].close()


class _LoopPool:
    """Connections that close with their event loop, or when they are dropped while the loop runs.

    An async generator that has been started is closed by the loop's `shutdown_asyncgens`,
    which `asyncio.run` calls before the loop ends: the last moment when sockets can still be closed.
    `_keepers` holds it until then, since the task that closes a dropped generator may be cancelled unstarted.
    """

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self.pool = pool
        self._loop = asyncio.get_running_loop()
        self._keeper: AsyncGenerator[None, None] | None = None

    async def start(self) -> None:
        if self._keeper is None:
            self._keeper = keeper = _closing(self.pool)
            for loop in [loop for loop in list(_keepers) if loop.is_closed()]:
                _keepers.pop(loop, None)
            _keepers.setdefault(self._loop, set()).add(keeper)
            await keeper.__anext__()

    async def aclose(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.aclose()
            _keepers.get(self._loop, set()).discard(keeper)

    def __del__(self) -> None:
        if self._keeper is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # closed in the same moment
                self._loop.call_soon_threadsafe(_begin_closing, self._loop, self._keeper)


_keepers: dict[asyncio.AbstractEventLoop, set[AsyncGenerator[None, None]]] = {}


async def _closing(pool: httpcore.AsyncConnectionPool) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await _Uninterrupted(pool.aclose())


def _begin_closing(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None, None]) -> None:
    async def close() -> None:
        await keeper.aclose()
        _keepers.get(loop, set()).discard(keeper)

    task = loop.create_task(close())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


_tasks: set[asyncio.Task[None]] = set()  # a loop holds its tasks weakly


class _Uninterrupted:
    """Await to the end although the task is cancelled.

    A model that is dropped as its loop ends is closed by a task that `asyncio.run` cancels; half its
    connections would stay open.
    """

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.work = work

    def __await__(self) -> Generator[Any, Any, None]:
        while True:
            try:
                waiting = self.work.send(None)
            except StopIteration:
                return
            try:
                yield waiting
            except asyncio.CancelledError:
                continue
