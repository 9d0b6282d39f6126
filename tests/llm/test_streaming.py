"""Streams: the same chunks blocking and awaited, however they are cut; broken ones are errors."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opto.errors import (
    LLMConnectionError,
    LLMError,
    LLMRateLimitError,
    LLMResponseError,
    LLMServerError,
    LLMTimeoutError,
)
from opto.llm import (
    Budget,
    CachedLLM,
    DummyLLM,
    Fallback,
    Limited,
    Metered,
    OpenAICompatible,
    Pace,
    Paced,
    RecordLLM,
    Response,
    Retry,
    RetryPolicy,
    ScriptedLLM,
    SQLiteStore,
    Stream,
    Timeout,
    Usage,
    Wire,
)

ASK = [{"role": "user", "content": "hi"}]


def event(text: str | None = None, index: int = 0, **extra: Any) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": extra.pop("end", None)}
    choices = [] if text is None else [choice]
    return b"data: " + json.dumps({"choices": choices, "model": "m", **extra}).encode() + b"\n\n"


GOOD = [
    b": hello\n\n",
    event("żó"),
    event("łw 🐢"),
    event("!", end="stop"),
    event(usage={"prompt_tokens": 3, "completion_tokens": 2}),
    b"data: [DONE]\n\n",
]


def streamed(*pieces: bytes, kind: str = "text/event-stream", cut: bool = False) -> Any:
    def behave(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            handler.wfile.flush()
        if cut:
            handler.close_connection = True
        else:
            handler.wfile.write(b"0\r\n\r\n")

    return behave


def wait_for(condition: Callable[[], bool]) -> None:
    """A dropped stream is closed in another thread."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)


def read(llm: Any) -> tuple[list[str], Response]:
    stream = llm(ASK, stream=True)
    return [chunk.text for chunk in stream], stream.whole


async def aread(llm: Any) -> tuple[list[str], Response]:
    stream = await llm.acall(ASK, stream=True)
    return [chunk.text async for chunk in stream], stream.whole


WRAPPERS = {
    "bare": lambda llm: llm,
    "retry": lambda llm: Retry(llm, RetryPolicy(now=lambda seconds: None)),
    "fallback": lambda llm: Fallback([llm]),
    "paced": lambda llm: Paced(llm, Pace(requests=100)),
    "metered": Metered,
    "budget": lambda llm: Budget(calls=100, tokens=10**6).wrap(llm),
    "limited": lambda llm: Limited(llm, 1),
    "timeout": lambda llm: Timeout(llm, 30),
    "stack": lambda llm: Retry(Fallback([Budget(calls=100).wrap(Limited(Metered(Timeout(llm, 30)), 1))])),
}


