"""Count what calls cost as they pass, and emit an event for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opto.cost import Cost, token_counts
from opto.events import Event, emit
from opto.llm.base import LLM, Messages, Response
from opto.llm.flow import Flow, Wrapper, ask
from opto.llm.prices import PriceSource, PriceTable, price_of
from opto.llm.stream import Stream

__all__ = ["Answered", "Metered"]


@dataclass(frozen=True)
class Answered(Event):
    """A model answered after `seconds`; unknown tokens, and the cost in dollars at an unknown price, are None."""

    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    cost: float | None = None


class Metered(Wrapper):
    """Wrap a model so that the cost of its calls is counted in `spent`; inside a cache it counts paid calls only.

    `prices` overrides list prices, see `PriceTable.of`. A stream counts when it has ended; one
    that broke off or was left is a call that did not tell its tokens.

    >>> from opto.llm.wrappers.cache import CachedLLM
    >>> from opto.llm.fakes import ScriptedLLM
    >>> paid = Metered(ScriptedLLM(["hello"]))
    >>> llm = CachedLLM(paid)
    >>> [llm([{"role": "user", "content": "hi"}]).text for _ in range(3)], paid.spent.calls, paid.spent.money
    (['hello', 'hello', 'hello'], 1, None)
    """

    def __init__(
        self,
        llm: LLM,
        clock: Callable[[], float] = time.perf_counter,
        prices: PriceSource | PriceTable | None = None,
    ) -> None:
        super().__init__(llm)
        self.spent = Cost()
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
        usage = getattr(response, "usage", None)
        prompt, completion = token_counts(usage)
        cost = None if price is None else price.of(prompt, completion)
        with self._lock:
            self.spent += Cost.of_call(usage, seconds=seconds, money=cost)
        emit(Answered(model or self.profile.name, prompt, completion, seconds, cost))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
