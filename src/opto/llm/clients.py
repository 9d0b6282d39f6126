"""HTTP clients that are built when needed: one for threads, one an event loop, none across a fork or a pickle."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
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
                self._sync[local] = httpx.Client(limits=_LIMITS, trust_env=not local)
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
                entry = of_loop[local] = _LoopClient(httpx.AsyncClient(limits=_LIMITS, trust_env=not local))
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


def _close_all(clients: dict[bool, httpx.Client]) -> None:
    while clients:
        clients.popitem()[1].close()


class _LoopClient:
    """An async client that closes with its event loop.

    An async generator that has been started is closed by the loop's `shutdown_asyncgens`,
    which `asyncio.run` calls before the loop ends: the one moment when sockets can still be closed.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self._keeper: AsyncGenerator[None, None] | None = None

    async def start(self) -> None:
        if self._keeper is None:
            self._keeper = _closing(self.client)
            await self._keeper.__anext__()


async def _closing(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()
