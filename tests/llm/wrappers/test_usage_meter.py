"""Costs are counted for what was paid; what a server does not tell stays unknown."""

from __future__ import annotations

import asyncio
import pickle
import time
from typing import Any

import pytest

from opto.cost import Cost
from opto.errors import LLMServerError
from opto.events import listen
from opto.llm import Answered, CachedLLM, Effect, Metered, Response, ScriptedLLM, Stream, Usage

ASK = [{"role": "user", "content": "hi"}]


def test_sums_and_events() -> None:
    ticks = iter([0.0, 2.0, 10.0, 13.0, 20.0])
    seen: list[Any] = []
    llm = Metered(
        ScriptedLLM([Response.of("a", usage=Usage(5, 2)), Response.of("b"), LLMServerError("busy")]),
        lambda: next(ticks),
    )
    with listen(seen.append):
        llm(ASK)
        asyncio.run(llm.acall(ASK))
    assert llm.spent == Cost(calls=2, prompt_sum=5, completion_sum=2, uncounted=1, seconds=5.0, unpriced=2)
    assert seen == [Answered("scripted", 5, 2, 2.0), Answered("scripted", None, None, 3.0)]
    with pytest.raises(LLMServerError):
        llm(ASK)
    assert llm.spent.calls == 2


@pytest.mark.parametrize("end", ["breaks", "is left", "is dropped"])
def test_a_stream_that_does_not_end_was_paid_all_the_same(end: str) -> None:
    def broken() -> Any:
        raise LLMServerError("gone")
        yield

    nothing = Effect(lambda: None, lambda: asyncio.sleep(0))

    class Streaming(ScriptedLLM):
        def __call__(self, messages: Any, **options: Any) -> Any:
            return Stream(broken, nothing)

    llm = Metered(Streaming([]), lambda: 0.0, {"m": (1, 1)})
    seen: list[Any] = []
    with listen(seen.append):
        stream: Any = llm(ASK, stream=True, model="m")
        if end == "breaks":
            with pytest.raises(LLMServerError):
                list(stream)
        elif end == "is left":
            stream.close()
        del stream
        for _ in range(1000):  # a dropped stream is closed in another thread
            if llm.spent.calls:
                break
            time.sleep(0.01)
    assert llm.spent == Cost(calls=1, uncounted=1, unpriced=1) and llm.spent.money is None
    assert seen == [Answered("m", None, None, 0.0)]


def test_what_the_cache_answers_costs_nothing_and_sums_travel() -> None:
    paid = Metered(ScriptedLLM(["a"]))
    llm = CachedLLM(paid)
    assert llm(ASK).text == llm(ASK).text and paid.spent.calls == 1
    assert pickle.loads(pickle.dumps(paid)).spent == paid.spent
