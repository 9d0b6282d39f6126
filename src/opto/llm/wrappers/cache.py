"""Never pay for the same request twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from opto.llm.base import LLM, Messages, Response, request_options
from opto.llm.flow import Effect, Flow, Wrapper, ask, running_loop
from opto.llm.stream import Stream, when_whole

__all__ = ["CacheStats", "CachedLLM", "MemoryStore", "Store", "request_key"]


Pending = tuple["Future[Response | None]", object]  # the answer to come, and the event loop that brings it
_SORTED = json.JSONEncoder(sort_keys=True)


def request_key(identity: str, messages: Messages, options: Mapping[str, Any]) -> str | None:
    """Digest of the whole request, equal for equal requests in every process.

    None when something in it has no JSON form: such a request cannot be recognised again safely.

    >>> request_key("m", [{"role": "user", "content": "a"}], {"n": 1, "stop": None}) == request_key(
    ...     "m", [{"content": "a", "role": "user"}], {"n": 1})
    True
    """
    given = request_options(options)  # and headers, of which a digest tells nothing
    given |= {name: options[name] for name in ("extra_headers", "headers") if options.get(name)}
    try:
        plain = [message if type(message) is dict else dict(message) for message in messages]
        text = _SORTED.encode([identity, plain, given])
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Store(Protocol):
    """Where answers are kept; must be safe to call from several threads."""

    def get(self, key: str) -> Response | None:
        """The answer kept under `key`."""
        ...

    def put(self, key: str, response: Response) -> None:
        """Keep an answer; it is safe when this returns."""
        ...


class MemoryStore:
    """Keep the `size` answers used last."""

    def __init__(self, size: int = 100_000) -> None:
        self.size = size
        self._kept: OrderedDict[str, Response] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Response | None:
        with self._lock:
            response = self._kept.get(key)
            if response is not None:
                self._kept.move_to_end(key)
            return response

    def put(self, key: str, response: Response) -> None:
        with self._lock:
            self._kept[key] = response
            self._kept.move_to_end(key)
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"size": self.size, "_kept": self._kept.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Calls answered from the store or by waiting for an equal one, calls paid, calls that could not be recognised."""

    hits: int = 0
    misses: int = 0
    unkeyed: int = 0


class CachedLLM(Wrapper):
    """Wrap a model so that a request equal in messages, options and model is asked once.

    Equal requests made at the same time wait for the first one; errors are not kept. A sampled
    reply is kept like any other: ask for another with another `seed`. Answers are kept in memory, or
    with `SQLiteStore` on disk. A stream passes through and is kept when it has ended; one that is kept is one chunk.

    >>> from opto.llm.fakes import ScriptedLLM
    >>> llm = CachedLLM(ScriptedLLM(["only once"]))
    >>> [llm([{"role": "user", "content": "?"}]).text for _ in range(3)], llm.stats.hits
    (['only once', 'only once', 'only once'], 2)
    """

    def __init__(self, llm: LLM, store: Store | None = None) -> None:
        super().__init__(llm)
        self.store: Store = MemoryStore() if store is None else store
        self._counts = (0, 0, 0)
        self._start()

    def holds(self) -> Sequence[Any]:
        return (self.llm, self.store)

    @property
    def stats(self) -> CacheStats:
        with self._lock:
            return CacheStats(*self._counts)

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        if options.get("stream"):
            return (yield from self._streamed(messages, options))
        key = request_key(self.identity, messages, options)
        if key is None:
            self._count(unkeyed=1)
            response: Response = yield ask(self.llm, messages, options)
            return response
        while True:
            pending = self._join(key)
            if pending is None:
                return (yield from self._answer(key, messages, options))
            answer: Response | None = yield _wait(*pending)
            if answer is not None:
                self._count(hits=1)
                return answer
            if pending[0].done():
                continue  # the first request was cancelled: another one must ask
            self._count(misses=1)
            response = yield ask(self.llm, messages, options)
            return response

    def _streamed(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        """The kept answer, or a new stream that is kept at its end; equal streams do not wait for each other."""
        key = request_key(self.identity, messages, options)
        kept = None if key is None else self.store.get(key)
        if kept is not None:
            self._count(hits=1)
            return cast(Response, Stream.of(kept))
        response: Response = yield ask(self.llm, messages, options)
        if key is None:
            self._count(unkeyed=1)
            return response
        self._count(misses=1)
        return when_whole(response, partial(self.store.put, key))

    def _join(self, key: str) -> Pending | None:
        """The equal request under way, if there is one; otherwise this one is under way from now on."""
        with self._lock:
            pending = self._pending.get(key)
            if pending is None:
                self._pending[key] = Future(), running_loop()
            return pending

    def _answer(self, key: str, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        """Look in the store, else ask the model; those that wait for this request get the result in any case."""
        try:
            response = self.store.get(key)
            if response is not None:
                self._count(hits=1)
            else:
                response = yield ask(self.llm, messages, options)
                self._count(misses=1)
                self.store.put(key, response)
        except Exception as error:
            self._finish(key, error)
            raise
        except BaseException:
            self._finish(key, None)
            raise
        self._finish(key, response)
        return response

    def _finish(self, key: str, result: Response | Exception | None) -> None:
        with self._lock:
            future, _ = self._pending.pop(key)
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    def _count(self, *, hits: int = 0, misses: int = 0, unkeyed: int = 0) -> None:
        with self._lock:
            old = self._counts
            self._counts = (old[0] + hits, old[1] + misses, old[2] + unkeyed)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[str, Pending] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pending": None, "_lock": None}  # a copy waits for none of our requests

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()


def _wait(future: Future[Response | None], loop: object) -> Effect:
    def now() -> Response | None:
        if loop is not None and loop is running_loop():
            return None  # blocking the loop in which the first request runs would wait for ever: ask alone
        return future.result()

    async def later() -> Response | None:
        # A copy of the future: cancelling one that waits must not cancel the request of the others.
        return await asyncio.shield(asyncio.wrap_future(future))

    return Effect(now, later)
