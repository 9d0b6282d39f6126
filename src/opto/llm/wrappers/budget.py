"""A limit for all models of a run: calls, tokens, money, seconds. A call that could exceed it is not sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from opto.cost import Cost, token_counts
from opto.errors import (
    BudgetExceeded,
    LLMAuthError,
    LLMConfigError,
    LLMConnectionError,
    LLMError,
    LLMRateLimitError,
    LLMRequestError,
    LLMServerError,
    LLMTimeoutError,
)
from opto.events import Event, listen
from opto.llm.base import LLM, Messages, Response
from opto.llm.flow import Flow, Wrapper, ask
from opto.llm.prices import Price, PriceSource, PriceTable, price_of
from opto.llm.profile import profile_of
from opto.llm.shared import Shared
from opto.llm.stream import Stream
from opto.llm.wrappers.estimates import (
    Bound,
    Forecast,
    choice_count,
    estimated_tokens,
    prompt_token_bound,
    reply_token_bound,
)
from opto.llm.wrappers.retry import CalledAgain, Retried, Waits

__all__ = ["Budget", "Budgeted"]

# The server answered and did not work: a call that counts, tokens that do not.
_REFUSED = (LLMRateLimitError, LLMAuthError, LLMRequestError, LLMServerError)
_SLACK = 1e-9  # dollars are added as floats


class Budget(Shared):
    """Limits over all models of this process that are wrapped with it; a copy of a budget is the same budget.

    It does not span processes: a pickle that is read in another process, and what a fork holds, is a budget of its own
    that begins with what was spent until then. Give each worker its share.

    Before a call its upper bound is set aside (one call; a token for every byte of the prompt and
    `max_tokens` for the reply; what these cost) and settled when the reply is there. A call whose bound does not fit
    raises `BudgetExceeded` and is not sent. So no limit is exceeded however many calls run at once, and what
    was paid for is always given. A repeated or redirected call (`Retry`, `Fallback` inside) is a call.

    A call without `max_tokens` is taken to fill the model's window; `reply_tokens` is sent as `max_tokens` with
    such calls instead. `count(messages, options)` replaces the byte count of prompts by that of a tokenizer; pictures
    and sound need it, as no bytes tell what they cost. `seconds` run from the first call on; a call that would have
    to wait until they are over is not sent, one under way is not cut off. With `money`, each model needs a known
    price (`prices`, see `PriceTable`).
    What a cache outside of the wrapped model answers costs nothing.

    >>> from opto.llm.fakes import ScriptedLLM
    >>> budget = Budget(calls=2)
    >>> agent, judge = budget.wrap(ScriptedLLM(["a", "b"])), budget.wrap(ScriptedLLM(["fine"]))
    >>> ask = [{"role": "user", "content": "?"}]
    >>> agent(ask).text, judge(ask).text
    ('a', 'fine')
    >>> agent(ask)
    Traceback (most recent call last):
        ...
    opto.errors.BudgetExceeded: The budget of 2 calls does not allow one more: 2 spent, 0 under way, 1 needed.
    """

    def __init__(
        self,
        *,
        calls: int | None = None,
        tokens: int | None = None,
        money: float | None = None,
        seconds: float | None = None,
        prices: PriceSource | PriceTable | None = None,
        reply_tokens: int | None = None,
        count: Callable[[Messages, Mapping[str, Any]], int] = prompt_token_bound,
    ) -> None:
        super().__init__()
        self.limits: dict[str, float | None] = {"calls": calls, "tokens": tokens, "money": money, "seconds": seconds}
        for name, limit in self.limits.items():
            if limit is not None and not limit >= 0:
                raise LLMConfigError(f"Budget({name}={limit!r}): give a number that is not negative, or None.")
        self.prices = PriceTable.of(prices)
        self.reply_tokens, self.count = reply_tokens, count
        self._spent, self._counted = Cost(), Bound()
        self._start()

    def _start(self) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._begin: float | None = None
        self._held, self._lock = Bound(), threading.Lock()

    @property
    def counts_tokens(self) -> bool:
        """Whether a limit depends on tokens, so that each call needs a bound for them."""
        return self.limits["tokens"] is not None or self.limits["money"] is not None

    def wrap(self, llm: LLM) -> Budgeted:
        """`llm` under this budget."""
        return Budgeted(llm, self)

    @property
    def spent(self) -> Cost:
        """The cost of answered calls, and the seconds since the first one began.

        The sums hold estimates of the tokens of `uncounted` calls; against the limits these count at their bound.
        """
        with self._lock:
            return replace(self._spent, seconds=self._elapsed())

    @property
    def left(self) -> dict[str, float | None]:
        """The rest of each limit for calls that begin now; None without a limit."""
        with self._lock:
            used = self._counted + self._held
            taken: dict[str, float] = {
                "calls": used.calls,
                "tokens": used.tokens,
                "money": used.money,
                "seconds": self._elapsed(),
            }
        return {name: None if limit is None else max(0, limit - taken[name]) for name, limit in self.limits.items()}

    def forecast(self, times: float = 1, *, dry: Cost | None = None, model: str | None = None) -> Forecast:
        """The likely cost of `times` runs such as `dry` (by default: such as all so far), and the limits they break.

        A dry run is a part of the run under a budget of its own, with a fake model if it shall cost nothing:
        tokens are then guessed from the texts; `model` names the one whose price counts.
        """
        price = None if model is None else self.prices.price(model)
        if model is not None and price is None:
            raise _no_price(model)
        return Forecast.of(dry or self.spent, times, price, self.limits)

    def hold(self, need: Bound) -> None:
        """Reserve the bound of a call, or raise `BudgetExceeded`."""
        with self._lock:
            if self._begin is None:
                self._begin = self.clock()
            elapsed, seconds = self._elapsed(), self.limits["seconds"]
            if seconds is not None and elapsed >= seconds:
                raise BudgetExceeded("seconds", seconds, elapsed, 0, 0)
            for name in ("calls", "tokens", "money"):
                limit, needed = self.limits[name], getattr(need, name)
                spent, held = getattr(self._counted, name), getattr(self._held, name)
                if limit is not None and spent + held + needed > limit + _SLACK:
                    raise BudgetExceeded(name, limit, spent, held, needed)
            self._held += need

    def check_wait(self, wait: float) -> None:
        """Raise `BudgetExceeded` if a call that is sent after so many seconds would be too late."""
        seconds = self.limits["seconds"]
        if seconds is None:
            return
        with self._lock:
            elapsed = self._elapsed()
        if elapsed + wait >= seconds:
            raise BudgetExceeded("seconds", seconds, elapsed, 0, wait)

    def settle(self, need: Bound, took: Bound, cost: Cost) -> None:
        """Replace the bound that was reserved by the part that counts against the limits, and add the cost."""
        with self._lock:
            self._held -= need
            self._counted += took
            self._spent += cost

    def _elapsed(self) -> float:
        """Seconds before a pickle and since the first call; the caller holds the lock."""
        return self._spent.seconds + (0.0 if self._begin is None else self.clock() - self._begin)

    def _state(self) -> dict[str, Any]:
        names = ("limits", "prices", "reply_tokens", "count")
        return {**{name: getattr(self, name) for name in names}, "_spent": self.spent, "_counted": self._counted}

    def _restore(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()


class Budgeted(Wrapper):
    """Wrap a model so that its calls are paid from `budget`; usually made by `budget.wrap(llm)`."""

    def __init__(self, llm: LLM, budget: Budget) -> None:
        super().__init__(llm)
        self.budget = budget

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        budget = self.budget
        if budget.counts_tokens and budget.reply_tokens is not None and reply_token_bound(options) is None:
            options = {**options, "max_tokens": budget.reply_tokens}
        charge = _Charge(budget, self.llm, messages, options)
        try:
            with listen(charge.on_event):
                response: Response = yield ask(self.llm, messages, options)
        except BaseException as error:
            charge.failed(error)
            raise
        if isinstance(response, Stream):
            return response.when_done(charge.answered, charge.broken)
        charge.answered(response)
        return response


class _Charge:
    """One call's way through the budget: held, then answered or failed; once more for each further attempt."""

    __slots__ = ("budget", "llm", "messages", "model", "need", "open", "price", "prompt", "reply")

    def __init__(self, budget: Budget, llm: LLM, messages: Messages, options: Mapping[str, Any]) -> None:
        self.budget, self.llm, self.messages = budget, llm, messages
        self.model: str | None = options.get("model")
        self.price: Price | None = price_of(llm, budget.prices, self.model)
        self.prompt, self.reply = self._most(options)
        self.need = self._need()
        self.open = False
        self._hold()

    def on_event(self, event: Event) -> None:
        """A wrapper inside is about to wait, or to call again: that is another call to pay."""
        if isinstance(event, CalledAgain) and self.open:
            self.failed(event.error)
            self._hold()
        if isinstance(event, (Retried, Waits)):
            self.budget.check_wait(event.wait)

    def answered(self, response: object) -> None:
        prompt, completion = token_counts(getattr(response, "usage", None))
        money = self._cost(prompt, completion)
        if prompt is not None and completion is not None:
            self._settle(prompt + completion, prompt, completion, money, counted=True)
            return
        if prompt is None:
            prompt = estimated_tokens(prompt_token_bound(self.messages, {}))
        if completion is None:
            completion = estimated_tokens(_reply_bytes(response))
        self._settle(self.prompt + self.reply or prompt + completion, prompt, completion, money)

    def failed(self, error: BaseException) -> None:
        """Release the part of the bound that the failure cannot have cost; the rest stays spent."""
        if not self.open:
            return
        if isinstance(error, (BudgetExceeded, LLMConfigError)) or _unsent(error):
            self._close(Bound(), Cost())
        elif isinstance(error, _REFUSED):
            self._close(Bound(1), Cost(1))
        else:
            self.broken(error)

    def broken(self, error: BaseException) -> None:
        """A stream that breaks off may have cost the whole bound."""
        self._settle(self.prompt + self.reply, self.prompt, self.reply, self._cost(None, None))

    def _most(self, options: Mapping[str, Any]) -> tuple[int, int]:
        if not self.budget.counts_tokens:
            return 0, 0
        reply = reply_token_bound(options)
        if reply is None:
            reply = profile_of(self.llm).context_tokens * choice_count(options)
        return self.budget.count(self.messages, options), reply

    def _need(self) -> Bound:
        if self.budget.limits["money"] is None:
            return Bound(1, self.prompt + self.reply)
        if self.price is None:
            raise _no_price(self.model or profile_of(self.llm).name)
        return Bound(1, self.prompt + self.reply, self.price.of(self.prompt, self.reply) or 0.0)

    def _cost(self, prompt: int | None, completion: int | None) -> float | None:
        """Dollars of the tokens told; of the bound when they were not and money is limited."""
        cost = None if self.price is None else self.price.of(prompt, completion)
        return self.need.money if cost is None and self.budget.limits["money"] is not None else cost

    def _hold(self) -> None:
        self.budget.hold(self.need)
        self.open = True

    def _settle(self, tokens: int, prompt: int, completion: int, money: float | None, counted: bool = False) -> None:
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        cost = replace(Cost.of_call(usage, money=money), uncounted=int(not counted))
        self._close(Bound(1, tokens, money or 0.0), cost)

    def _close(self, took: Bound, cost: Cost) -> None:
        if self.open:
            self.open = False
            self.budget.settle(self.need, took, cost)


def _reply_bytes(response: object) -> int:
    """Bytes of all answers, whatever the response is."""
    choices = getattr(response, "choices", None) or ()
    return sum(len(str(choice.message.content or "").encode("utf-8", "surrogatepass")) for choice in choices)


def _unsent(error: BaseException) -> bool:
    return isinstance(error, (LLMConnectionError, LLMTimeoutError)) and not error.sent


def _no_price(model: str) -> LLMError:
    return LLMConfigError(
        f"The price of '{model}' is not known, so money cannot be limited: "
        f"give prices={{'{model}': (prompt, completion)}} in dollars per million tokens, or install opto-trace[prices]."
    )
