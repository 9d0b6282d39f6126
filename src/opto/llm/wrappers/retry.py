"""Try again when trying again can help: by the kind of error and the server's wish, never by words."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from opto.errors import LLMConnectionError, LLMError, LLMRateLimitError, LLMServerError, LLMTimeoutError
from opto.events import Event, emit
from opto.llm.base import LLM, Messages, Response
from opto.llm.flow import Flow, Wrapper, ask, sleep

__all__ = ["CalledAgain", "Retried", "Retry", "RetryPolicy", "Waits"]

_log = logging.getLogger(__name__)


class CalledAgain(Event):
    """A call failed with `error` and another will be made in its place: a budget around both pays both."""

    error: Exception


@dataclass(frozen=True)
class Waits(Event):
    """A call will be sent after `wait` seconds; a listener that knows this to be too late raises."""

    wait: float


@dataclass(frozen=True)
class Retried(CalledAgain):
    """A call failed and will be made again after `wait` seconds."""

    attempt: int
    wait: float
    error: Exception


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again and how long to wait.

    At most `attempts` calls are made. The wait before try k+2 is drawn between half of and the whole of
    `base * 2**k` seconds (so that many clients do not knock in step), never above `longest`. A server's
    `Retry-After` replaces it; one above `longest` ends the trying.
    """

    attempts: int = 4
    base: float = 1.0
    longest: float = 60.0
    kinds: tuple[type[LLMError], ...] = (LLMRateLimitError, LLMServerError, LLMConnectionError, LLMTimeoutError)
    draw: Callable[[], float] = random.random
    now: Callable[[float], object] = time.sleep
    later: Callable[[float], Awaitable[object]] = asyncio.sleep

    def wait(self, error: LLMError, attempt: int) -> float | None:
        """Seconds to wait after failed call number `attempt` (from 1), or None to give up."""
        if attempt >= self.attempts or not isinstance(error, self.kinds):
            return None
        wish = error.retry_after if isinstance(error, (LLMRateLimitError, LLMServerError)) else None
        if wish is not None:
            return wish if wish <= self.longest else None
        return min(self.longest, self.base * 2.0 ** (attempt - 1)) * (0.5 + 0.5 * self.draw())


class Retry(Wrapper):
    """Wrap a model so that passing failures (429, 5xx, no connection, timeout) are tried again.

    >>> from opto.errors import LLMServerError
    >>> from opto.llm.fakes import ScriptedLLM
    >>> flaky = ScriptedLLM([LLMServerError("busy"), "done"])
    >>> Retry(flaky, RetryPolicy(now=lambda seconds: None))([{"role": "user", "content": "go"}]).text
    'done'
    """

    def __init__(self, llm: LLM, policy: RetryPolicy | None = None) -> None:
        super().__init__(llm)
        self.policy = policy or RetryPolicy()

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        attempt = 1
        while True:
            try:
                response: Response = yield ask(self.llm, messages, options)
            except LLMError as error:
                wait = self.policy.wait(error, attempt)
                if wait is None:
                    raise
                _log.info("call %d of %d failed, next in %.1f s: %s", attempt, self.policy.attempts, wait, error)
                emit(Retried(attempt, wait, error))
            else:
                return response
            yield sleep(wait, self.policy.now, self.policy.later)
            attempt += 1
