"""A chat server on loopback that refuses what real servers are known to refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ChatServer", "Refusal"]

Refusal = Callable[[dict[str, Any]], tuple[int, str] | None]
"""(body of a request) -> status and message, or None if the server takes the request."""


class ChatServer:
    """Answers every chat request that no refusal matches with `reply`, or with the lines of `stream`.

    `asked` holds (path, headers, body) of each request, `refused` the messages that the server gave for not answering.
    """

    def __init__(self) -> None:
        self.reply: Any = '{"suggestion": {"p0": "B"}}'
        self.message: dict[str, Any] = {}
        self.finish_reason: str | None = "stop"
        self.stream: list[str] = []
        self.refusals: list[Refusal] = []
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.refused: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, content, answer = outer._answer(self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Type", content)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.url = f"{self.origin}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str, bytes]:
        self.asked.append((path, {name.lower(): value for name, value in headers.items()}, body))
        if path != "/v1/chat/completions":
            return 404, "application/json", json.dumps({"error": {"message": f"Unknown path {path}"}}).encode()
        for refusal in self.refusals:
            found = refusal(body)
            if found is not None:
                self.refused.append(found[1])
                return found[0], "application/json", json.dumps({"error": {"message": found[1]}}).encode()
        if body.get("stream") and self.stream:
            return 200, "text/event-stream", "".join(f"{line}\n\n" for line in self.stream).encode()
        message = {"role": "assistant", "content": self.reply, **self.message}
        choices = [{"index": 0, "finish_reason": self.finish_reason, "message": message}]
        return 200, "application/json", json.dumps({"choices": choices, "model": "m"}).encode()

    def close(self) -> None:
        """Stop answering."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
