"""One request and its reply, within the limits of its call in time and size."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from opto.errors import LLMError, LLMResponseError
from opto.llm.base import Chunk, Response
from opto.llm.flow import Effect, Flow
from opto.llm.transport.completions import parse_chunk, without_secret
from opto.llm.transport.connections import Clients, proxy_for
from opto.llm.transport.failures import from_exception, from_status, shown_url

__all__ = ["Exchange", "Wire"]

_FOR_EVER = 1e8  # seconds; more does not fit into a socket's timeout


@dataclass(frozen=True, slots=True)
class Wire:
    """How requests travel: the key's header, extra query and headers, limits.

    Servers and gateways log addresses, query included: a secret belongs into a header. `max_reply_bytes` bounds
    memory; `clock` counts seconds for the total time of a call, of which `connect` may pass until somebody answers.
    """

    key_header: str = "Authorization"
    query: Mapping[str, str] = field(default_factory=dict, repr=False)  # both may hold secrets
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_reply_bytes: int = 64 * 2**20
    connect: float = 20.0
    clock: Callable[[], float] = time.monotonic


class Exchange:
    """Send `request`, then read its reply as a whole or event by event. Errors are those of `opto.errors`.

    `timeout` bounds the exchange as a whole: the limit is compared after each piece that arrives, and no wait for the
    first piece outlasts it. So a server that stalls in the midst of a body is left after twice the limit at most.
    `clients` stay open while the exchange holds them.
    """

    reply: httpx2.Response

    def __init__(
        self, clients: Clients, request: httpx2.Request, *, timeout: float, wire: Wire, secret: str | None
    ) -> None:
        self._clients, self._request, self._timeout, self._wire = clients, request, timeout, wire
        self._url, self._secret = str(request.url), secret
        self._end = wire.clock() + timeout
        self._size, self._finished = 0, False
        wait = _wait(timeout)
        # httpx2 reads these numbers anew for each phase of the exchange.
        self._waits = {"connect": _wait(min(wire.connect, timeout)), "read": wait, "write": wait, "pool": wait}
        request.extensions["timeout"] = self._waits

    def send(self) -> Flow[None]:
        """Send the request and wait for the head of the reply."""

        async def later() -> httpx2.Response:
            client = await self._clients.awaited(self._request.url)
            return await client.send(self._request, stream=True)

        with self._our_errors():
            self.reply = yield Effect(
                lambda: self._clients.blocking(self._request.url).send(self._request, stream=True), later
            )
        self.close = Effect(self.reply.close, self.reply.aclose)
        self.reply.stream = _Watched(self.reply.stream, self._watch)

    @property
    def is_stream(self) -> bool:
        """Whether the reply is a stream of events."""
        return self.reply.is_success and "text/event-stream" in self.reply.headers.get("content-type", "")

    def whole(self) -> Flow[bytes]:
        """The body of the reply; a status that is no success is raised as the error it means."""
        pieces = list[bytes]()
        body = _each(self.reply.iter_bytes(), self.reply.aiter_bytes())
        with self._our_errors():
            try:
                while (piece := (yield body)) is not None:
                    self._count(len(piece))
                    pieces.append(piece)
            finally:
                yield self.close
        content = b"".join(pieces)
        if not self.reply.is_success:
            raise from_status(self.reply.status_code, self.reply.headers, content, self._url, self._secret)
        return content

    def parsed(self, parse: Callable[[bytes, str], Response], body: bytes) -> Response:
        """The response in a body; an error that would quote the key quotes stars."""
        return without_secret(parse, body, self._url, self._secret)

    def events(self) -> Callable[[], Flow[Chunk | None]]:
        """A flow that gives the next chunk of a streamed answer, None at its end."""
        source = httpx2.EventSource(self.reply, max_event_size=self._wire.max_reply_bytes)
        step = _each(iter(source), aiter(source))
        return lambda: self._next_chunk(step)

    def _next_chunk(self, step: Effect) -> Flow[Chunk | None]:
        with self._our_errors():
            while (event := (yield step)) is not None:
                if event.data.strip() == "[DONE]":
                    yield from self._drain(step)
                    return None
                if event.data:
                    self._count(len(event.data))
                    data = event.data.encode("utf-8", "surrogatepass")
                    if event.event == "error" and not data.lstrip().startswith(b'{"error"'):
                        data = b'{"error": ' + data + b"}"
                    chunk = without_secret(parse_chunk, data, self._url, self._secret)
                    self._finished = self._finished or any(choice.finish_reason for choice in chunk.choices)
                    return chunk
        if not self._finished:
            raise LLMResponseError(f"The stream of {shown_url(self._url)} ended before the answer did: ask again.")
        return None

    def _drain(self, step: Effect) -> Flow[None]:
        """Read to the end, so that the connection serves the next call; how the reply ends does not matter now."""
        with suppress(LLMError), self._our_errors():
            while (yield step) is not None:
                pass

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._wire.max_reply_bytes:
            raise LLMResponseError(
                f"{shown_url(self._url)} sent more than {self._wire.max_reply_bytes} bytes: refused."
            )

    def _watch(self) -> None:
        """Raise when the time of the call is over; no wait that follows is longer than the rest of that time."""
        left = self._end - self._wire.clock()
        if left <= 0:
            raise httpx2.ReadTimeout("the call as a whole took too long")
        self._waits["read"] = _wait(left)

    @contextmanager
    def _our_errors(self) -> Generator[None, None, None]:
        try:
            yield
        except (httpx2.TransportError, httpx2.DecodingError, ssl.SSLError, UnicodeError) as error:
            raise from_exception(error, self._url, self._timeout, proxy_for(self._request.url)) from error


class _Watched(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a reply; `watch` is called before each wait."""

    def __init__(self, body: Any, watch: Callable[[], None]) -> None:
        self._body, self._watch = body, watch

    def __iter__(self) -> Iterator[bytes]:
        self._watch()
        for piece in self._body:
            self._watch()
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._watch()
        async for piece in self._body:
            self._watch()
            yield piece

    def close(self) -> None:
        self._body.close()

    async def aclose(self) -> None:
        await self._body.aclose()


def _each(items: Iterator[Any], later: AsyncIterator[Any]) -> Effect:
    """The next item each time the effect is performed, None at the end."""

    async def wait() -> Any:
        return await anext(later, None)

    return Effect(lambda: next(items, None), wait)


def _wait(seconds: float) -> float | None:
    return None if seconds >= _FOR_EVER else seconds