@pytest.fixture(params=sorted({*WRAPPERS, "cache", "cache on disk", "record"}))
def wrap(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    store = SQLiteStore(tmp_path / "answers.db")
    on_disk = {
        "cache": CachedLLM,
        "cache on disk": lambda llm: CachedLLM(llm, store),
        "record": lambda llm: RecordLLM(llm, tmp_path / "run.jsonl"),
    }
    yield {**WRAPPERS, **on_disk}[request.param]
    store.close()


def test_chunks_arrive_through_wrappers_sync_and_async(server: Any, wrap: Any) -> None:
    server.script = [streamed(*GOOD)]
    llm = wrap(OpenAICompatible(server.url, "m"))
    one, two = read(llm), asyncio.run(aread(llm))
    assert one[0] == ["żó", "łw 🐢", "!", ""] and one[1] == two[1]
    if isinstance(llm, CachedLLM):
        assert two[0] == ["żółw 🐢!"] and len(server.requests) == 1
    else:
        assert two[0] == one[0] and len(server.requests) == 2
    assert one[1] == Response.of("żółw 🐢!", usage=Usage(3, 2), model="m")
    assert server.requests[0][2]["stream"] is True
    assert server.requests[0][2]["stream_options"] == {"include_usage": True}
    if isinstance(llm, Metered):
        assert llm.spent.calls == 2 and llm.spent.prompt_tokens == 6


def test_a_stream_outlives_the_model_it_came_from(server: Any) -> None:
    server.script = [streamed(*GOOD)]

    async def later() -> list[str]:
        stream: Any = await OpenAICompatible(server.url, "m").acall(ASK, stream=True)
        gc.collect()
        await asyncio.sleep(0)
        return [chunk.text async for chunk in stream]

    stream: Any = OpenAICompatible(server.url, "m")(ASK, stream=True)
    gc.collect()
    assert [chunk.text for chunk in stream] == asyncio.run(later()) == ["żó", "łw 🐢", "!", ""]


def test_several_answers_are_kept_apart(server: Any) -> None:
    server.script = [
        streamed(event("a"), event("x", 1), event("b"), event("y", 1, end="length"), event("", end="stop"))
    ]
    _, whole = read(OpenAICompatible(server.url, "m"))
    assert [choice.message.content for choice in whole.choices] == ["ab", "xy"]
    assert [choice.finish_reason for choice in whole.choices] == ["stop", "length"]


def test_the_connection_serves_the_next_call(server: Any, wire: Any) -> None:
    server.script = [streamed(*GOOD), wire.say("whole")]
    llm = OpenAICompatible(server.url, "m")
    read(llm)
    assert llm(ASK).text == "whole"


def test_a_server_that_does_not_stream_gives_one_chunk(server: Any, wire: Any) -> None:
    body = json.dumps(wire.completion("whole")).encode()
    server.script = [wire.send(body, Content_Type="application/json")]
    assert read(OpenAICompatible(server.url, "m"))[0] == ["whole"]


@pytest.mark.parametrize(
    ("pieces", "cut", "kind", "before"),
    [
        ([event("a")], False, LLMResponseError, ["a"]),
        ([event("a")], True, LLMConnectionError, ["a"]),
        ([event("a"), b"data: {no json\n\n"], False, LLMResponseError, []),
        ([event("a"), b'data: {"choices": 3}\n\n'], False, LLMResponseError, []),
        ([b'data: {"choices": [3]}\n\n'], False, LLMResponseError, []),
        ([b'data: {"choices": [{"delta": {"content": 3}}]}\n\n'], False, LLMResponseError, []),
        ([b'data: {"error": {"message": "overloaded"}}\n\n'], False, LLMServerError, []),
        ([b"<html>"], False, LLMResponseError, []),
        ([], False, LLMResponseError, []),
    ],
)
def test_a_broken_stream_is_an_error_where_it_breaks(
    server: Any, wrap: Any, pieces: list[bytes], cut: bool, kind: type[LLMError], before: list[str]
) -> None:
    server.script = [*[streamed(*pieces, cut=cut)] * 2, streamed(*GOOD)]
    llm = wrap(OpenAICompatible(server.url, "m"))
    got: list[str] = []
    with pytest.raises(kind):
        for chunk in llm(ASK, stream=True):  # type: ignore[attr-defined]
            got.append(chunk.text)
    with pytest.raises(kind):
        asyncio.run(aread(llm))
    assert got[: len(before)] == before
    assert "".join(read(llm)[0]) == "żółw 🐢!", "nothing is held, nothing is kept of what broke"


def test_an_error_before_the_first_chunk_is_raised_by_the_call_and_can_be_retried(server: Any, wire: Any) -> None:
    server.script = [wire.fail(429), wire.fail(503), streamed(*GOOD)]
    llm = OpenAICompatible(server.url, "m")
    with pytest.raises(LLMRateLimitError):
        llm(ASK, stream=True)
    assert "".join(read(Retry(llm, RetryPolicy(now=lambda seconds: None)))[0]) == "żółw 🐢!"


def test_limits_of_size_and_time_hold(server: Any) -> None:
    server.script = [streamed(*[event("x" * 1000)] * 50)]
    with pytest.raises(LLMResponseError, match="bytes"):
        read(OpenAICompatible(server.url, "m", wire=Wire(max_reply_bytes=10_000)))
    ticks = iter(range(10**6))
    slow = Wire(clock=lambda: 10.0 * next(ticks))
    with pytest.raises(LLMTimeoutError):
        read(OpenAICompatible(server.url, "m", wire=slow, timeout=5))


def test_a_stream_may_be_left(server: Any) -> None:
    server.script = [streamed(*GOOD)]
    failures: list[BaseException] = []
    llm = OpenAICompatible(server.url, "m")
    with llm(ASK, stream=True).when_done(lambda whole: None, failures.append) as stream:  # type: ignore[attr-defined]
        assert next(stream).text == "żó"

    async def leave() -> None:
        async with await llm.acall(ASK, stream=True) as stream:  # type: ignore[attr-defined]
            stream.when_done(lambda whole: None, failures.append)
            assert (await anext(stream)).text == "żó"

    asyncio.run(leave())
    dropped: Any = llm(ASK, stream=True)
    dropped.when_done(lambda whole: None, failures.append)
    del dropped
    gc.collect()
    wait_for(lambda: len(failures) == 3)
    assert [type(failure) for failure in failures] == [LLMResponseError] * 3


def test_fakes_stream_too() -> None:
    assert read(ScriptedLLM(["abc"]))[0] == ["abc"]
    assert read(DummyLLM(lambda messages, stream: "abc"))[0] == ["abc"]
    assert next(Stream.of(Response.of("a", "b"))).choices[1].delta.content == "b"
