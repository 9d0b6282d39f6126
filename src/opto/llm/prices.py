"""Prices of tokens: your own, else those that genai-prices publishes; an unknown price is None, never zero."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from opto.errors import LLMConfigError
from opto.llm.profile import profile_of

__all__ = ["FREE", "LongPrice", "Price", "PriceSource", "PriceTable", "price_of"]

_log = logging.getLogger(__name__)
VARIABLE = "OPTO_LLM_PRICES"


@dataclass(frozen=True, slots=True)
class LongPrice:
    """The price of all tokens of a call whose prompt is longer than `above` tokens, in dollars per million."""

    above: float
    prompt: float
    completion: float


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens of the prompt and of the completion, and those of long prompts if they differ.

    >>> Price(2.5, 10).of(1_000_000, 100_000)
    3.5
    >>> Price(1, 10, LongPrice(200_000, 2, 15)).of(1_000_000, 100_000)
    3.5
    """

    prompt: float
    completion: float
    long: LongPrice | None = None

    def upper_bound(self, other: Price) -> Price:
        """A price that is no lower than either of the two, for any call."""
        long = None
        if self.long is not None or other.long is not None:
            rates = [price.long or LongPrice(math.inf, price.prompt, price.completion) for price in (self, other)]
            long = LongPrice(*(pick(astuple(rate)[k] for rate in rates) for k, pick in enumerate((min, max, max))))
        return Price(max(self.prompt, other.prompt), max(self.completion, other.completion), long)

    def of(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        """Dollars for so many tokens; None when a count is unknown and would cost something."""
        total = 0.0
        rate = self.long if self.long is not None and (prompt_tokens or 0) > self.long.above else self
        for price, tokens in ((rate.prompt, prompt_tokens), (rate.completion, completion_tokens)):
            if tokens is None and price:
                return None
            total += price * (tokens or 0) / 1e6
        return total


FREE = Price(0.0, 0.0)
PriceSource = Mapping[str, Any] | str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by the names of models: `own` ones first, then the list prices of the package genai-prices.

    That package is the extra `prices`; without it only the prices that you give are known. It reads nothing from the
    network. A name in `own` also stands for `maker/name`.

    >>> table = PriceTable.of({"my-model": (1, 2)})
    >>> table.price("my-model"), table.price("somebody/my-model"), table.price("another")
    (Price(prompt=1.0, completion=2.0, long=None), Price(prompt=1.0, completion=2.0, long=None), None)
    """

    own: Mapping[str, Price]

    @classmethod
    def of(
        cls, source: PriceSource | PriceTable | None = None, environment: Mapping[str, str] | None = None
    ) -> PriceTable:
        """Your prices: those of the file that OPTO_LLM_PRICES names, then those of `source`, which override them.

        `source` is a mapping from names to (prompt, completion) in dollars per million tokens, or the path of a JSON
        file `{"models": {name: [prompt, completion]}}`.
        """
        if isinstance(source, PriceTable):
            return source
        named = (os.environ if environment is None else environment).get(VARIABLE)
        own = _from_file(Path(named)) if named else {}
        if isinstance(source, Mapping):
            own |= _parsed(source, "the prices given")
        elif source is not None:
            own |= _from_file(Path(source))
        return cls(own)

    def price(self, model: str) -> Price | None:
        """The price of a model by its name."""
        return self.own.get(model) or self.own.get(model.rpartition("/")[2]) or _published(model)


def price_of(llm: object, table: PriceTable, model: str | None = None) -> Price | None:
    """The price of a model: its own `price` if it has one (a local model is free), else by its name.

    `model` is the one that a call names instead, if it does.
    """
    own = getattr(llm, "price", None)
    if isinstance(own, Price):
        return own
    if model is not None:
        return table.price(model)
    name = getattr(llm, "model_name", None)
    found = table.price(profile_of(llm).name)
    return table.price(name) if found is None and isinstance(name, str) else found


@lru_cache(maxsize=1024)
def _published(model: str) -> Price | None:
    """The list price of a model today, without discounts for cached prompts."""
    if find_spec("genai_prices") is None:
        _log_once(
            "Prices of models are unknown: install opto-trace[prices], or give prices={name: (prompt, completion)}."
        )
        return None
    snapshot = import_module("genai_prices.data_snapshot").get_snapshot()
    # "litellm" is its word for names that may begin with those of their makers; OpenAI's vectors have bare names.
    known = _found(snapshot, model, "litellm") or _found(snapshot, model, "openai")
    if known is None:
        return None
    prices: Any = vars(known.get_prices(datetime.now(UTC)))
    prompt, completion = prices.get("input_mtok"), prices.get("output_mtok")
    if prompt is None:
        return None
    above = [tier.start for price in (prompt, completion) for tier in getattr(price, "tiers", ())]
    long = LongPrice(min(above), _rate(prompt, -1), _rate(completion, -1)) if above else None
    return Price(_rate(prompt), _rate(completion), long)


def _found(snapshot: Any, model: str, provider: str) -> Any:
    try:
        return snapshot.find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return None


def _rate(price: Any, tier: int | None = None) -> float:
    """Dollars per million tokens of a price with or without tiers for long prompts."""
    tiers = getattr(price, "tiers", None)
    if tier is not None and tiers:
        return float(tiers[tier].price)
    return float(getattr(price, "base", price) or 0)


@lru_cache
def _log_once(sentence: str) -> None:
    _log.warning(sentence)


def _from_file(path: Path) -> dict[str, Price]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LLMConfigError(f"The price list {path} cannot be read ({error}): give a file of JSON.") from error
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(models, dict):
        raise LLMConfigError(f'The price list {path} has no object "models": write {{"models": {{"name": [1, 2]}}}}.')
    return _parsed(models, str(path))


def _parsed(models: Mapping[str, Any], where: str) -> dict[str, Price]:
    return {name: _price(name, given, where) for name, given in models.items()}


def _price(name: str, given: Any, where: str) -> Price:
    if isinstance(given, Price):
        return given
    pair: Any = (given.get("prompt"), given.get("completion")) if isinstance(given, Mapping) else given
    long = given.get("long") if isinstance(given, Mapping) else None
    try:
        prompt, completion = (float(number) for number in pair)
        dearer = None if long is None else LongPrice(*(float(long[key]) for key in ("above", "prompt", "completion")))
    except (TypeError, ValueError, KeyError) as error:
        raise LLMConfigError(f"{where}: the price of '{name}' must be two numbers, not {given!r}.") from error
    if not all(0 <= number < math.inf for number in (prompt, completion, *(astuple(dearer) if dearer else ()))):
        raise LLMConfigError(f"{where}: the price of '{name}' must not be negative or infinite ({given!r}).")
    return Price(prompt, completion, dearer)
