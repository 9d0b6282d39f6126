"""A hundred callers, threads and tasks, of four models of one run: nothing beyond the budget reaches a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from opto.errors import BudgetExceeded, LLMError
from opto.llm import (
    LLM,
    Budget,
    CachedLLM,
    Fallback,
    Limited,
    Metered,
    OpenAICompatible,
    Retry,
    RetryPolicy,
    Timeout,
)

PRICES = {"agent": (1, 2), "judge": (5, 10), "optimizer": (20, 40), "vectors": (1, 0)}
CALLERS = 100


async def no_wait_later(seconds: float) -> None:
    pass


QUICK = RetryPolicy(attempts=3, now=lambda seconds: None, later=no_wait_later)


def models(budget: Budget, url: str) -> list[Any]:
    """The models of a run as users compose them: each in another way, all on one budget."""
    agent, judge, optimizer, vectors = (OpenAICompatible(url, name) for name in PRICES)
    return [
        budget.wrap(Retry(agent, QUICK)),
        Retry(budget.wrap(Limited(judge, 8)), QUICK),
        CachedLLM(Fallback([budget.wrap(Timeout(Metered(optimizer), 60)), budget.wrap(optimizer)])),
        Retry(budget.wrap(vectors), QUICK),
    ]


def question(k: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"question {k}"}]


def call(llms: list[Any], k: int) -> None:
    if k % 4 == 3:
        llms[3].embed(f"text {k}")
    elif k % 8 == 0:
        list(llms[0](question(k), max_tokens=20, stream=True))
    else:
        llms[k % 4](question(k), max_tokens=20)


async def acall(llms: list[Any], k: int) -> None:
    if k % 4 == 3:
        await llms[3].aembed(f"text {k}")
    else:
        await llms[k % 4].acall(question(k), max_tokens=20)


def everybody(llms: list[Any]) -> list[Exception]:
    """Half the callers are threads, half are tasks of one loop, all begin at once; what they were refused with."""
    errors: list[Exception] = []
    gate = threading.Barrier(CALLERS // 2 + 1)

    def thread(k: int) -> None:
        gate.wait()
        try:
            call(llms, k)
        except LLMError as error:
            errors.append(error)

    async def tasks() -> None:
        gate.wait()
        told = await asyncio.gather(*(acall(llms, k) for k in range(CALLERS // 2)), return_exceptions=True)
        errors.extend(error for error in told if isinstance(error, Exception))

    threads = [threading.Thread(target=thread, args=(k,)) for k in range(CALLERS // 2)]
    for one in threads:
        one.start()
    asyncio.run(tasks())
    for one in threads:
        one.join()
    return errors


def replies(wire: Any) -> Callable[[int], Any]:
    """Every fifth request fails, in one of three ways; the others use 30 tokens."""
    fine = wire.say("fine", usage={"prompt_tokens": 20, "completion_tokens": 10}, data=[{"embedding": [1.0]}])
    faults = [wire.fail(429), wire.fail(503), wire.hang_up]
    return lambda k: faults[k // 5 % 3] if k % 5 == 0 else fine


@pytest.mark.parametrize("limits", [{"calls": 37}, {"tokens": 4000}, {"money": 0.02}, {"calls": 90, "money": 0.03}])
def test_not_one_call_too_many(server: Any, wire: Any, limits: dict[str, Any]) -> None:
    reply = replies(wire)
    server.script = [reply(k) for k in range(1, 600)]
    budget = Budget(**limits, prices=PRICES)
    llms: list[LLM] = models(budget, server.url)
    errors: list[Exception] = []
    for _ in range(6):
        errors += everybody(llms)
        spent = budget.spent
        assert len(server.requests) == spent.calls
        assert all(getattr(budget._counted, name) <= limit + 1e-9 for name, limit in limits.items())
    assert any(isinstance(error, BudgetExceeded) for error in errors), "the limit was reached"
    held = budget._held
    assert (held.calls, held.tokens) == (0, 0) and abs(held.money) < 1e-9
    if "calls" in limits and len(limits) == 1:
        assert spent.calls == limits["calls"], "and what the limit leaves is used"
