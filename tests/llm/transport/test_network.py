"""Proxies and certificates of the environment, with a real proxy and real TLS on loopback; bodies that are encoded."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import select
import socket
import ssl
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from opto.errors import LLMConfigError, LLMConnectionError, LLMError, LLMResponseError
from opto.llm import Budget, OpenAICompatible, Wire

ASK = [{"role": "user", "content": "hi"}]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def both(llm: OpenAICompatible, stream: bool = False) -> LLMError:
    """The error of the blocking call, which is that of the awaited one."""

    async def later() -> None:
        answer: Any = await llm.acall(ASK, stream=stream)
        async for _ in answer if stream else ():
            pass

    with pytest.raises(LLMError) as sync:
        list(llm(ASK, stream=stream))  # type: ignore[call-overload]
    with pytest.raises(LLMError) as twin:
        asyncio.run(later())
    assert type(sync.value) is type(twin.value) and str(sync.value) == str(twin.value)
    return sync.value


def answers(llm: OpenAICompatible) -> list[str]:
    """What the blocking and the awaited call say."""
    return [llm(ASK).text, asyncio.run(llm.acall(ASK)).text]


class Tunnel:
    """A proxy on loopback that opens tunnels, all of them to one address; `seen` holds what was asked of it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.seen: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                outer.seen.append((self.path, self.headers["Proxy-Authorization"]))
                with socket.create_connection(target) as far:
                    self.send_response(200)
                    self.end_headers()
                    ends = {self.connection: far, far: self.connection}
                    while True:
                        for end in select.select(list(ends), [], [])[0]:
                            data = end.recv(65536)
                            if not data:
                                return
                            ends[end].sendall(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate as a file."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def secure(server: Any, authority: trustme.CA) -> Any:
    """The server of the tests behind TLS, under the names of loopback and `llm.example`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "llm.example").configure_cert(context)
    server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
    server.url = server.url.replace("http://", "https://")
    return server


# Certificates


def test_the_authority_of_the_environment_is_trusted(
    secure: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert answers(OpenAICompatible(secure.url, "m")) == ["hello"] * 2


def test_an_unknown_authority_is_said_costs_nothing_and_gets_no_key(secure: Any) -> None:
    error = both(OpenAICompatible(secure.url, "m", api_key="k"))
    assert type(error) is LLMConnectionError and not error.sent
    assert "not trusted" in str(error) and "SSL_CERT_FILE" in str(error)
    assert not secure.requests


def test_another_host_name_is_said(secure: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    error = both(OpenAICompatible(secure.url.replace("127.0.0.1", "localhost"), "m"))
    assert "not trusted" in str(error) and "localhost" in str(error)


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for content in (None, "no certificate"):
        path = tmp_path / f"{content}.pem"
        if content:
            path.write_text(content)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        error = both(OpenAICompatible("https://example.invalid/v1", "m"))
        assert type(error) is LLMConfigError and "SSL_CERT_FILE" in str(error)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"])
def test_tls_that_breaks_is_a_broken_connection(
    secure: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes, stream: bool
) -> None:
    def answer(handler: Any) -> None:
        handler.wfile.write(begin)
        with socket.socket(fileno=os.dup(handler.connection.fileno())) as raw:
            raw.sendall(b"this is no TLS" * 9)

    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    secure.script = [answer]
    error = both(OpenAICompatible(secure.url, "m"), stream=stream)
    assert type(error) is LLMConnectionError and error.sent and "WRONG_VERSION" in str(error)


def test_a_server_without_tls_is_not_called_forbidden(server: Any) -> None:
    error = both(OpenAICompatible(server.url.replace("http://", "https://"), "m"))
    assert type(error) is LLMConnectionError and not error.sent
    assert "WRONG_VERSION_NUMBER" in str(error) and "begin with http://" in str(error)


# Proxies


def test_plain_requests_go_through_the_proxy_whole(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.replace("http://", "http://me:pass%20word@"))
    assert answers(OpenAICompatible("http://llm.example/v1", "m")) == ["hello"] * 2
    for path, headers, _ in server.requests:
        assert path == "http://llm.example/v1/chat/completions" and headers["host"] == "llm.example"
        assert headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


def test_secure_requests_go_through_a_tunnel_that_sees_no_key(
    secure: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnel = Tunnel(secure._http.server_address)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("https_proxy", f"me:pw@127.0.0.1:{tunnel.port}")  # small letters, no scheme
    try:
        with OpenAICompatible("https://llm.example/v1", "m", api_key="key") as llm:
            assert answers(llm) == ["hello"] * 2
    finally:
        tunnel.close()
    assert tunnel.seen == [("llm.example:443", "Basic bWU6cHc=")] * 2
    assert [headers["authorization"] for _, headers, _ in secure.requests] == ["Bearer key"] * 2
    assert not any("proxy-authorization" in headers for _, headers, _ in secure.requests)


@pytest.mark.parametrize("proxied", ["HTTP_PROXY", "ALL_PROXY"])
def test_this_machine_is_never_asked_through_a_proxy(
    server: Any, monkeypatch: pytest.MonkeyPatch, proxied: str
) -> None:
    monkeypatch.setenv(proxied, "http://127.0.0.1:9")
    assert answers(OpenAICompatible(server.url, "m")) == ["hello"] * 2


@pytest.mark.parametrize("named", ["llm.invalid", ".invalid", "invalid", "*", "other, llm.invalid"])
def test_a_host_in_no_proxy_is_asked_directly(server: Any, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("ALL_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", named)
    error = both(OpenAICompatible("http://llm.invalid/v1", "m"))
    assert "Nobody answers at http://llm.invalid/v1" in str(error) and "proxy" not in str(error)
    assert not server.requests


def test_a_proxy_that_cannot_be_used_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy, why in (("foo://me:hush@h:1", ""), ("socks5://me:hush@h:1", "socksio")):
        monkeypatch.setenv("ALL_PROXY", proxy)
        error = both(OpenAICompatible("http://example.invalid/v1", "m"))
        assert type(error) is LLMConfigError and "ALL_PROXY" in str(error) and why in str(error)
        assert "hush" not in str(error)


def test_a_proxy_that_nobody_runs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://me:hush@127.0.0.1:9")
    error = both(OpenAICompatible("http://llm.example/v1", "m"))
    assert "through the proxy http://127.0.0.1:9 " in str(error) and "hush" not in str(error)
    assert type(error) is LLMConnectionError and not error.sent


def test_a_proxy_that_refuses_costs_nothing(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url.removesuffix("/v1"))  # knows no CONNECT
    budget = Budget(calls=1)
    llm = budget.wrap(OpenAICompatible("https://example.invalid/v1", "m"))
    for _ in range(2):
        with pytest.raises(LLMConnectionError, match="HTTPS_PROXY"):
            llm(ASK)
    assert budget.spent.calls == 0


# Bodies that are encoded although nobody asked for it


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_an_encoded_reply_is_decoded(server: Any, wire: Any, encoding: str) -> None:
    body = json.dumps(wire.completion("grüße" * 50_000)).encode()
    packed = {"deflate": zlib.compress, "identity": bytes}.get(encoding, gzip.compress)(body)
    server.script = [wire.send(packed, Content_Encoding=encoding)]
    assert answers(OpenAICompatible(server.url, "m")) == ["grüße" * 50_000] * 2
    assert server.requests[0][1]["accept-encoding"] == "identity"


def test_an_encoded_stream_is_decoded(server: Any, wire: Any) -> None:
    event = {"choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}]}
    body = gzip.compress(f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode())
    server.script = [wire.send(body, Content_Encoding="gzip", Content_Type="text/event-stream")]
    assert "".join(chunk.text for chunk in OpenAICompatible(server.url, "m")(ASK, stream=True)) == "hello"


@pytest.mark.parametrize(("encoding", "body"), [("gzip", b"plain"), ("deflate", b"\0\1"), ("br", b"x"), ("a, b", b"")])
def test_an_encoding_that_cannot_be_read_is_said(server: Any, wire: Any, encoding: str, body: bytes) -> None:
    server.script = [wire.send(body, Content_Encoding=encoding)]
    assert type(both(OpenAICompatible(server.url, "m"))) is LLMResponseError


def test_a_bomb_is_refused_before_it_fills_the_memory(server: Any, wire: Any) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(500)) + packer.flush()
    assert len(bomb) < 600_000
    server.script = [wire.send(bomb, Content_Encoding="deflate")]
    error = both(OpenAICompatible(server.url, "m", wire=Wire(max_reply_bytes=2**20)))
    assert type(error) is LLMResponseError and "more than 1048576 bytes" in str(error)


def test_a_cut_encoded_reply_is_no_answer(server: Any, wire: Any) -> None:
    body = gzip.compress(json.dumps(wire.completion("hello")).encode())
    server.script = [wire.send(body[:-20], Content_Encoding="gzip")]
    assert type(both(OpenAICompatible(server.url, "m"))) is LLMResponseError
