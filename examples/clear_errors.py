"""What goes wrong on a user's machine, and the one sentence that each mishap is answered with.

Needs no model, no network and no key: what is missing is hidden from the import system, servers that misbehave
run in this process. `python examples/clear_errors.py`
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

from opto.errors import OptoError
from opto.llm import OpenAICompatible, default_llm
from opto.llm.local import DEFAULT_MODEL, KNOWN_MODELS, Sources, find_weights
from opto.trace import node

KEY = "sk-a-key-that-nobody-may-read"
QUESTION = [{"role": "user", "content": "Hello?"}]

Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int, body: object, **headers: str) -> Answer:
    """A server that always says the same."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return respond


@contextlib.contextmanager
def serving(respond: Answer) -> Iterator[str]:
    """The base URL of a real server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            respond(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def nobody() -> str:
    """An address on loopback where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def absent(package: str) -> contextlib.AbstractContextManager[object]:
    """Python's own way to make a package look uninstalled: None among the loaded modules."""
    return mock.patch.dict(sys.modules, {package: None})


def without_graphviz() -> str:
    """Nothing fails here: our own picture takes the place of graphviz', and the log says so."""
    said: list[str] = []
    log = logging.getLogger("opto.trace.pictures")
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    log.propagate = False
    try:
        with absent("graphviz"):
            y = node(2, trainable=True) + 1
            assert "<svg" in y.backward("too small", visualize=True)._repr_svg_()
    finally:
        log.removeHandler(handler)
        log.propagate = True
    return said[0]


def without_the_local_extra() -> str:
    """No key, no server, and nothing that could run a model here."""
    with absent("xllamacpp"):
        return complaint(lambda: default_llm({}))


def without_network() -> str:
    """The local model's weights are not here yet, and neither the hub nor a package index can be reached."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"OPTO_CACHE_DIR": folder, "HF_ENDPOINT": nobody(), "NO_PROXY": "127.0.0.1"}
        settings |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        with mock.patch.dict(os.environ, settings):
            return complaint(lambda: find_weights(KNOWN_MODELS[DEFAULT_MODEL], Sources.of(os.environ)))


def asking(respond: Answer, timeout: float = 10.0) -> Callable[[], str]:
    def ask() -> str:
        with serving(respond) as url:
            llm = OpenAICompatible(url, "some-model", api_key=KEY, timeout=timeout)
            return complaint(lambda: llm(QUESTION))

    return ask


def hanging() -> str:
    released = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        released.wait(30)

    try:
        return asking(stall, timeout=0.2)()
    finally:
        released.set()


def nobody_there() -> str:
    return complaint(lambda: OpenAICompatible(f"{nobody()}/v1", "some-model")(QUESTION))


def complaint(action: Callable[[], object]) -> str:
    """What a user reads at the bottom of the traceback."""
    try:
        action()
    except OptoError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("this should have failed")


def refusal(message: str) -> dict[str, object]:
    return {"error": {"message": message}}


MISHAPS: dict[str, Callable[[], str]] = {
    "without graphviz": without_graphviz,
    "without the extra 'local'": without_the_local_extra,
    "without network": without_network,
    "nobody listens": nobody_there,
    "a wrong key": asking(answer(401, refusal(f"Incorrect API key provided: {KEY}"))),
    "429, with Retry-After": asking(answer(429, refusal("Rate limit reached"), Retry_After="7")),
    "429, without": asking(answer(429, refusal("Rate limit reached"))),
    "500": asking(answer(500, refusal("out of memory"))),
    "garbage": asking(answer(200, b"<html>Welcome to nginx!</html>")),
    "no choices": asking(answer(200, {"choices": []})),
    "no answer at all": hanging,
}


def main() -> None:
    for name, provoke in MISHAPS.items():
        print(f"{name}\n    {provoke()}\n")


if __name__ == "__main__":
    main()
