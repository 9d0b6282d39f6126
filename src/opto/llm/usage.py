"""What calls cost: counted where they pass, told as events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opto.events import Event, emit
from opto.llm.base import LLM, Messages, Response
from opto.llm.flow import Flow, Wrapper, ask

__all__ = ["Answered", "Metered", "Spent"]


@dataclass(frozen=True)
class Answered(Event):
    """A model answered after `seconds`; unknown tokens are None."""

    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over answered calls. `uncounted` of them did not tell their tokens, which the sums then lack."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    seconds: float = 0.0

    def plus(self, response: Response, seconds: float) -> Spent:
        """These sums with one more answer."""
        usage = getattr(response, "usage", None)
        prompt = getattr(usage, "prompt_tokens", None)
        completion = getattr(usage, "completion_tokens", None)
        known = isinstance(prompt, int) and isinstance(completion, int)
        return Spent(
            self.calls + 1,
            self.prompt_tokens + (prompt or 0),
            self.completion_tokens + (completion or 0),
            self.uncounted + (not known),
            self.seconds + seconds,
        )


class Metered(Wrapper):
    """Wrap a model so that what it costs is counted in `spent`; inside a cache it counts paid calls only.

    >>> from opto.llm.cache import CachedLLM
    >>> from opto.llm.fakes import ScriptedLLM
    >>> paid = Metered(ScriptedLLM(["hello"]))
    >>> llm = CachedLLM(paid)
    >>> [llm([{"role": "user", "content": "hi"}]).text for _ in range(3)], paid.spent.calls
    (['hello', 'hello', 'hello'], 1)
    """

    def __init__(self, llm: LLM, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(llm)
        self.spent = Spent()
        self._clock = clock
        self._lock = threading.Lock()

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        start = self._clock()
        response: Response = yield ask(self.llm, messages, options)
        seconds = self._clock() - start
        with self._lock:
            self.spent = self.spent.plus(response, seconds)
        usage = getattr(response, "usage", None)
        prompt, completion = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        emit(Answered(self.profile.name, prompt, completion, seconds))
        return response

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
