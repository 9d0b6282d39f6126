"""Limits in number, pace and time; what answers when one model fails."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import LLMAuthError, LLMConfigError, LLMRateLimitError, LLMServerError, LLMTimeoutError
from opto.events import listen
from opto.llm import (
    Budget,
    Clock,
    Fallback,
    FellBack,
    Limited,
    OpenAICompatible,
    Pace,
    Paced,
    Price,
    Response,
    ScriptedLLM,
    Slots,
    Timeout,
    Usage,
    profile_of,
)

ASK = [{"role": "user", "content": "hi"}]


class Gate:
    """A model that answers when told, and knows how many calls it had at once."""

    model_name = "gate"

    def __init__(self) -> None:
        self.open, self.now, self.most = threading.Event(), 0, 0
        self.lock = threading.Lock()

    def _count(self, step: int) -> None:
        with self.lock:
            self.now += step
            self.most = max(self.most, self.now)

    def __call__(self, messages: Any, **options: Any) -> Response:
        self._count(1)
        self.open.wait(30)
        self._count(-1)
        return Response.of("x")

    async def acall(self, messages: Any, **options: Any) -> Response:
        self._count(1)
        try:
            while not self.open.is_set():
                await asyncio.sleep(0)
        finally:
            self._count(-1)
        return Response.of("x")


# Slots


def test_threads_and_tasks_share_the_slots() -> None:
    gate = Gate()
    slots = Slots(3)
    one, two = Limited(gate, slots), Limited(gate, slots)
    threads = [threading.Thread(target=one, args=(ASK,)) for _ in range(5)]
    for thread in threads:
        thread.start()

    async def work() -> None:
        tasks = [asyncio.ensure_future(two.acall(ASK)) for _ in range(5)]
        while len(slots._line) < 7:
            await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)

    asyncio.run(work())
    for thread in threads:
        thread.join()
    assert gate.most == 3 and slots._free == 3 and not slots._holders


async def test_waiting_calls_that_are_cancelled_lose_no_slot() -> None:
    gate = Gate()
    llm = Limited(gate, 1)
    tasks = [asyncio.ensure_future(llm.acall(ASK)) for _ in range(4)]
    while not gate.now or len(llm.slots._line) < 3:
        await asyncio.sleep(0)
    tasks[1].cancel()
    gate.open.set()
    tasks[0].cancel()
    tasks[2].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[3], Response) and gate.most == 1 and llm.slots._free == 1


def test_errors_give_the_slot_back() -> None:
    llm = Limited(ScriptedLLM([LLMServerError("x"), "fine"]), 1)
    with pytest.raises(LLMServerError):
        llm(ASK)
    assert llm(ASK).text == "fine"


async def test_a_blocking_call_that_would_stop_its_own_loop_is_refused() -> None:
    gate = Gate()
    llm = Limited(gate, 1)
    task = asyncio.ensure_future(llm.acall(ASK))
    while not gate.now:
        await asyncio.sleep(0)
    with pytest.raises(LLMConfigError, match="await acall"):
        llm(ASK)
    gate.open.set()
    assert (await task).text == "x" and llm.slots._free == 1


def test_a_stream_holds_its_slot_until_it_ends() -> None:
    llm = Limited(ScriptedLLM(["abc"] * 3), 1)
    stream: Any = llm(ASK, stream=True)
    assert llm.slots._free == 0
    assert [chunk.text for chunk in stream] == ["abc"] and llm.slots._free == 1
    del stream
    llm(ASK, stream=True)
    assert llm(ASK).text == "abc", "a stream that nobody reads gives its slot back when it is dropped"


def test_copies_share_slots_and_pace() -> None:
    llm = Paced(Limited(ScriptedLLM([]), 2), Pace(requests=5))
    for twin in (copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
        assert twin.pace is llm.pace and twin.llm.slots is llm.llm.slots
    data = pickle.dumps((Slots(7), Pace(tokens=9)))
    slots, pace = pickle.loads(data)
    assert slots.count == slots._free == 7 and pace.tokens == 9


@pytest.mark.parametrize(
    "make",
    [
        lambda: Slots(0),
        lambda: Pace(requests=0),
        lambda: Pace(tokens=-1),
        lambda: Timeout(ScriptedLLM([]), 0),
        lambda: Fallback([]),
    ],
)
def test_senseless_settings_are_refused(make: Any) -> None:
    with pytest.raises(LLMConfigError):
        make()


# Pace


class Time:
    def __init__(self) -> None:
        self.t, self.waits = 0.0, list[float]()
        self.clock = Clock(lambda: self.t, self.wait, self.wait_later)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.t += seconds

    async def wait_later(self, seconds: float) -> None:
        self.wait(seconds)


@settings(deadline=None)
@given(
    gaps=st.lists(st.floats(0, 40), min_size=1, max_size=40),
    requests=st.integers(1, 6),
    tokens=st.integers(50, 300),
    sizes=st.lists(st.integers(0, 120), min_size=40, max_size=40),
)
def test_no_window_holds_more_than_allowed_and_nobody_waits_for_nothing(
    gaps: list[float], requests: int, tokens: int, sizes: list[int]
) -> None:
    time = Time()
    pace = Pace(requests=requests, tokens=tokens, clock=time.clock)
    went: list[tuple[float, int]] = []
    for gap, size in zip(gaps, sizes, strict=False):
        time.t += gap
        before = time.t
        _, wait = pace.turn(size)
        at = before + wait
        assert wait >= 0 and (not went or at >= went[-1][0] - 1e-6)
        went.append((at, size))
        window = [s for t, s in went if t > at - 60 + 1e-6]
        assert len(window) <= requests and (sum(window) <= tokens or len(window) == 1)
        if wait > 1e-6 and at > went[-2][0] + 1e-6:
            fuller = [s for t, s in went if t > at - 60 - 1e-3]
            assert len(fuller) > requests or sum(fuller) > tokens, "a moment earlier would have been too much"


def test_calls_wait_for_their_turn_sync_and_async() -> None:
    time = Time()
    llm = Paced(ScriptedLLM(["x"] * 9), Pace(requests=2, clock=time.clock))
    for _ in range(5):
        llm(ASK)
    assert time.waits == [60.0, 60.0]
    asyncio.run(llm.acall(ASK))
    asyncio.run(llm.acall(ASK))
    assert time.waits == [60.0, 60.0, 60.0]


def test_the_tokens_told_replace_the_guess() -> None:
    time = Time()
    replies = [Response.of("x", usage=Usage(10, 10))] * 3
    llm = Paced(ScriptedLLM(replies), Pace(tokens=1000, clock=time.clock))
    for _ in range(3):
        llm(ASK, max_tokens=600)  # two guesses of 621 would not fit
    assert not time.waits and llm.pace._sum == 60


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    time = Time()
    llm = Paced(ScriptedLLM(["x"] * 2), Pace(tokens=100, clock=time.clock))
    llm(ASK, max_tokens=5000), llm(ASK, max_tokens=5000)
    assert time.waits == [60.0]


def test_all_wait_when_the_server_says_how_long() -> None:
    time = Time()
    llm = Paced(ScriptedLLM([LLMRateLimitError("x", 7.5), "fine"]), Pace(requests=100, clock=time.clock))
    with pytest.raises(LLMRateLimitError):
        llm(ASK)
    assert llm(ASK).text == "fine" and time.waits == [7.5]


# Timeout


def test_a_transport_is_told_the_limit(server: Any) -> None:
    server.script = [server.stall]
    llm = Timeout(OpenAICompatible(server.url, "m", timeout=1000), 0.3)
    with pytest.raises(LLMTimeoutError, match=r"0\.3 s"):
        llm(ASK)
    with pytest.raises(LLMTimeoutError, match=r"0\.2 s"):
        asyncio.run(llm.acall(ASK, timeout=0.2))


def test_any_other_model_is_left_behind() -> None:
    gate = Gate()
    llm = Timeout(gate, 0.01)
    with pytest.raises(LLMTimeoutError):
        llm(ASK)
    with pytest.raises(LLMTimeoutError):
        asyncio.run(llm.acall(ASK))
    gate.open.set()
    assert Timeout(gate, 30)(ASK).text == asyncio.run(Timeout(gate, 30).acall(ASK)).text == "x"


async def test_cancelling_the_caller_cancels_the_call() -> None:
    gate = Gate()
    task = asyncio.ensure_future(Timeout(gate, 30).acall(ASK))
    while not gate.now:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert gate.now == 0


def test_the_model_s_own_errors_and_listeners_pass_through() -> None:
    for error in (TimeoutError("own"), LLMServerError("own")):
        for call in (lambda llm: llm(ASK), lambda llm: asyncio.run(llm.acall(ASK))):
            with pytest.raises(type(error), match="own"):
                call(Timeout(ScriptedLLM([error]), 30))
    budget = Budget(calls=2)
    with pytest.raises(LLMServerError):
        budget.wrap(Timeout(Fallback([ScriptedLLM([LLMServerError("x")] * 2)] * 2), 30))(ASK)
    assert budget.spent.calls == 2, "events reach the caller's budget from the thread"


def test_streams_are_bounded_by_the_transport_or_refused(server: Any) -> None:
    with pytest.raises(LLMConfigError, match="stream"):
        Timeout(ScriptedLLM(["x"]), 30)(ASK, stream=True)
    stream: Any = Timeout(OpenAICompatible(server.url, "m"), 30)(ASK, stream=True)
    stream.close()


# Fallback


def test_the_next_model_answers_after_chosen_errors_only() -> None:
    seen: list[Any] = []
    error = LLMServerError("down")
    llm = Fallback([ScriptedLLM([error] * 2), ScriptedLLM(["b"] * 2)])
    with listen(seen.append):
        assert llm(ASK).text == asyncio.run(llm.acall(ASK)).text == "b"
    assert seen == [FellBack("scripted", "scripted", error)] * 2
    with pytest.raises(LLMAuthError):
        Fallback([ScriptedLLM([LLMAuthError("x")]), ScriptedLLM(["never"])])(ASK)
    assert Fallback([ScriptedLLM([LLMAuthError("x")]), ScriptedLLM(["b"])], (LLMAuthError,))(ASK).text == "b"


def test_the_last_error_is_raised() -> None:
    with pytest.raises(LLMServerError, match="second"):
        Fallback([ScriptedLLM([LLMServerError("first")]), ScriptedLLM([LLMServerError("second")])])(ASK)


def test_it_speaks_for_all_its_models() -> None:
    llm = Fallback(
        [OpenAICompatible("http://127.0.0.1/v1", "gpt-4o"), OpenAICompatible("http://127.0.0.1/v1", "gpt-4")]
    )
    assert profile_of(llm).name == "gpt-4o" and profile_of(llm).context_tokens == 8000
    assert "gpt-4o" in llm.identity and " else " in llm.identity and llm.price is None


def test_the_dearest_price_counts() -> None:
    class Priced(ScriptedLLM):
        def __init__(self, price: Price) -> None:
            super().__init__([])
            self.price = price

    assert Fallback([Priced(Price(1, 5)), Priced(Price(2, 3))]).price == Price(2, 5)
