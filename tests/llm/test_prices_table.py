"""Prices are data; what nobody knows is unknown, never zero."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opto.errors import LLMConfigError
from opto.llm import FREE, LocalLLM, Metered, OpenAICompatible, Price, PriceTable, Response, ScriptedLLM, Usage
from opto.llm.prices import price_of

ASK = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("gpt-4o", Price(2.5, 10)),
        ("openai/gpt-4o-mini-2024-07-18", Price(0.15, 0.6)),
        ("claude-sonnet-4-5-20250929", Price(3, 15)),
        ("gpt-4-0613", Price(30, 60)),
        ("gpt-4o-audio-preview", None),
        ("gpt-4o-mini-tts", None),
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
    assert llm.spent.cost == 0.0
    llm(ASK), llm(ASK)
    assert llm.spent.cost == 4.0
    llm(ASK)
    assert llm.spent.cost is None and llm.spent.priced == 4.0 and llm.spent.unpriced == 1
