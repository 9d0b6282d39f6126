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
from opto.llm.prices import PriceSource, PriceTable, price_of
from opto.llm.stream import Stream

__all__ = ["Answered", "Metered", "Spent", "told"]


@dataclass(frozen=True)
class Answered(Event):
    """A model answered after `seconds`; unknown tokens, and the cost in dollars at an unknown price, are None."""

    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over answered calls.

    `uncounted` calls did not tell their tokens, and `unpriced` calls have no known cost: the sums lack these.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    seconds: float = 0.0
    priced: float = 0.0
    unpriced: int = 0

    @property
    def cost(self) -> float | None:
        """Dollars for all calls; None, which is not zero, when the cost of one is unknown."""
        return None if self.unpriced else self.priced

    def plus(self, response: object, seconds: float, cost: float | None = None) -> Spent:
        """These sums with one more answer."""
        prompt, completion = told(response)
        return Spent(
            self.calls + 1,
            self.prompt_tokens + (prompt or 0),
            self.completion_tokens + (completion or 0),
            self.uncounted + (prompt is None or completion is None),
            self.seconds + seconds,
            self.priced + (cost or 0.0),
            self.unpriced + (cost is None),
        )


def told(response: object) -> tuple[int | None, int | None]:
    """The tokens that a response of whatever kind says it used, of prompt and completion; None where it is silent."""
    usage = getattr(response, "usage", None)
    prompt = getattr(usage, "prompt_tokens", None)
    completion = getattr(usage, "completion_tokens", None)
    return prompt if isinstance(prompt, int) else None, completion if isinstance(completion, int) else None


class Metered(Wrapper):
    """Wrap a model so that what it costs is counted in `spent`; inside a cache it counts paid calls only.

    `prices` overrides the packaged price list, see `PriceTable.of`. A stream counts when it has ended; one
    that broke off or was left is a call that did not tell its tokens.

    >>> from opto.llm.wrappers.cache import CachedLLM
    >>> from opto.llm.fakes import ScriptedLLM
    >>> paid = Metered(ScriptedLLM(["hello"]))
    >>> llm = CachedLLM(paid)
    >>> [llm([{"role": "user", "content": "hi"}]).text for _ in range(3)], paid.spent.calls, paid.spent.cost
    (['hello', 'hello', 'hello'], 1, None)
    """

    def __init__(
        self,
        llm: LLM,
        clock: Callable[[], float] = time.perf_counter,
        prices: PriceSource | PriceTable | None = None,
    ) -> None:
        super().__init__(llm)
        self.spent = Spent()
        self.prices = PriceTable.of(prices)
        self._clock = clock
        self._lock = threading.Lock()

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        start, model = self._clock(), options.get("model")
        response: Response = yield ask(self.llm, messages, options)
        if isinstance(response, Stream):
            return response.when_done(
                lambda whole: self._count(whole, start, model), lambda error: self._count(None, start, model)
            )
        self._count(response, start, model)
        return response

    def _count(self, response: object, start: float, model: str | None) -> None:
        seconds = self._clock() - start
        price = price_of(self.llm, self.prices, model)
        prompt, completion = told(response)
        cost = None if price is None else price.of(prompt, completion)
        with self._lock:
            self.spent = self.spent.plus(response, seconds, cost)
        emit(Answered(model or self.profile.name, prompt, completion, seconds, cost))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
