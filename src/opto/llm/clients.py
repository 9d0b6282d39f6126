"""HTTP clients that are built when needed: one for threads, one an event loop, none across a fork or a pickle."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import AbstractContextManager, suppress
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary, finalize

import httpx

__all__ = ["Clients"]

_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


class Clients:
    """The live half of a transport; copies and pickles of it start empty."""

    def __init__(self) -> None:
        self._lock: AbstractContextManager[object] = threading.Lock()
        self._pid = os.getpid()
        self._sync: dict[bool, httpx.Client] = {}
        finalize(self, _close_all, self._sync)
        self._async: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bool, _LoopClient]] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[Clients], tuple[()]]:
        return Clients, ()

    def sync(self, url: httpx.URL) -> httpx.Client:
        """The blocking client for `url`, shared by all threads of this process."""
        local = url.host in _LOOPBACK
        with self._lock:
            self._forget_parent()
            if local not in self._sync:
                # A proxy set for the world must not catch calls to this very machine.
                self._sync[local] = httpx.Client(**_settings(local))
            return self._sync[local]

    async def loop(self, url: httpx.URL) -> httpx.AsyncClient:
        """The client for `url` in the running loop; it closes with the loop."""
        local = url.host in _LOOPBACK
        with self._lock:
            self._forget_parent()
            for old in [loop for loop in self._async if loop.is_closed()]:
                del self._async[old]
            of_loop = self._async.setdefault(asyncio.get_running_loop(), {})
            entry = of_loop.get(local)
            if entry is None:
                entry = of_loop[local] = _LoopClient(httpx.AsyncClient(**_settings(local)))
        await entry.start()
        return entry.client

    def close(self) -> None:
        """Close the blocking clients; those of event loops close with their loops."""
        with self._lock:
            _close_all(self._sync)

    def _forget_parent(self) -> None:
        """Sockets shared with a parent process would mix two conversations: a fork starts empty."""
        if self._pid != os.getpid():
            self._pid, self._async = os.getpid(), WeakKeyDictionary()
            self._sync.clear()


def _settings(local: bool) -> dict[str, Any]:
    certificates = tuple(None if local else os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    return {"limits": _LIMITS, "trust_env": not local, "verify": _trusted(not local, *certificates)}


@lru_cache(maxsize=8)
def _trusted(trust_env: bool, *certificates: str | None) -> ssl.SSLContext:
    """Reading the certificates takes as long as twenty calls: once is enough for all clients of a process."""
    return httpx.create_ssl_context(trust_env=trust_env)


def _close_all(clients: dict[bool, httpx.Client]) -> None:
    while clients:
        clients.popitem()[1].close()


class _LoopClient:
    """An async client that closes with its event loop, or when it is dropped while the loop runs.

    An async generator that has been started is closed by the loop's `shutdown_asyncgens`,
    which `asyncio.run` calls before the loop ends: the last moment when sockets can still be closed.
    `_keepers` holds it until then, since the task that closes a dropped generator may be cancelled unstarted.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self._loop = asyncio.get_running_loop()
        self._keeper: AsyncGenerator[None, None] | None = None

    async def start(self) -> None:
        if self._keeper is None:
            self._keeper = keeper = _closing(self.client)
            for loop in [loop for loop in list(_keepers) if loop.is_closed()]:
                _keepers.pop(loop, None)
            _keepers.setdefault(self._loop, set()).add(keeper)
            await keeper.__anext__()

    def __del__(self) -> None:
        if self._keeper is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # closed in the same moment
                self._loop.call_soon_threadsafe(_begin_closing, self._loop, self._keeper)


_keepers: dict[asyncio.AbstractEventLoop, set[AsyncGenerator[None, None]]] = {}


async def _closing(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await _Uninterrupted(client.aclose())


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
