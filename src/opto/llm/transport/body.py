"""The body of a reply, read piece by piece within the limits of its call."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import httpcore

from opto.errors import LLMResponseError
from opto.llm.flow import Effect, Flow
from opto.llm.transport.address import shown_url
from opto.llm.transport.call_deadline import Deadline
from opto.llm.transport.failures import WIRE_ERRORS, from_exception

__all__ = ["Body", "headers_of"]


class Body:
    """What `reply` brings, until it is whole, too long or too late.

    `timeout` is what an error says of the `deadline`; `limit` counts bytes as decoded. `connections` close when nobody
    holds them: a body that is still read does.
    """

    reply: httpcore.Response

    def __init__(self, url: str, *, connections: object, timeout: float, deadline: Deadline, limit: int) -> None:
        self.url, self.timeout, self._connections = url, timeout, connections
        self._deadline, self._limit = deadline, limit
        self._size = 0
        self._next: Effect | None = None
        self._decode: Callable[[bytes], bytes] = bytes

    def piece(self) -> Flow[bytes | None]:
        """The next bytes or None, for a stream: errors are ours."""
        try:
            return (yield from self._piece())
        except WIRE_ERRORS as error:
            raise from_exception(error, self.url, self.timeout) from error

    def rest(self) -> Flow[bytes]:
        """All that is left, and the connection free."""
        pieces = list[bytes]()
        try:
            while (piece := (yield from self._piece())) is not None:
                pieces.append(piece)
        finally:
            yield Effect(self.reply.close, self.reply.aclose)
        return b"".join(pieces)

    def _piece(self) -> Flow[bytes | None]:
        if self._next is None:
            self._next = _chunks(self.reply)
            self._decode = _decoder(headers_of(self.reply).get("content-encoding", ""), self.url, self._limit)
        received: bytes | None = yield self._next
        if received is None:
            return None
        piece = self._decode(received)
        self._size += len(piece)
        if self._size > self._limit:
            raise LLMResponseError(f"{shown_url(self.url)} sent more than {self._limit} bytes: refused.")
        self._deadline.left(httpcore.ReadTimeout)  # what had arrived before may be given late
        return piece


def headers_of(reply: httpcore.Response) -> dict[str, str]:
    """The headers of a reply by their names in small letters."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.headers}


def _decoder(encoding: str, url: str, limit: int) -> Callable[[bytes], bytes]:
    """How to decode the pieces of a body: none is asked for, yet some servers and gateways compress unasked."""
    if encoding.strip().lower() in ("", "identity"):
        return bytes
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise LLMResponseError(
            f"{shown_url(url)} encodes its reply in a way that was not asked for: check the gateway."
        )
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # takes the headers of both kinds

    def decode(received: bytes) -> bytes:
        try:
            return unpacker.decompress(received, limit + 1)
        except zlib.error as error:
            raise LLMResponseError(f"{shown_url(url)} sent a damaged {encoding} body: ask again.") from error

    return decode


def _chunks(reply: httpcore.Response) -> Effect:
    """Read on: each time performed, the next piece of the body, then None."""
    sync: list[Any] = []
    later: list[Any] = []

    def now() -> bytes | None:
        if not sync:
            sync.append(reply.iter_stream())
        return next(sync[0], None)

    async def wait() -> bytes | None:
        if not later:
            later.append(reply.aiter_stream())
        piece: bytes | None = await anext(later[0], None)
        return piece

    return Effect(now, wait)
