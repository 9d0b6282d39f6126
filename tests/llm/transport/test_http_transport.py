"""The transport against a server that misbehaves on purpose: each fault is one error with one clear sentence."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import pickle
import socket
import time
import warnings
from typing import Any

import httpx2
import pytest

from opto.errors import (
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
from opto.llm import EnvKey, ModelProfile, OpenAICompatible, Usage, Wire
from opto.llm.transport.failures import from_exception

ASK = [{"role": "user", "content": "hi"}]
KEY = "sk-very-secret-0123456789"


def both(llm: OpenAICompatible, **options: Any) -> LLMError:
    """The error of the sync call, after checking that the async twin raises the same."""
    with pytest.raises(LLMError) as sync:
        llm(ASK, **options)
    with pytest.raises(LLMError) as twin:
        asyncio.run(llm.acall(ASK, **options))
    assert type(sync.value) is type(twin.value)
    assert str(sync.value) == str(twin.value)
    message = str(sync.value)
    assert "\n" not in message and KEY not in message and KEY not in repr(sync.value.__cause__)
    return sync.value


def test_the_request_on_the_wire(server: Any) -> None:
    llm = OpenAICompatible(server.url, "gpt-x", api_key=KEY, defaults={"temperature": 0.1, "seed": 7})
    llm(ASK, temperature=0.9, stop=None, timeout=5)
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {"model": "gpt-x", "messages": ASK, "temperature": 0.9, "seed": 7}


def test_usage_and_several_choices_are_read(server: Any, wire: Any) -> None:
    server.script = [wire.say("a", "b")]
    response = OpenAICompatible(server.url, "m")(ASK, n=2)
    assert [choice.message.content for choice in response.choices] == ["a", "b"]
    assert response.usage == Usage(3, 2) and response.usage.total_tokens == 5 and response.model == "m"


def test_azure_has_its_own_path_query_and_header(server: Any) -> None:
    root = server.url.removesuffix("/v1")
    OpenAICompatible.azure(root + "/", "dep", api_version="2024-10-21", api_key=KEY)(ASK)
    OpenAICompatible.azure(root, "dep", api_version="2024-10-21", api_key=lambda: "token", bearer=True)(ASK)
    path, headers, _ = server.requests[0]
    assert path == "/openai/deployments/dep/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == KEY and "authorization" not in headers
    assert server.requests[1][1]["authorization"] == "Bearer token"


def test_newer_models_get_the_limit_under_their_name(server: Any) -> None:
    OpenAICompatible(server.url, "gpt-5-mini")(ASK, max_tokens=9)
    OpenAICompatible(server.url, "gpt-4o")(ASK, max_tokens=9)
    assert server.requests[0][2]["max_completion_tokens"] == 9 and "max_tokens" not in server.requests[0][2]
    assert server.requests[1][2]["max_tokens"] == 9


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, LLMRequestError),
        (401, LLMAuthError),
        (403, LLMAuthError),
        (404, LLMRequestError),
        (408, LLMTimeoutError),
        (422, LLMRequestError),
        (429, LLMRateLimitError),
        (500, LLMServerError),
        (503, LLMServerError),
    ],
)
def test_each_status_is_one_kind_of_error(server: Any, wire: Any, status: int, kind: type[LLMError]) -> None:
    server.script = [wire.fail(status, f"bad key {KEY}\nline two")]
    error = both(OpenAICompatible(server.url, "m", api_key=KEY))
    assert type(error) is kind
    assert f"{server.url}/chat/completions" in str(error) and str(status) in str(error)
    assert "bad key *** line two" in str(error)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "1.5"}, 1.5),
        ({"retry_after_ms": "250", "Retry_After": "9"}, 0.25),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-3"}, None),
        ({"Retry_After": "nan"}, None),
    ],
)
def test_retry_after_is_understood(server: Any, wire: Any, headers: dict[str, str], wait: float | None) -> None:
    server.script = [wire.fail(429, **headers)]
    error = both(OpenAICompatible(server.url, "m"))
    assert isinstance(error, LLMRateLimitError) and error.retry_after == wait


def test_an_empty_account_is_no_rate_limit(server: Any, wire: Any) -> None:
    server.script = [wire.fail(429, code="insufficient_quota")]
    error = both(OpenAICompatible(server.url, "m"))
    assert type(error) is LLMRequestError and "credit" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"<html><body>Welcome</body></html>",
        b"\xff\xfe\x00",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b"[" * 100_000,
        json.dumps({"choices": []}).encode(),
        json.dumps({"choices": {"a": 1}}).encode(),
        json.dumps({"choices": [None]}).encode(),
        json.dumps({"choices": [{"text": "old protocol"}]}).encode(),
        json.dumps({"choices": [{"message": "hi"}]}).encode(),
        json.dumps({"choices": [{"message": {"content": 5}}]}).encode(),
        json.dumps({"choices": [{"message": {"content": [{"text": 5}]}}]}).encode(),
        json.dumps({"choices": [{"message": {"content": "cut"}}]}).encode()[:-4],
    ],
)
def test_garbage_is_called_garbage(server: Any, wire: Any, body: bytes) -> None:
    server.script = [wire.send(body)]
    error = both(OpenAICompatible(server.url, "m"))
    assert type(error) is LLMResponseError and "base URL" in str(error) and len(str(error)) < 400


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ("naïve ☃ \u2028 😀 \x00", "naïve ☃ \u2028 😀 \x00"),
        ([{"type": "text", "text": "a"}, "b"], "ab"),
    ],
)
def test_every_content_of_the_protocol_is_text(server: Any, wire: Any, content: Any, text: str) -> None:
    server.script = [wire.send(json.dumps({"choices": [{"message": {"content": content}}]}).encode())]
    assert OpenAICompatible(server.url, "m")(ASK).text == text


@pytest.mark.parametrize("usage", [None, 5, {}, {"prompt_tokens": "3"}, {"prompt_tokens": -1}, {"prompt_tokens": True}])
def test_senseless_usage_is_unknown_and_spoils_nothing(server: Any, wire: Any, usage: Any) -> None:
    server.script = [wire.say("ok", usage=usage)]
    response = OpenAICompatible(server.url, "m")(ASK)
    assert response.text == "ok" and response.usage == Usage(None, None) and response.usage.total_tokens is None


def test_ten_megabytes_are_read_and_more_than_the_limit_is_refused(server: Any, wire: Any) -> None:
    server.script = [wire.say("x" * 10_000_000)]
    assert len(OpenAICompatible(server.url, "m")(ASK).text) == 10_000_000
    error = both(OpenAICompatible(server.url, "m", wire=Wire(max_reply_bytes=1_000_000)))
    assert type(error) is LLMResponseError and "1000000" in str(error)


def test_a_hang_up_in_mid_body_is_a_broken_connection(server: Any, wire: Any) -> None:
    server.script = [wire.hang_up]
    assert type(both(OpenAICompatible(server.url, "m"))) is LLMConnectionError


def test_silence_is_a_timeout(server: Any) -> None:
    server.script = [server.stall]
    error = both(OpenAICompatible(server.url, "m", timeout=0.3))
    assert type(error) is LLMTimeoutError and "0.3 s" in str(error)
    assert type(both(OpenAICompatible(server.url, "m"), timeout=0.2)) is LLMTimeoutError


def test_a_drip_cannot_outlast_the_total_time(server: Any, wire: Any) -> None:
    ticks = iter(range(0, 10_000, 5))  # seconds, with every wait
    server.script = [wire.say("x" * 2_000_000)]
    llm = OpenAICompatible(server.url, "m", timeout=60, wire=Wire(clock=lambda: float(next(ticks))))
    assert type(both(llm)) is LLMTimeoutError


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("piece", [b"", b"2\r\n: \r\n"])
def test_a_stall_after_the_head_lasts_what_is_left_of_the_call(server: Any, stream: bool, piece: bytes) -> None:
    now = [0.0]

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Content-Type", "text/event-stream")
        now[0] += 29.98
        handler.end_headers()
        handler.wfile.write(piece)
        server.stall(handler)

    server.script = [answer]
    llm = OpenAICompatible(server.url, "m", timeout=30, wire=Wire(clock=lambda: now[0]))
    begin = time.monotonic()
    with pytest.raises(LLMTimeoutError):
        list(llm(ASK, stream=stream))  # type: ignore[call-overload]

    async def later() -> None:
        answer: Any = await llm.acall(ASK, stream=stream)
        async for _ in answer:
            pass

    with pytest.raises(LLMTimeoutError):
        asyncio.run(later())
    assert time.monotonic() - begin < 20


def test_nobody_listening_is_said_with_the_address() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    error = both(OpenAICompatible(f"http://me:{KEY}@127.0.0.1:{port}/v1?key={KEY}", "m", api_key=KEY))
    assert type(error) is LLMConnectionError and f"Nobody answers at http://127.0.0.1:{port}/v1" in str(error)


def test_a_redirect_is_not_followed_with_the_key(server: Any, wire: Any) -> None:
    server.script = [wire.send(b"", 307, Location="https://elsewhere.example/v1?k=1")]
    error = both(OpenAICompatible(server.url, "m", api_key=KEY))
    assert type(error) is LLMRequestError and "https://elsewhere.example/v1 " in str(error)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [200, 201])
def test_a_reply_under_any_status_of_success_is_one(server: Any, wire: Any, status: int) -> None:
    server.script = [wire.send(json.dumps(wire.completion("hello")).encode(), status, Content_Type="application/json")]
    llm = OpenAICompatible(server.url, "m")
    assert llm(ASK).text == next(llm(ASK, stream=True)).text == "hello"  # type: ignore[call-overload]


def test_what_kept_a_connection_from_being_made_is_told_in_the_words_of_who_knows() -> None:
    unknown = "nodename nor servname provided, or not known"  # by number 8, which is another's

    def failed(reason: BaseException) -> str:
        error = httpx2.ConnectError("All connection attempts failed")
        error.__cause__ = reason
        return str(from_exception(error, "http://h/v1", 1))

    assert unknown in failed(socket.gaierror(8, unknown))
    assert os.strerror(errno.ECONNREFUSED) in failed(OSError(errno.ECONNREFUSED, "Connect call failed ('::1', 1)"))

    class Group(Exception):
        exceptions = (OSError(errno.ENETUNREACH, "no way"), OSError(errno.ECONNREFUSED, "no"))

    assert os.strerror(errno.ECONNREFUSED) in failed(Group())


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/v1", "http://", "http://[bad", "http://h:99999999/v1"])
def test_a_senseless_base_url_is_said(url: str) -> None:
    error = both(OpenAICompatible(url, "m", api_key=KEY))
    assert "base URL" in str(error)


def test_a_key_that_no_header_carries_is_not_quoted() -> None:
    for key in (KEY + "\nx", KEY + "ü"):
        error = both(OpenAICompatible("http://127.0.0.1:9/v1", "m", api_key=key))
        assert type(error) is LLMConfigError


def test_a_key_in_the_environment_stays_there(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = OpenAICompatible(server.url, "m", api_key=EnvKey(("A_KEY", "B_KEY"), " for m"))
    with pytest.raises(LLMConfigError, match="No API key for m: set A_KEY or B_KEY"):
        llm(ASK)
    monkeypatch.setenv("B_KEY", KEY)
    llm(ASK)
    assert server.requests[0][1]["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in pickle.dumps(llm) and KEY not in repr(llm)


def test_the_key_shows_in_no_repr() -> None:
    assert KEY not in repr(OpenAICompatible(f"http://me:{KEY}@h/v1?k={KEY}", "m", api_key=KEY))
    assert KEY not in OpenAICompatible(f"http://me:{KEY}@h/v1?k={KEY}", "m", api_key=KEY).identity


@pytest.mark.parametrize("messages", ["hi", {"role": "user"}, [3], [["a"]], [{"role": "user", "content": {1, 2}}]])
def test_a_request_that_is_no_request_is_refused_before_it_is_sent(server: Any, messages: Any) -> None:
    with pytest.raises(LLMRequestError):
        OpenAICompatible(server.url, "m")(messages)
    assert not server.requests


def test_connections_are_kept_and_closed(server: Any) -> None:
    llm = OpenAICompatible(server.url, "m")
    assert llm(ASK).text == llm(ASK).text == "hello"
    llm.close()
    assert llm(ASK).text == "hello"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(server: Any) -> None:
    llm = OpenAICompatible(server.url, "m")
    llm(ASK)
    child = os.fork()
    if child == 0:
        os._exit(0 if llm(ASK).text == "hello" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert llm(ASK).text == "hello"


def test_embeddings(server: Any, wire: Any) -> None:
    server.script = [wire.send(b'{"data": [{"embedding": [1, 0.5]}]}')]
    llm = OpenAICompatible(server.url, "e")
    assert llm.embed("text") == asyncio.run(llm.aembed("text")) == (1.0, 0.5)
    assert server.requests[0][0] == "/v1/embeddings" and server.requests[0][2] == {"model": "e", "input": "text"}
    for body in (b"{}", b'{"data": []}', b'{"data": [{"embedding": ["a"]}]}', b'{"data": [{"embedding": []}]}'):
        server.script = [wire.send(body)]
        with pytest.raises(LLMResponseError):
            llm.embed("text")


def test_the_profile_is_the_users_or_known_or_careful() -> None:
    own = ModelProfile("x", "prefill", 100, small=True)
    assert OpenAICompatible("http://h/v1", "m", profile=own).profile is own
    assert OpenAICompatible("http://h/v1", "gpt-4o-mini").profile.reply == "json_schema"
    assert OpenAICompatible("http://h/v1", "mine").profile == ModelProfile("mine", "json_object", 8192)


def test_a_model_dropped_as_its_loop_ends_closes_all_its_connections(server: Any) -> None:
    async def work() -> None:
        llm = OpenAICompatible(server.url, "m")
        await asyncio.gather(*(llm.acall(ASK) for _ in range(8)))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(work())
        gc.collect()
    assert not [str(warning.message) for warning in caught]
