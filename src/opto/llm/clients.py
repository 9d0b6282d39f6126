"""HTTP clients that are built when needed: one for threads, one an event loop, none across a fork or a pickle."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractContextManager, suppress
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, finalize

import httpx

from opto.errors import LLMConfigError
from opto.llm.faults import quote

__all__ = ["Clients"]

T = TypeVar("T")

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
                self._sync[local] = _made(httpx.Client, local)
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
                entry = of_loop[local] = _LoopClient(_made(httpx.AsyncClient, local))
        await entry.start()
        return entry.client

    def close(self) -> None:
        """Close the blocking clients; those of event loops close with their loops."""
        with self._lock:
            _close_all(self._sync)

    async def aclose(self) -> None:
        """Close the clients of the running loop."""
        with self._lock:
            clients = self._async.pop(asyncio.get_running_loop(), {})
        for entry in clients.values():
            await entry.aclose()

    def _forget_parent(self) -> None:
        """Sockets shared with a parent process would mix two conversations: a fork starts empty."""
        if self._pid != os.getpid():
            self._pid, self._async = os.getpid(), WeakKeyDictionary()
            self._sync.clear()


def _made(kind: Callable[..., T], local: bool) -> T:
    """A client by what the environment says of proxies and certificates; a loopback server has to do with neither."""
    certificates = tuple(None if local else os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    try:
        return kind(limits=_LIMITS, trust_env=not local, verify=_trusted(not local, *certificates))
    except (ImportError, OSError, ValueError) as error:
        raise LLMConfigError(
            f"No client can be made from what the environment says ({quote(str(error))}): "
            "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error


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
