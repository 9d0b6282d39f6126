"""A budget that is used up ends the run as itself, wherever the model was called: it is nobody's feedback."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from opto.agents import BasicLearner, TracedLLM
from opto.errors import BudgetExceeded
from opto.llm import Budget, DummyLLM
from opto.optimizers.opro import OPRO
from opto.optimizers.opro_v2 import OPROv2
from opto.optimizers.optoprime import OptoPrime, OptoPrimeV1
from opto.optimizers.optoprime_v2 import OptoPrimeV2
from opto.optimizers.optoprimemulti import OptoPrimeMulti, OptoPrimeMultiV2
from opto.optimizers.textgrad import TextGrad
from opto.trace import bundle, node
from opto.trace import operators as ops

REPLY = '{"reasoning": "r", "answer": "", "suggestion": {"x0": 3}}'


def model(calls: int = 0) -> tuple[Any, list[int]]:
    """A model under a budget, and what counts the calls that reached it."""
    asked = list[int]()

    def reply(*args: Any, **options: Any) -> list[str]:
        asked.append(1)
        return [REPLY] * (options.get("n") or 1)

    return Budget(calls=calls).wrap(DummyLLM(reply)), asked


def test_through_a_traced_call_and_the_calls_around_it() -> None:
    llm, _ = model()

    @bundle()
    def inner(question: str) -> str:
        return str(llm([{"role": "user", "content": question}]).text)

    @bundle(traceable_code=True)
    def outer(question: Any) -> Any:
        return inner(question)

    @bundle()
    async def later(question: str) -> str:
        return str((await llm.acall([{"role": "user", "content": question}])).text)

    with pytest.raises(BudgetExceeded):
        inner(node("?"))
    with pytest.raises(BudgetExceeded):
        outer(node("?"))
    with pytest.raises(BudgetExceeded):
        asyncio.run(later(node("?")))


def test_through_an_operator() -> None:
    llm, _ = model()
    with pytest.raises(BudgetExceeded):
        ops.call(node(lambda question: llm([{"role": "user", "content": question}]).text), "?")


@pytest.mark.parametrize("make", [lambda llm: TracedLLM("Be brief.", llm=llm), lambda llm: BasicLearner(llm=llm)])
def test_through_an_agent(make: Any) -> None:
    with pytest.raises(BudgetExceeded):
        make(model()[0])("?")


@pytest.mark.parametrize(
    "kind", [OptoPrime, OptoPrimeV1, OptoPrimeV2, OPRO, OPROv2, OptoPrimeMulti, OptoPrimeMultiV2, TextGrad]
)
def test_through_an_optimizer_that_changes_nothing_then(kind: Any) -> None:
    llm, asked = model()
    x = node(1, name="x", trainable=True)
    optimizer = kind([x], llm=llm)
    optimizer.backward(x + 1, "larger")
    with pytest.raises(BudgetExceeded):
        optimizer.step()
    assert x.data == 1 and not asked


@pytest.mark.parametrize(
    "technique", ["temperature_variation", "self_refinement", "iterative_alternatives", "multi_experts", "multi_llm"]
)
@pytest.mark.parametrize("kind", [OptoPrimeMulti, OptoPrimeMultiV2])
def test_through_every_way_to_draw_candidates(kind: Any, technique: str) -> None:
    llm, asked = model(calls=2)
    x = node(1, name="x", trainable=True)
    optimizer = kind([x], llm=llm, num_responses=5, generation_technique=technique)
    optimizer.backward(x + 1, "larger")
    with pytest.raises(BudgetExceeded):
        optimizer.step()
    assert x.data == 1 and len(asked) == 2


@pytest.mark.parametrize("selection", ["moa", "best_of_n"])
def test_through_the_choice_among_candidates(selection: str) -> None:
    llm, asked = model(calls=3)
    x = node(1, name="x", trainable=True)
    optimizer = OptoPrimeMulti([x], llm=llm, num_responses=3, selection_technique=selection)
    optimizer.backward(x + 1, "larger")
    with pytest.raises(BudgetExceeded):
        optimizer.step()
    assert x.data == 1 and len(asked) == 3
