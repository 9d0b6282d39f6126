"""Prices are data; what nobody knows is unknown, never zero."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import opto.llm.prices
from opto.errors import LLMConfigError
from opto.llm import (
    FREE,
    Budget,
    LocalLLM,
    LongPrice,
    Metered,
    OpenAICompatible,
    Price,
    PriceTable,
    Response,
    ScriptedLLM,
    Usage,
)
from opto.llm.prices import price_of

ASK = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("gpt-4o", Price(2.5, 10)),
        ("openai/gpt-4o-mini-2024-07-18", Price(0.15, 0.6)),
        ("claude-3-5-haiku-20241022", Price(0.8, 4)),
        ("gpt-4-0613", Price(30, 60)),
        ("gpt-4o-2024-05-13", Price(5, 15)),
        ("text-embedding-3-small", Price(0.02, 0)),
        ("openai/text-embedding-3-small", Price(0.02, 0)),
        ("gpt-3.5-turbo-mini", None),
        ("gpt-99", None),
        ("my-model", None),
        ("", None),
    ],
)
def test_names_with_provider_and_date_are_found_and_relatives_are_not(name: str, price: Price | None) -> None:
    assert PriceTable.of().price(name) == price


def test_a_file_in_the_environment_and_one_s_own_prices_override(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"models": {"gpt-4o": [1, 2], "own": {"prompt": 3, "completion": 4}}}))
    table = PriceTable.of({"own": (5, 6)}, {"OPTO_LLM_PRICES": str(file)})
    assert table.price("gpt-4o") == Price(1, 2) and table.price("own") == Price(5, 6)
    assert PriceTable.of(file).price("own") == Price(3, 4) and PriceTable.of(table) is table
    assert PriceTable.of({"own": FREE}).price("own") == FREE and PriceTable.of().price("own") is None


@pytest.mark.parametrize("given", [{"m": 3}, {"m": (1,)}, {"m": (-1, 2)}, {"m": ("a", 2)}, {"m": (float("nan"), 1)}])
def test_a_senseless_price_is_named(given: Any) -> None:
    with pytest.raises(LLMConfigError, match="'m'"):
        PriceTable.of(given)


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"models": 1}'])
def test_a_senseless_file_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "prices.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(LLMConfigError, match=r"prices\.json"):
        PriceTable.of(str(file))


def test_unknown_tokens_cost_unknown_unless_they_are_free() -> None:
    assert Price(1, 1).of(None, 5) is None and FREE.of(None, None) == 0.0 and Price(1, 0).of(1_000_000, None) == 1.0


def test_a_model_s_own_price_comes_first() -> None:
    table = PriceTable.of()
    assert price_of(LocalLLM(), table) == price_of(Metered(LocalLLM()), table) == FREE
    assert price_of(OpenAICompatible("http://127.0.0.1/v1", "gpt-4o"), table) == Price(2.5, 10)
    assert price_of(ScriptedLLM([]), table) is None


def test_the_meter_adds_costs_and_one_unknown_makes_the_sum_unknown() -> None:
    replies = [Response.of("a", usage=Usage(1_000_000, 0)), Response.of("b", usage=Usage(0, 500_000)), Response.of("c")]
    llm = Metered(ScriptedLLM(replies), prices={"scripted": (2, 4)})
    assert llm.spent.money == 0.0
    llm(ASK), llm(ASK)
    assert llm.spent.money == 4.0
    llm(ASK)
    assert llm.spent.money is None and llm.spent.money_sum == 4.0 and llm.spent.unpriced == 1


def test_a_long_prompt_is_dearer_as_a_whole() -> None:
    price = PriceTable.of().price("gemini-2.5-pro")
    assert price == Price(1.25, 10, LongPrice(200_000, 2.5, 15))
    assert price.of(200_000, 0) == pytest.approx(0.25) and price.of(200_001, 0) == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(LLMConfigError, match="'own'"):
        PriceTable.of({"own": {"prompt": 1, "completion": 1, "long": {"above": 9, "prompt": 2}}})


def test_the_dearer_of_two_prices_bounds_both() -> None:
    one, two = Price(1, 9, LongPrice(100, 5, 9)), Price(2, 3)
    both = one.upper_bound(two)
    assert both == two.upper_bound(one) == Price(2, 9, LongPrice(100, 5, 9)) and two.upper_bound(FREE) == two
    for prompt, reply in ((0, 50), (99, 1), (101, 0), (10_000, 10_000)):
        assert (both.of(prompt, reply) or 0) >= max(one.of(prompt, reply) or 0, two.of(prompt, reply) or 0)


def test_without_the_extra_prices_are_unknown_and_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    for cached in (opto.llm.prices._published, opto.llm.prices._log_once):
        cached.cache_clear()
    table = PriceTable.of({"own": (1, 2)})
    assert table.price("gpt-4o") is None is table.price("gpt-4") and table.price("own") == Price(1, 2)
    assert caplog.text.count("install opto-trace[prices]") == 1
    with pytest.raises(LLMConfigError, match=r"opto-trace\[prices\]"):
        Budget(money=1).wrap(OpenAICompatible("http://127.0.0.1/v1", "gpt-4o"))(ASK, max_tokens=1)
    opto.llm.prices._published.cache_clear()
