"""The httpx2 clients of one model: one for all threads, one for each event loop, none in a copy or a pickle."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from functools import lru_cache
from typing import TypeVar
from urllib.request import getproxies, proxy_bypass
from weakref import finalize

import httpx2

from opto.errors import LLMConfigError

__all__ = ["Clients", "is_loopback", "proxy_for"]

T = TypeVar("T")
_LIMITS = httpx2.Limits(max_keepalive_connections=100, keepalive_expiry=5.0)  # common servers close after five seconds


Keeper = AsyncGenerator[None, None]


class Clients:
    """Connections are made at the first call and kept; a process that was forked makes its own."""

    def __init__(self) -> None:
        self._blocking: dict[bool, httpx2.Client] = {}
        self._awaited: dict[tuple[asyncio.AbstractEventLoop, bool], tuple[httpx2.AsyncClient, Keeper]] = {}
        self._lock, self._process = threading.Lock(), os.getpid()
        finalize(self, _close_all, self._blocking)

    def __reduce__(self) -> tuple[type[Clients], tuple[()]]:
        return Clients, ()

    def blocking(self, url: httpx2.URL) -> httpx2.Client:
        """The client that all threads share."""
        proxied = not is_loopback(url.host)
        with self._lock:
            if self._process != os.getpid():  # sockets shared with the parent would mix two conversations
                self._blocking.clear()
                self._process = os.getpid()
            if proxied not in self._blocking:
                self._blocking[proxied] = _made(httpx2.Client, proxied)
            return self._blocking[proxied]

    async def awaited(self, url: httpx2.URL) -> httpx2.AsyncClient:
        """The client of the running event loop, which closes with the loop."""
        key = (asyncio.get_running_loop(), not is_loopback(url.host))
        with self._lock:
            if key in self._awaited:
                return self._awaited[key][0]
            for old in [known for known in self._awaited if known[0].is_closed()]:
                del self._awaited[old]
            client = _made(httpx2.AsyncClient, key[1])
            keeper = _open_until_the_loop_ends(client)
            self._awaited[key] = client, keeper
        await anext(keeper)
        return client

    def close(self) -> None:
        """Close the connections of blocking calls."""
        with self._lock:
            _close_all(self._blocking)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            keepers = [self._awaited.pop(key)[1] for key in list(self._awaited) if key[0] is loop]
        for keeper in keepers:
            await keeper.aclose()


async def _open_until_the_loop_ends(client: httpx2.AsyncClient) -> Keeper:
    """A loop closes the async generators that run in it before it ends: the last moment for its sockets."""
    try:
        yield
    finally:
        await client.aclose()


def is_loopback(host: str) -> bool:
    """Whether the host is this very machine; a proxy set for the world must not catch calls to it."""
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return number.is_loopback or number.is_unspecified


def proxy_for(url: httpx2.URL) -> str | None:
    """The proxy of the environment that leads to `url`, for messages."""
    if is_loopback(url.host) or proxy_bypass(url.host):
        return None
    return getproxies().get(url.scheme) or getproxies().get("all")


def _made(kind: Callable[..., T], proxied: bool) -> T:
    try:
        trusted = _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return kind(verify=trusted, trust_env=proxied, limits=_LIMITS)
    except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
        # The text of an error about a proxy may hold the proxy's password.
        why = str(error) if isinstance(error, (ImportError, OSError)) else "a proxy's address is no URL"
        raise LLMConfigError(
            f"The environment names a proxy or certificates that cannot be used ({why}): "
            "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error


@lru_cache(maxsize=8)
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Reading certificates takes as long as twenty calls: once for each setting of the environment is enough."""
    return httpx2.create_ssl_context()


def _close_all(clients: dict[bool, httpx2.Client]) -> None:
    while clients:
        clients.popitem()[1].close()
