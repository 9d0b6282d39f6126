"""A chat server on loopback that answers, or misbehaves, exactly as a test tells it."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Behaviour = Callable[[BaseHTTPRequestHandler], None]


def completion(*texts: str, **extra: Any) -> dict[str, Any]:
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        for i, text in enumerate(texts)
    ]
    return {"choices": choices, "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2}, **extra}


def send(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def say(*texts: str, **extra: Any) -> Behaviour:
    return send(json.dumps(completion(*texts, **extra)).encode())


def fail(status: int, message: str = "no", code: str | None = None, **headers: str) -> Behaviour:
    return send(json.dumps({"error": {"message": message, "code": code}}).encode(), status, **headers)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Promise a thousand bytes, send ten, go."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')
    handler.wfile.flush()
    handler.close_connection = True


class _Listener(ThreadingHTTPServer):
    request_queue_size = 256  # a hundred callers at once are all heard
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is part of the game."""


class Server:
    """`script` is used up in order, its last entry for ever; `requests` holds (path, headers, JSON body)."""

    def __init__(self) -> None:
        self.script: list[Behaviour] = [say("hello")]
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer._turn(self.path, dict(self.headers), json.loads(body))(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = _Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _turn(self, path: str, headers: dict[str, str], body: Any) -> Behaviour:
        with self._lock:
            self.requests.append((path, {k.lower(): v for k, v in headers.items()}, body))
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def stall(self, handler: BaseHTTPRequestHandler) -> None:
        """Say nothing until the test is over."""
        self.released.wait(30)

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def wire() -> Any:
    """The server's vocabulary, as a fixture because test modules do not import each other."""

    class Words:
        pass

    words = Words()
    words.__dict__.update(completion=completion, send=send, say=say, fail=fail, hang_up=hang_up)
    return words


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the keys of its machine, or on LiteLLM being installed there."""
    monkeypatch.setitem(sys.modules, "litellm", None)
    prefixes = ("OPENAI_", "AZURE_", "ANTHROPIC_", "TRACE_", "OAI_", "OPTO_LOCAL_MODEL", "HF_", "DEFAULT_LITELLM")
    for name in list(os.environ):
        if name.startswith(prefixes):
            monkeypatch.delenv(name)
