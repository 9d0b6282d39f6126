"""One limit for all the waits of a call: each asks how long it may still last, so no drip outlasts the call."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import httpcore

__all__ = ["AsyncSockets", "Deadline", "Limit", "Sockets"]

_FOR_EVER = 1e8  # seconds; more does not fit into a socket's timeout
_SLICE = 2**16  # bytes; a blocking write waits anew for each part that the other side takes


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a call, by its `clock`; a single wait lasts `longest` seconds at most.

    It stands where httpcore expects a number of seconds, which it hands to the sockets as it is.
    """

    end: float
    clock: Callable[[], float]
    longest: float = math.inf

    def left(self, late: type[httpcore.TimeoutException]) -> float | None:
        """Seconds to wait, None if for ever; `late` is raised when none are left."""
        seconds = self.end - self.clock()
        if seconds <= 0:
            raise late("the call as a whole took too long")
        seconds = min(seconds, self.longest)
        return None if seconds >= _FOR_EVER else seconds


Limit = Deadline | float | None


def _left(limit: Limit, late: type[httpcore.TimeoutException]) -> float | None:
    return limit.left(late) if isinstance(limit, Deadline) else limit


class Sockets:
    """Blocking connections that keep to deadlines: what a pool asks of an `httpcore.NetworkBackend`."""

    _inner: httpcore.NetworkBackend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Limit = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> _Socket:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Socket(self._inner.connect_tcp(host, port, left, local_address, socket_options), timeout)


class _Socket:
    """`limit` holds for what httpcore would wait for without any: what it says to a SOCKS proxy."""

    def __init__(self, inner: httpcore.NetworkStream, limit: Limit) -> None:
        self._inner, self._limit = inner, limit

    def read(self, max_bytes: int, timeout: Limit = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout or self._limit, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: Limit = None) -> None:
        for begin in range(0, len(buffer), _SLICE):
            self._inner.write(buffer[begin : begin + _SLICE], _left(timeout or self._limit, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Limit = None
    ) -> _Socket:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Socket(self._inner.start_tls(ssl_context, server_hostname, left), timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class AsyncSockets:
    """Awaited connections that keep to deadlines."""

    _inner = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Limit = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> _AsyncSocket:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _AsyncSocket(await self._inner.connect_tcp(host, port, left, local_address, socket_options), timeout)


class _AsyncSocket:
    """The twin of `_Socket`; broken TLS, which httpcore lets pass here, is a broken connection too."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, limit: Limit) -> None:
        self._inner, self._limit = inner, limit

    async def read(self, max_bytes: int, timeout: Limit = None) -> bytes:
        try:
            return await self._inner.read(max_bytes, _left(timeout or self._limit, httpcore.ReadTimeout))
        except ssl.SSLError as error:
            raise httpcore.ReadError(error) from error

    async def write(self, buffer: bytes, timeout: Limit = None) -> None:
        try:
            await self._inner.write(buffer, _left(timeout or self._limit, httpcore.WriteTimeout))
        except ssl.SSLError as error:
            raise httpcore.WriteError(error) from error

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Limit = None
    ) -> _AsyncSocket:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _AsyncSocket(await self._inner.start_tls(ssl_context, server_hostname, left), timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
