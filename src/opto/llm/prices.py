"""What tokens cost. The prices are data (`prices.json`); a price nobody knows is unknown, never zero."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from opto.errors import LLMConfigError
from opto.llm.profile import profile_of

__all__ = ["FREE", "LongPrice", "Price", "PriceSource", "PriceTable", "price_of"]

VARIABLE = "OPTO_LLM_PRICES"
# What services append to a model's name when they date it: -2024-08-06, -20250929, -0613, @20250929, -latest.
_DATED = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)$")


# Before a model's name: whose list price a name is. Resellers and regions ask for prices of their own.
_MAKERS = frozenset({"anthropic", "deepseek", "gemini", "google", "mistral", "mistralai", "openai", "xai"})


@dataclass(frozen=True, slots=True)
class LongPrice:
    """What a call costs whose prompt is longer than `above` tokens, the whole of it; in dollars per million."""

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

    def dearer(self, other: Price) -> Price:
        """No cheaper than either, whatever is asked."""
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
    """Prices by model name. `PriceTable.of()` is the packaged table under the user's own.

    >>> table = PriceTable.of({"my-model": (1, 2)})
    >>> table.price("my-model"), table.price("openai/gpt-4o-2024-08-06"), table.price("somebody's")
    (Price(prompt=1.0, completion=2.0, long=None), Price(prompt=2.5, completion=10.0, long=None), None)
    """

    prices: Mapping[str, Price]

    @classmethod
    def of(
        cls,
        source: PriceSource | PriceTable | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        packaged: bool = True,
    ) -> PriceTable:
        """The packaged prices, then those of the file that OPTO_LLM_PRICES names, then `source`: the last one counts.

        `source` is a mapping from names to (prompt, completion), or the path of a file in the form of prices.json.
        """
        if isinstance(source, PriceTable):
            return source
        named = (os.environ if environment is None else environment).get(VARIABLE)
        layers = [dict(_packaged()) if packaged else {}, _from_file(Path(named)) if named else {}]
        if isinstance(source, Mapping):
            layers.append(_parsed(source, "the prices given"))
        elif source is not None:
            layers.append(_from_file(Path(source)))
        return cls({name: price for layer in layers for name, price in layer.items()})

    def price(self, model: str) -> Price | None:
        """The price of a model by its name, without its maker before it and the date behind it if need be."""
        known = self.prices.get(model)
        if known is not None:
            return known
        maker, _, bare = model.rpartition("/")
        for name in (model, bare) if maker in _MAKERS else (model,):
            price = self.prices.get(name) or self.prices.get(_DATED.sub("", name))
            if price is not None:
                return price
        return None


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


@lru_cache(maxsize=1)
def _packaged() -> Mapping[str, Price]:
    return _from_file(Path(__file__).with_name("prices.json"))


def _from_file(path: Path) -> dict[str, Price]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LLMConfigError(
            f"The price list {path} cannot be read ({error}): give a file like prices.json."
        ) from error
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(models, dict):
        raise LLMConfigError(f'The price list {path} has no object "models": give a file like prices.json.')
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
