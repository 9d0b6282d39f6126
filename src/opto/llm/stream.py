"""Answers that arrive in pieces: an iterator of chunks, blocking or awaited, over one implementation."""

from __future__ import annotations

import _thread
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from typing import Any, cast

from opto.errors import LLMResponseError
from opto.llm.base import Choice, Chunk, ChunkChoice, Delta, Message, Response, TokenUsage
from opto.llm.flow import Effect, Flow, arun, run

__all__ = ["Stream", "when_whole"]

Source = Callable[[], Flow[Chunk | None]]
"""A flow that gives the next chunk, None after the last one; errors are those of `opto.errors`."""


class Stream:
    """The answer to a call with `stream=True`: iterate with `for`, or with `async for` after `acall`.

    `whole` is the response so far, in one piece; close a stream that is left before its end (it is
    a context manager). An error on the way is raised where the next chunk was asked for.

    >>> stream = Stream.of(Response.of("hello"))
    >>> [chunk.text for chunk in stream], stream.whole.text
    (['hello'], 'hello')
    """

    def __init__(self, read: Source, close: Effect) -> None:
        self._read, self._close = read, close
        self._given: list[Chunk] = []
        self._watchers: list[tuple[Callable[[Response], None], Callable[[BaseException], None] | None]] = []
        self._over = False

    @classmethod
    def of(cls, response: Response) -> Stream:
        """A response that is there already, as one chunk."""
        choices = (
            ChunkChoice(
                Delta(choice.message.content, choice.message.role, getattr(choice.message, "tool_calls", None) or ()),
                k,
                choice.finish_reason or "stop",
            )
            for k, choice in enumerate(response.choices)
        )
        chunks = [Chunk(tuple(choices), response.usage, response.model)]

        def read() -> Flow[Chunk | None]:
            return chunks.pop() if chunks else None
            yield  # makes this a flow

        return cls(read, Effect(lambda: None, _no_wait))

    def when_done(self, done: Callable[[Response], None], failed: Callable[[BaseException], None] | None = None) -> Any:
        """Call `done` with the whole response at the end, `failed` if it does not come; returns the stream."""
        self._watchers.append((done, failed))
        return self

    @property
    def whole(self) -> Response:
        """All chunks given so far as one response."""
        texts: dict[int, list[str]] = {}
        reasons: dict[int, str | None] = {}
        calls: dict[int, list[Mapping[str, Any]]] = {}
        for choice in (choice for chunk in self._given for choice in chunk.choices):
            texts.setdefault(choice.index, []).append(choice.delta.content)
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
            calls.setdefault(choice.index, []).extend(choice.delta.tool_calls)
        choices = (Choice(Message("".join(texts[k]), tool_calls=_joined(calls[k])), reasons[k]) for k in sorted(texts))
        usage = next((chunk.usage for chunk in reversed(self._given) if chunk.usage), TokenUsage())
        model = next((chunk.model for chunk in self._given if chunk.model), None)
        return Response(tuple(choices), usage, model)

    def close(self) -> None:
        """Leave the stream: the server need not go on."""
        run(self._leave(_left()))

    async def aclose(self) -> None:
        """`close` for a stream that is awaited."""
        await arun(self._leave(_left()))

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Chunk:
        chunk = run(self._next())
        if chunk is None:
            raise StopIteration
        return chunk

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await arun(self._next())
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Garbage may be collected in a thread that holds a lock which giving back a slot or a budget takes.
        if not self._over:
            with suppress(RuntimeError):  # the interpreter ends, and with it all that the stream holds
                _thread.start_new_thread(copy_context().run, (self._abandon,))

    def _abandon(self) -> None:
        with suppress(Exception):  # an awaited connection cannot be closed here; its loop will
            self._close.now()
        self._end(_left())

    def _next(self) -> Flow[Chunk | None]:
        if self._over:
            return None
        try:
            chunk = yield from self._read()
        except BaseException as error:
            yield self._close
            self._end(error)
            raise
        if chunk is None:
            yield from self._leave(None)
        else:
            self._given.append(chunk)
        return chunk

    def _leave(self, error: BaseException | None) -> Flow[None]:
        if not self._over:
            yield self._close
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self._over = True
        watchers, self._watchers = self._watchers, []
        first: Exception | None = None
        for done, failed in watchers:
            try:
                if error is None:
                    done(self.whole)
                elif failed is not None:
                    failed(error)
            except Exception as fault:  # noqa: BLE001 - one that fails must not keep the next from giving back its slot
                first = first or fault
        if first is not None:
            raise first


def when_whole(response: Response, keep: Callable[[Response], None]) -> Response:
    """Call `keep` with the whole response, now or when its stream has ended; returns `response`."""
    if isinstance(response, Stream):
        return cast(Response, response.when_done(keep))
    keep(response)
    return response


def _joined(pieces: list[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Calls of tools out of the pieces that a stream brings: texts grow, whatever else comes last counts."""
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        index, more = piece.get("index"), piece.get("function")
        call = calls.setdefault(index if isinstance(index, int) else len(calls), {})
        function: dict[str, Any] = dict(call.get("function", {}))
        for name, value in more.items() if isinstance(more, Mapping) else ():
            grown = function.get(name)
            function[name] = grown + value if isinstance(grown, str) and isinstance(value, str) else value
        call.update({name: value for name, value in piece.items() if name not in ("index", "function") and value})
        if function:
            call["function"] = function
    return tuple(calls.values())


def _left() -> LLMResponseError:
    return LLMResponseError("The stream was left before its end.")


async def _no_wait() -> None:
    return None
