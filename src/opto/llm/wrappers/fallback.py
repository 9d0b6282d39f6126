"""When one model fails, the next one answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from opto.errors import (
    LLMConfigError,
    LLMConnectionError,
    LLMRateLimitError,
    LLMResponseError,
    LLMServerError,
    LLMTimeoutError,
)
from opto.events import emit
from opto.llm.base import LLM, Messages, Response, identity_of
from opto.llm.flow import Flow, FlowLLM, ask
from opto.llm.prices import Price
from opto.llm.profile import ModelProfile, profile_of
from opto.llm.wrappers.retry import CalledAgain

__all__ = ["Fallback", "FellBack"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FellBack(CalledAgain):
    """The model named `model` failed; the next one, `following`, is asked."""

    model: str
    following: str
    error: Exception


class Fallback(FlowLLM):
    """Ask the first model; after an error of one of `kinds` ask the next, and raise the last one's error.

    Prompts are made for the first model's profile, within the smallest window of all. To pay from a budget by each
    model's own price, wrap the models: `Fallback([budget.wrap(a), budget.wrap(b)])`; around it, the dearest price
    counts. A stream falls back until its first chunk only.

    >>> from opto.llm.fakes import ScriptedLLM
    >>> Fallback([ScriptedLLM([LLMServerError("down")]), ScriptedLLM(["here"])])([]).text
    'here'
    """

    def __init__(
        self,
        llms: Sequence[LLM],
        kinds: tuple[type[Exception], ...] = (
            LLMConnectionError,
            LLMTimeoutError,
            LLMServerError,
            LLMRateLimitError,
            LLMResponseError,
        ),
    ) -> None:
        if not llms:
            raise LLMConfigError("Fallback([]) has nobody to ask: give at least one model.")
        self.llms, self.kinds = tuple(llms), kinds

    def holds(self) -> Sequence[Any]:
        return self.llms

    @property
    def profile(self) -> ModelProfile:
        profiles = [profile_of(llm) for llm in self.llms]
        return replace(profiles[0], context_tokens=min(profile.context_tokens for profile in profiles))

    @property
    def identity(self) -> str:
        return " else ".join(identity_of(llm) for llm in self.llms)

    @property
    def price(self) -> Price | None:
        """The dearest of the models' own prices, None if one has none."""
        prices = [getattr(llm, "price", None) for llm in self.llms]
        known = [price for price in prices if isinstance(price, Price)]
        if len(known) < len(prices):
            return None
        return reduce(Price.upper_bound, known)

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        last = len(self.llms) - 1
        for k, llm in enumerate(self.llms):
            try:
                response: Response = yield ask(llm, messages, options)
            except self.kinds as error:
                if k == last:
                    raise
                names = (profile_of(llm).name, profile_of(self.llms[k + 1]).name)
                _log.warning("%s failed, %s is asked: %s", *names, error)
                emit(FellBack(*names, error))
            else:
                return response
        raise AssertionError("unreachable: the last model answers or raises")

    def __repr__(self) -> str:
        return f"Fallback({list(self.llms)!r})"
