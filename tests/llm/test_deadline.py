"""No wait of a call outlasts it, whatever the server does meanwhile; a second passes with each wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import httpcore
import pytest

from opto.errors import LLMTimeoutError
from opto.llm import OpenAICompatible, Wire
from opto.llm.transport.call_deadline import Deadline

ASK = [{"role": "user", "content": "hi"}]


def both(llm: OpenAICompatible, messages: Any = ASK, **options: Any) -> None:
    """The call, blocking and awaited, ends in time: in real time, too."""
    begin = time.monotonic()
    with pytest.raises(LLMTimeoutError):
        list(llm(messages, **options))  # type: ignore[call-overload]

    async def later() -> None:
        answer: Any = await llm.acall(messages, **options)
        async for _ in answer:
            pass

    with pytest.raises(LLMTimeoutError):
        asyncio.run(later())
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("piece", [b"", b"2\r\n: \r\n"])
def test_a_stall_after_the_headers_or_a_piece_lasts_what_is_left(server: Any, stream: bool, piece: bytes) -> None:
    now = [0.0]

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        now[0] += 29.98
        handler.end_headers()
        handler.wfile.write(piece)
        server.stall(handler)

    server.script = [answer]
    both(OpenAICompatible(server.url, "m", timeout=30, wire=Wire(clock=lambda: now[0])), stream=stream)


def ticking(step: float = 1.0) -> Callable[[], float]:
    now = [0.0]

    def tick() -> float:
        now[0] += step
        return now[0]

    return tick


def test_no_number_of_interim_answers_prolongs_a_call(server: Any) -> None:
    def answer(handler: Any) -> None:
        for _ in range(100_000):
            handler.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")

    server.script = [answer]
    both(OpenAICompatible(server.url, "m", timeout=6, wire=Wire(clock=ticking())))


def test_a_server_that_reads_slowly_does_not_prolong_a_call(server: Any) -> None:
    llm = OpenAICompatible(server.url, "m", timeout=20, wire=Wire(clock=ticking()))
    with pytest.raises(LLMTimeoutError):
        llm([{"role": "user", "content": "x" * 3_000_000}])
    assert not server.requests


def test_a_deadline_is_a_limit_of_each_wait_too_and_may_be_none() -> None:
    late = httpcore.ReadTimeout
    assert Deadline(10, lambda: 4.0).left(late) == 6
    assert Deadline(10, lambda: 4.0, longest=5).left(late) == 5
    assert Deadline(math.inf, lambda: 4.0).left(late) is None is Deadline(1e9, lambda: 4.0).left(late)
    for now in (10.0, 11.0):
        with pytest.raises(httpcore.ReadTimeout):
            Deadline(10, lambda now=now: now).left(late)  # type: ignore[misc]
