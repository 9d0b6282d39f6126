"""A limit in seconds for a whole call, whatever is inside."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from opto.errors import LLMConfigError, LLMTimeoutError
from opto.llm.base import LLM, Messages, Response
from opto.llm.flow import Effect, Flow, Wrapper, ask

__all__ = ["Timeout"]


class Timeout(Wrapper):
    """Wrap a model so that a call that takes longer than `seconds` is an LLMTimeoutError, waits inside it included.

    A model that keeps to a `timeout` option by itself (`OpenAICompatible`) is told the limit. Otherwise a task is
    cancelled, and a blocking call is left behind in a thread of its own, since nothing can stop it; streams of such
    models are refused.

    >>> from opto.llm.fakes import ScriptedLLM
    >>> Timeout(ScriptedLLM(["in time"]), 5)([{"role": "user", "content": "?"}]).text
    'in time'
    """

    def __init__(self, llm: LLM, seconds: float) -> None:
        if not seconds > 0:
            raise LLMConfigError(f"Timeout({seconds!r}): give a number of seconds above zero.")
        super().__init__(llm)
        self.seconds = seconds

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        if getattr(self.llm, "keeps_timeout", False):
            given = options.get("timeout")
            limit = min(self.seconds, given) if isinstance(given, (int, float)) else self.seconds
            options = {**options, "timeout": limit}
            response: Response = yield ask(self.llm, messages, options)
            return response
        if options.get("stream"):
            raise LLMConfigError("Timeout cannot bound a stream of this model: put Timeout right around the transport.")
        response = yield self._bounded(messages, options)
        return response

    def _bounded(self, messages: Messages, options: dict[str, Any]) -> Effect:
        def now() -> Response:
            done = _in_thread(lambda: self.llm(messages=messages, **options))
            try:
                return done.result(self.seconds)
            except FutureTimeout as error:
                if done.done():
                    raise  # the model's own TimeoutError
                raise self._late() from error

        async def later() -> Response:
            call = asyncio.ensure_future(self.llm.acall(messages=messages, **options))
            try:
                finished, _ = await asyncio.wait({call}, timeout=self.seconds)
            except BaseException:
                call.cancel()
                raise
            if finished:
                return call.result()
            call.cancel()
            await asyncio.wait({call})
            if call.cancelled() or call.exception() is not None:
                raise self._late()
            return call.result()  # it was answered, and paid for, in the last moment

        return Effect(now, later)

    def _late(self) -> LLMTimeoutError:
        return LLMTimeoutError(f"No answer within {self.seconds:g} s: raise the limit of Timeout, or ask for less.")


def _in_thread(call: Callable[[], Response]) -> Future[Response]:
    """Run `call` in a thread that does not keep the process alive, in this context."""
    done: Future[Response] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            done.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            done.set_exception(error)

    threading.Thread(target=work, name="opto-llm-timeout", daemon=True).start()
    return done
