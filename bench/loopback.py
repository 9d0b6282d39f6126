"""A chat server in a process of its own, as fast as Python allows: what clients are measured and counted against.

`python bench/loopback.py` prints its port. POST …/chat/completions answers with `reply(request)`; GET …/count tells how
often each distinct request was answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections import Counter
from typing import Any
from urllib.request import ProxyHandler, build_opener

COUNTS: Counter[str] = Counter()


def reply(request: dict[str, Any]) -> str:
    """A guess that the prompt decides: its digest as a number, inside the JSON that optimizers ask for."""
    text = json.dumps(request["messages"])
    number = int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) % 1000
    return json.dumps({"reasoning": "a guess", "suggestion": {"x0": number}})


def answer(body: bytes) -> bytes:
    COUNTS[hashlib.sha256(body).hexdigest()] += 1
    message = {"role": "assistant", "content": reply(json.loads(body))}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    head = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    return json.dumps({**head, "choices": [choice], "usage": usage}).encode()


class Chat(asyncio.Protocol):
    """Just enough HTTP/1.1: requests with Content-Length, connections kept open."""

    def __init__(self) -> None:
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, _, rest = self.rest.partition(b"\r\n\r\n")
            lower = head.lower()
            length = int(lower.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            if len(rest) < length:
                return
            body, self.rest = rest[:length], rest[length:]
            said = answer(body) if head.startswith(b"POST") else json.dumps(sorted(COUNTS.values())).encode()
            begin = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            self.transport.write(begin + str(len(said)).encode() + b"\r\n\r\n" + said)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Chat, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Loopback:
    """The server as a context manager; `url` is its base URL."""

    def __enter__(self) -> Loopback:
        self.process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def counts(self) -> list[int]:
        """How often each distinct request was answered."""
        with build_opener(ProxyHandler({})).open(self.url + "/count") as response:
            counts: list[int] = json.load(response)
            return counts


if __name__ == "__main__":
    asyncio.run(serve())
