"""Write a model or a wrapper once, run it sync and async.

A *flow* is a generator that yields effects (ask a model, sleep, wait) and returns a
result. `run` performs each effect by blocking, `arun` by awaiting; errors of an effect
are thrown into the flow at its `yield`, so that plain `try` works there.

A wrapper therefore is one method:

>>> from opto.llm.fakes import ScriptedLLM
>>> class Shouting(Wrapper):
...     def flow(self, messages, options):
...         response = yield ask(self.llm, messages, options)
...         return Response.of(response.text.upper())
>>> Shouting(ScriptedLLM(["hello"]))([{"role": "user", "content": "Hi"}]).text
'HELLO'
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from opto.llm.base import LLM, Messages, Options, Response, identity_of
from opto.llm.embedding import Embeds
from opto.llm.profile import ModelProfile, profile_of

__all__ = ["Effect", "Flow", "FlowLLM", "Wrapper", "arun", "ask", "blocking", "run", "running_loop", "sleep"]

T = TypeVar("T")
_Self = TypeVar("_Self", bound="FlowLLM")


@dataclass(slots=True)  # not frozen: one is made for each wrapper of each call
class Effect:
    """One thing to do, in its blocking and its awaiting form."""

    now: Callable[[], Any]
    later: Callable[[], Awaitable[Any]]


Flow = Generator[Effect, Any, T]


def run(flow: Flow[T]) -> T:
    """Drive `flow` to its end in this thread."""
    try:
        effect = next(flow)
        while True:
            try:
                value = effect.now()
            except BaseException as error:  # noqa: BLE001 - handed to the flow, which decides
                effect = flow.throw(error)
            else:
                effect = flow.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def arun(flow: Flow[T]) -> T:
    """Drive `flow` to its end in this task."""
    try:
        effect = next(flow)
        while True:
            try:
                value = await effect.later()
            except GeneratorExit as error:
                _abandon(flow, error)
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the flow, which decides
                effect = flow.throw(error)
            else:
                effect = flow.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _abandon(flow: Flow[Any], error: GeneratorExit) -> None:
    """Let a flow whose event loop is gone release its slots and budgets; it can await nothing any more."""
    with suppress(StopIteration, GeneratorExit):
        flow.throw(error)
        while True:
            next(flow)


def ask(llm: LLM, messages: Messages, options: Options) -> Effect:
    """Ask a model; the effect's value is its `Response`."""
    return Effect(lambda: llm(messages=messages, **options), lambda: llm.acall(messages=messages, **options))


def sleep(
    seconds: float,
    now: Callable[[float], object] = time.sleep,
    later: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Effect:
    """Wait; tests hand in clocks that only count."""
    return Effect(lambda: now(seconds), lambda: later(seconds))


def blocking(function: Callable[[], Any]) -> Effect:
    """Call something that blocks and has no async form: a worker thread does it for tasks."""
    return Effect(function, lambda: asyncio.to_thread(function))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, if one runs."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class FlowLLM(Embeds, ABC):
    """A model written as one flow; both calls of the `LLM` protocol follow from it.

    It is a context manager that closes what it holds: connections, files, and those of the models inside.
    """

    @abstractmethod
    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        """Answer one request."""

    def __call__(self, messages: Messages, **options: Any) -> Response:
        return run(self.flow(messages, options))

    async def acall(self, messages: Messages, **options: Any) -> Response:
        return await arun(self.flow(messages, options))

    def holds(self) -> Sequence[Any]:
        """The objects that are closed with this model, such as the model inside; one without `close` is skipped."""
        return ()

    def close(self) -> None:
        """Close connections and files; the next call opens them again."""
        for held in self.holds():
            if callable(close := getattr(held, "close", None)):
                close()

    async def aclose(self) -> None:
        """`close`, and close the connections of the running event loop too."""
        for held in self.holds():
            aclose: Any = getattr(held, "aclose", None)
            if aclose is not None:
                await aclose()
            elif callable(close := getattr(held, "close", None)):
                close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class Wrapper(FlowLLM):
    """Base of models that wrap a model; profile and identity are those of the inner model."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    def holds(self) -> Sequence[Any]:
        return (self.llm,)

    @property
    def profile(self) -> ModelProfile:
        return profile_of(self.llm)

    @property
    def identity(self) -> str:
        return identity_of(self.llm)

    @property
    def price(self) -> Any:
        """The inner model's own price, if it has one; most are priced by their name."""
        return getattr(self.llm, "price", None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.llm!r})"
