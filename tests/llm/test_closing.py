"""What is held is given back: by close, by leaving a block, by a loop that ends or a task that is dropped."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from opto.llm import (
    Budget,
    CachedLLM,
    Fallback,
    Limited,
    OpenAICompatible,
    Response,
    Retry,
    ScriptedLLM,
    SQLiteStore,
    Stream,
)
from opto.llm.wrappers.estimates import Bound

ASK = [{"role": "user", "content": "hi"}]


def test_leaving_a_block_closes_all_that_is_inside_and_the_next_call_opens_it_again(
    server: Any, tmp_path: Path
) -> None:
    transport, store = OpenAICompatible(server.url, "m"), SQLiteStore(tmp_path / "a.db")
    with CachedLLM(Fallback([Retry(transport), ScriptedLLM([])]), store) as llm:
        llm(ASK)
        (client,) = transport._clients._blocking.values()
        assert store._held and not client.is_closed
    assert not store._held and client.is_closed
    assert llm(ASK, seed=1).text == "hello"
    llm.close()


async def test_leaving_an_async_block_closes_the_connections_of_the_loop(server: Any) -> None:
    transport = OpenAICompatible(server.url, "m")
    async with Retry(Budget(calls=9).wrap(transport)) as llm:
        await llm.acall(ASK)
        ((client, _),) = transport._clients._awaited.values()
        assert not client.is_closed
    assert client.is_closed
    assert (await llm.acall(ASK)).text == "hello"
    await llm.aclose()
    await llm.aclose()


def test_a_call_that_is_dropped_with_its_loop_holds_nothing() -> None:
    class Never:
        model_name = "never"

        async def acall(self, messages: Any, **options: Any) -> Response:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

        __call__ = acall

    budget = Budget(calls=3)
    llm = Limited(CachedLLM(budget.wrap(Never())), 1)  # type: ignore[arg-type]
    call = llm.acall(ASK)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_begin(call))
    loop.close()
    call.close()
    gc.collect()
    assert llm.slots._free == 1 and budget._held == Bound() and budget.spent.calls == 1


def test_a_stream_in_garbage_waits_for_no_lock_of_the_thread_that_collects_it() -> None:
    llm = Limited(ScriptedLLM(["a", "b"]), 1)

    def collect() -> None:
        cycle: list[Any] = [llm(ASK, stream=True)]
        cycle.append(cycle)
        with llm.slots._lock:  # as if a collection began in the midst of the lines that hold it
            del cycle
            gc.collect()
        llm(ASK, stream=True)  # waits for the slot of the first

    thread = threading.Thread(target=collect, daemon=True)
    gc.disable()
    try:
        thread.start()
        thread.join(20)
    finally:
        gc.enable()
    assert not thread.is_alive()


async def _begin(call: Any) -> None:
    """Run `call` until it waits, as a task whose loop is then stopped would."""
    call.send(None)


def test_a_watcher_that_fails_does_not_keep_the_next_from_its_turn() -> None:
    def full(whole: Response) -> None:
        raise OSError("disk full")

    seen: list[str] = []
    stream = Stream.of(Response.of("a")).when_done(full).when_done(lambda whole: seen.append(whole.text))
    with pytest.raises(OSError, match="disk full"):
        list(stream)
    assert seen == ["a"]
