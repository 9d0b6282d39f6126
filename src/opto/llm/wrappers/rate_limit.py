"""So many requests and tokens a minute: calls wait for their turn instead of being refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from opto.cost import token_counts
from opto.errors import LLMConfigError, LLMError, LLMRateLimitError, LLMServerError
from opto.events import emit
from opto.llm.base import LLM, Messages, Response
from opto.llm.flow import Flow, Wrapper, ask, sleep
from opto.llm.shared import Shared
from opto.llm.stream import when_whole
from opto.llm.wrappers.estimates import estimated_tokens, prompt_token_bound, reply_token_bound
from opto.llm.wrappers.retry import Waits

__all__ = ["Clock", "Pace", "Paced", "Turn"]


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from; tests hand in one that only counts."""

    read: Callable[[], float] = time.monotonic
    now: Callable[[float], object] = time.sleep
    later: Callable[[float], Awaitable[object]] = asyncio.sleep


@dataclass(slots=True)
class Turn:
    """A call's place in time."""

    at: float
    tokens: int
    recent: bool = True


class Pace(Shared):
    """At most `requests` calls and `tokens` tokens in any `period` seconds; several models may share it.

    Tokens are those of prompt and `max_tokens` as a guess before the call, and as told after it. A call larger than
    `tokens` goes when nothing else does. When a server says how long to wait, all calls wait, but no longer than a
    `period`: a wish for hours is the caller's to know, who gets the error.
    """

    _last: float
    _not_before: float

    def __init__(
        self,
        *,
        requests: int | None = None,
        tokens: int | None = None,
        period: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        for name, value in (("requests", requests), ("tokens", tokens), ("period", period)):
            if value is not None and not value > 0:
                raise LLMConfigError(f"Pace({name}={value!r}): give a number above zero.")
        super().__init__()
        self._restore({"requests": requests, "tokens": tokens, "period": period, "clock": clock or Clock()})

    def turn(self, tokens: int) -> tuple[Turn, float]:
        """The next turn for so many tokens, and the seconds until then."""
        with self._lock:
            now = self.clock.read()
            turn = Turn(max(now, self._last, self._not_before), tokens)
            while self._recent and self._recent[0].at + self.period <= turn.at:
                self._drop()
            while self._recent and not self._fits(tokens):
                turn.at = max(turn.at, self._recent[0].at + self.period)
                self._drop()
            self._recent.append(turn)
            self._sum += tokens
            self._last = turn.at
            return turn, turn.at - now

    def learn(self, turn: Turn, prompt: int | None, completion: int | None) -> None:
        """Replace the estimated tokens of a turn by the tokens that the server told."""
        if self.tokens is None or prompt is None or completion is None:
            return
        with self._lock:
            if turn.recent:
                self._sum += prompt + completion - turn.tokens
            turn.tokens = prompt + completion

    def pause(self, seconds: float) -> None:
        """Send no call for so many seconds, a period at most."""
        with self._lock:
            self._not_before = max(self._not_before, self.clock.read() + min(seconds, self.period))

    def _fits(self, tokens: int) -> bool:
        if self.requests is not None and len(self._recent) >= self.requests:
            return False
        return self.tokens is None or self._sum + tokens <= self.tokens

    def _drop(self) -> None:
        turn = self._recent.popleft()
        turn.recent = False
        self._sum -= turn.tokens

    def _state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("requests", "tokens", "period", "clock")}

    def _restore(self, state: dict[str, Any]) -> None:
        self.requests: int | None = state["requests"]
        self.tokens: int | None = state["tokens"]
        self.period: float = state["period"]
        self.clock: Clock = state["clock"]
        self._recent: deque[Turn] = deque()
        self._sum = 0
        self._last = self._not_before = float("-inf")
        self._lock: threading.Lock = threading.Lock()


class Paced(Wrapper):
    """Wrap a model so that its calls keep to `pace`.

    >>> from opto.llm.fakes import ScriptedLLM
    >>> waits = []
    >>> pace = Pace(requests=2, clock=Clock(read=lambda: 0.0, now=waits.append))
    >>> llm = Paced(ScriptedLLM(["a", "b", "c"]), pace)
    >>> [llm([]).text for _ in range(3)], waits
    (['a', 'b', 'c'], [60.0])
    """

    def __init__(self, llm: LLM, pace: Pace) -> None:
        super().__init__(llm)
        self.pace = pace

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        pace = self.pace
        tokens = 0
        if pace.tokens is not None:
            tokens = estimated_tokens(prompt_token_bound(messages, options)) + (reply_token_bound(options) or 0)
        turn, wait = pace.turn(tokens)
        if wait > 0:
            emit(Waits(wait))
            yield sleep(wait, pace.clock.now, pace.clock.later)
        try:
            response: Response = yield ask(self.llm, messages, options)
        except LLMError as error:
            if isinstance(error, (LLMRateLimitError, LLMServerError)) and error.retry_after is not None:
                pace.pause(error.retry_after)
            raise
        return when_whole(response, lambda whole: pace.learn(turn, *token_counts(getattr(whole, "usage", None))))
