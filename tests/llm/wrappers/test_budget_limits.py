"""A budget holds over all models of a run, whatever fails, whoever calls at once, whatever is copied."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import (
    BudgetExceeded,
    LLMAuthError,
    LLMConfigError,
    LLMConnectionError,
    LLMError,
    LLMRateLimitError,
    LLMRequestError,
    LLMResponseError,
    LLMServerError,
    LLMTimeoutError,
)
from opto.llm import (
    LLM,
    Budget,
    CachedLLM,
    Fallback,
    LocalLLM,
    OpenAICompatible,
    Response,
    Retry,
    RetryPolicy,
    ScriptedLLM,
    Usage,
)
from opto.llm.wrappers.estimates import prompt_token_bound

ASK = [{"role": "user", "content": "hi"}]
QUICK = RetryPolicy(attempts=5, base=0.0, now=lambda seconds: None)


def replies(*usages: tuple[int, int]) -> ScriptedLLM:
    return ScriptedLLM([Response.of("x", usage=Usage(*usage)) for usage in usages])


# Calls, at once


def test_a_hundred_threads_send_not_one_call_too_many(server: Any) -> None:
    budget = Budget(calls=30)
    agent, judge = (budget.wrap(OpenAICompatible(server.url, name)) for name in ("agent", "judge"))
    refused: list[BudgetExceeded] = []

    def work(k: int) -> None:
        try:
            (agent if k % 2 else judge)(ASK)
        except BudgetExceeded as error:
            refused.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 30 == budget.spent.calls and len(refused) == 70
    assert all(error.name == "calls" and error.spent + error.held == 30 for error in refused)


async def test_a_hundred_tasks_send_not_one_call_too_many(server: Any) -> None:
    budget = Budget(calls=30)
    llm = budget.wrap(OpenAICompatible(server.url, "m"))
    results = await asyncio.gather(*(llm.acall(ASK) for _ in range(100)), return_exceptions=True)
    assert len(server.requests) == 30 and sum(isinstance(r, BudgetExceeded) for r in results) == 70
    assert all(isinstance(r, (Response, BudgetExceeded)) for r in results)


@pytest.mark.parametrize("limit", ["tokens", "money"])
async def test_a_hundred_tasks_stay_below_tokens_and_money(server: Any, wire: Any, limit: str) -> None:
    server.script = [wire.say("x", usage={"prompt_tokens": 50, "completion_tokens": 10})]
    budget = Budget(**{limit: 2000 if limit == "tokens" else 2000e-6}, prices={"m": (1, 1)})
    llm = budget.wrap(OpenAICompatible(server.url, "m"))
    while True:
        results = await asyncio.gather(*(llm.acall(ASK, max_tokens=10) for _ in range(100)), return_exceptions=True)
        if not any(isinstance(result, Response) for result in results):
            break
    paid = budget.spent
    assert paid.calls == len(server.requests) and paid.tokens == 60 * paid.calls <= 2000
    assert paid.tokens + prompt_token_bound(ASK, {}) + 10 > 2000, "it stops only when the next call could exceed"
    assert paid.money == pytest.approx(60e-6 * paid.calls)


def test_retries_and_fallbacks_inside_are_calls_too(server: Any, wire: Any) -> None:
    server.script = [wire.fail(503)]
    for make in (
        lambda llm: Retry(llm, QUICK),
        lambda llm: Fallback([llm] * 5),
        lambda llm: Fallback([Retry(llm, QUICK)]),
    ):
        server.requests.clear()
        with pytest.raises(BudgetExceeded):
            Budget(calls=3).wrap(make(OpenAICompatible(server.url, "m")))(ASK)
        assert len(server.requests) == 3
        with pytest.raises(BudgetExceeded):
            asyncio.run(Budget(calls=2).wrap(make(OpenAICompatible(server.url, "m"))).acall(ASK))
        assert len(server.requests) == 5


def test_what_a_cache_outside_answers_is_free() -> None:
    budget = Budget(calls=1)
    llm = CachedLLM(budget.wrap(ScriptedLLM(["once"])))
    assert [llm(ASK).text for _ in range(3)] == ["once"] * 3


def test_retry_outside_does_not_try_again() -> None:
    llm = Retry(Budget(calls=0).wrap(ScriptedLLM(["never"])), QUICK)
    with pytest.raises(BudgetExceeded):
        llm(ASK)


# What a call costs


def test_the_bound_is_set_aside_and_the_truth_is_settled() -> None:
    budget = Budget(tokens=1000)
    llm = budget.wrap(replies((20, 5), (30, 5)))
    llm(ASK, max_tokens=100)
    assert budget.spent.tokens == 25 and budget.left == {"calls": None, "tokens": 975, "money": None, "seconds": None}
    with pytest.raises(BudgetExceeded, match=r"1000 tokens .*: 25 spent, 0 under way, up to 1082 needed"):
        llm(ASK, max_tokens=1000)
    assert llm(ASK, max_tokens=100).text == "x" and budget.spent.tokens == 60


def test_what_was_paid_is_given_even_when_it_was_more_than_the_bound() -> None:
    budget = Budget(tokens=300)
    llm = budget.wrap(replies((500, 500)))
    assert llm(ASK, max_tokens=100).text == "x" and budget.spent.tokens == 1000
    with pytest.raises(BudgetExceeded):
        llm(ASK, max_tokens=1)


def test_a_call_without_max_tokens_may_fill_the_window() -> None:
    with pytest.raises(BudgetExceeded, match="8274 needed"):
        Budget(tokens=8000).wrap(replies((1, 1)))(ASK)
    inner = replies((1, 1))
    Budget(tokens=8000, reply_tokens=50).wrap(inner)(ASK)
    assert inner.calls[0]["max_tokens"] == 50
    inner = replies((1, 1))
    Budget(calls=8, reply_tokens=50).wrap(inner)(ASK)
    assert "max_tokens" not in inner.calls[0], "where tokens are not limited, requests are left alone"


def test_tokens_untold_are_counted_at_the_bound_and_marked_as_a_guess() -> None:
    budget = Budget(tokens=1000)
    budget.wrap(ScriptedLLM(["four and four"]))(ASK, max_tokens=100)
    assert budget.left["tokens"] == 1000 - 182 and budget.spent.tokens is None
    assert budget.spent.uncounted == 1 and budget.spent.completion_sum == 4


def test_a_tokenizer_of_one_s_own_counts_prompts() -> None:
    budget = Budget(tokens=11, count=lambda messages, options: 1)
    assert budget.wrap(replies((1, 2)))(ASK, max_tokens=10).text == "x"


def test_choices_are_paid_each() -> None:
    with pytest.raises(BudgetExceeded, match="up to 382 needed"):
        Budget(tokens=300).wrap(replies((1, 1)))(ASK, max_tokens=100, n=3)


def test_money_needs_a_price_and_a_local_model_is_free() -> None:
    inner = ScriptedLLM(["never"])
    with pytest.raises(LLMConfigError, match="price of 'scripted'"):
        Budget(money=1).wrap(inner)(ASK)
    assert not inner.calls
    budget = Budget(money=0.0)
    free = budget.wrap(Fallback([_Free(["x"])]))
    assert free(ASK).text == "x" and budget.spent.money == 0.0
    assert LocalLLM.price == _Free.price


class _Free(ScriptedLLM):
    price = LocalLLM.price


def test_an_unknown_price_makes_the_money_spent_unknown() -> None:
    budget = Budget(calls=5, prices={"m": (1, 1)})
    budget.wrap(replies((1, 1)))(ASK)
    assert budget.spent.money is None and budget.left["money"] is None


REFUSED = [LLMRateLimitError("x"), LLMAuthError("x"), LLMRequestError("x"), LLMServerError("x")]
UNCLEAR = [LLMTimeoutError("x"), LLMConnectionError("x"), LLMResponseError("x"), ZeroDivisionError()]


@pytest.mark.parametrize("error", REFUSED)
def test_a_refused_call_is_a_call_without_tokens(error: LLMError) -> None:
    budget = Budget(calls=9, tokens=1000, money=1, prices={"scripted": (1, 1)})
    with pytest.raises(type(error)):
        budget.wrap(ScriptedLLM([error]))(ASK, max_tokens=100)
    assert (budget.spent.calls, budget.spent.tokens, budget.spent.money) == (1, 0, 0.0)
    assert budget.left["calls"] == 8 and budget.left["tokens"] == 1000


@pytest.mark.parametrize("error", UNCLEAR)
def test_a_call_that_may_have_been_worked_on_stays_paid(error: Exception) -> None:
    budget = Budget(calls=9, tokens=1000, money=1, prices={"scripted": (1, 1)})
    with pytest.raises(type(error)):
        budget.wrap(ScriptedLLM([error]))(ASK, max_tokens=100)
    assert (budget.spent.calls, budget.left["tokens"], budget.spent.money) == (1, 1000 - 182, pytest.approx(182e-6))


def test_a_call_that_never_left_costs_nothing(free_port: int) -> None:
    budget = Budget(calls=1, tokens=1000)
    llm = budget.wrap(OpenAICompatible(f"http://127.0.0.1:{free_port}/v1", "m"))
    for _ in range(3):
        with pytest.raises(LLMConnectionError):
            llm(ASK, max_tokens=10)
    assert budget.spent.calls == 0 and budget.left["tokens"] == 1000


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_cancelled_call_stays_paid_and_holds_nothing() -> None:
    begun = asyncio.Event()

    class Slow:
        model_name = "slow"

        async def acall(self, messages: Any, **options: Any) -> Response:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        __call__ = acall

    budget = Budget(calls=2, tokens=1000)
    task = asyncio.ensure_future(budget.wrap(Slow()).acall(ASK, max_tokens=10))  # type: ignore[arg-type]
    await begun.wait()
    assert budget.left["calls"] == 1 and budget.spent.calls == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.spent.calls == 1 and budget._held.tokens == 0


def test_seconds_run_from_the_first_call() -> None:
    budget = Budget(seconds=10)
    now = 100.0
    budget.clock = lambda: now
    llm = budget.wrap(ScriptedLLM(["a", "b", "c"]))
    llm(ASK)
    now = 109.9
    llm(ASK)
    now = 110.0
    with pytest.raises(BudgetExceeded, match=r"10 seconds is used up: 10\.0 passed"):
        llm(ASK)
    assert budget.spent.seconds == 10.0 and budget.left["seconds"] == 0


@pytest.mark.parametrize("name", ["calls", "tokens", "money", "seconds"])
def test_senseless_limits_are_refused(name: str) -> None:
    for value in (-1, float("nan")):
        with pytest.raises(LLMConfigError, match=name):
            Budget(**{name: value})


# Streams


def test_a_stream_is_settled_at_its_end(server: Any) -> None:
    budget = Budget(tokens=1000)
    whole = Response.of("hello", usage=Usage(4, 2))
    llm = budget.wrap(ScriptedLLM([whole, whole]))
    stream: Any = llm(ASK, max_tokens=10, stream=True)
    assert budget.spent.calls == 0 and budget._held.tokens == 92
    assert [chunk.text for chunk in stream] == ["hello"]
    assert budget.spent.tokens == 6 and budget._held.tokens == 0
    with llm(ASK, max_tokens=10, stream=True):  # type: ignore[attr-defined]
        pass
    assert budget.left["tokens"] == 902 and budget._held.tokens == 0, "a stream that was left may have been paid"


# Copies, forecasts


def test_a_copy_is_the_same_budget() -> None:
    budget = Budget(calls=3)
    llm = budget.wrap(ScriptedLLM(["a"] * 9))
    for twin in (llm, copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
        assert twin.budget is budget
        twin(ASK)
    with pytest.raises(BudgetExceeded):
        llm(ASK)


def test_a_pickle_read_elsewhere_remembers_what_was_spent() -> None:
    budget = Budget(calls=2, tokens=5000)
    budget.wrap(replies((3, 4)))(ASK, max_tokens=5)
    data = pickle.dumps(budget)
    del budget
    later = pickle.loads(data)
    assert later.spent.calls == 1 and later.spent.tokens == 7 and later.spent.seconds > 0
    later.wrap(replies((3, 4)))(ASK, max_tokens=5)
    with pytest.raises(BudgetExceeded):
        later.wrap(replies((3, 4)))(ASK, max_tokens=5)


def test_the_error_travels_with_its_figures() -> None:
    error = pickle.loads(pickle.dumps(BudgetExceeded("money", 2.5, 2.4, 0.0, 0.2)))
    assert isinstance(error, LLMError) and error.needed == 0.2
    assert "2.5 dollars" in str(error) and "2.4 spent" in str(error) and "max_tokens" in str(error)


def test_a_dry_run_foretells_a_run() -> None:
    dry = Budget()
    agent = dry.wrap(ScriptedLLM(["w" * 400] * 4))
    for _ in range(4):
        agent([{"role": "user", "content": "w" * 4000}])
    budget = Budget(calls=100, money=0.01, tokens=10**6, seconds=10**6)
    forecast = budget.forecast(10, dry=dry.spent, model="gpt-4o-mini")
    assert forecast.calls == 40 and 40_000 < forecast.tokens < 48_000
    assert forecast.money == pytest.approx(4 * 10 * (1020 * 0.15 + 100 * 0.6) / 1e6, rel=0.01)
    assert forecast.fits and forecast.breaks == ()
    worse = budget.forecast(100, dry=dry.spent)
    assert worse.money is None and worse.breaks == ("calls", "money") and not worse.fits
    assert dry.forecast(2).calls == 8
    with pytest.raises(LLMConfigError, match="nobody"):
        budget.forecast(model="nobody's")


# Laws


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60), st.sampled_from(["ok", "refused", "unclear"]))))
def test_limits_hold_and_nothing_stays_held(calls: list[tuple[int, int, str]]) -> None:
    outcomes: dict[str, Callable[[tuple[int, int]], Any]] = {
        "ok": lambda usage: Response.of("x", usage=Usage(*usage)),
        "refused": lambda usage: LLMServerError("x"),
        "unclear": lambda usage: LLMTimeoutError("x"),
    }
    bound = prompt_token_bound(ASK, {})
    script = [outcomes[kind]((min(prompt, bound), reply)) for prompt, reply, kind in calls]
    budget = Budget(calls=7, tokens=900, money=0.002, prices={"scripted": (1, 3)})
    inner = ScriptedLLM(script)
    llm: LLM = budget.wrap(inner)
    for _ in calls:
        try:
            llm(ASK, max_tokens=60)
        except LLMError:
            pass
        spent = budget.spent
        assert spent.calls == len(inner.calls) <= 7
        assert budget._counted.tokens <= 900 and (spent.money or 0) <= 0.002 + 1e-9
        assert (budget._held.calls, budget._held.tokens) == (0, 0) and abs(budget._held.money) < 1e-12
