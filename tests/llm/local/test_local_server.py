"""The server process: started once, shared, watched, ended; and the real one, on small weights."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opto.errors import LLMConfigError, LLMServerError, LLMTimeoutError, MissingExtraError
from opto.llm import (
    Budget,
    CachedLLM,
    Limited,
    LocalLLM,
    Metered,
    ModelProfile,
    RecordLLM,
    ReplayLLM,
    Retry,
    SQLiteStore,
    Timeout,
    identity_of,
)
from opto.llm.local import close_servers
from opto.llm.local import local_llm as model_module
from opto.llm.local import server_process as process
from opto.llm.local.server_process import LocalServer, ServerConfig, server_for, usable_cores
from opto.llm.resolve import default_llm

ASK = [{"role": "user", "content": "hi"}]
# A server process in the small: checks the key, echoes a begun message before continuing it, dies on request.
FAKE = """
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
key = os.environ["OPTO_LOCAL_SERVER_KEY"]
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            return self.send({"tokens": body["content"].split()})
        assert self.headers["Authorization"] == "Bearer " + key
        last = body["messages"][-1]
        if last["content"] == "die" and not os.path.exists(sys.argv[1] + ".died"):
            open(sys.argv[1] + ".died", "w").close()
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        if last["content"] == "die always":
            os._exit(3)
        if body.get("stream"):
            return self.stream()
        begun = last["content"] if last["role"] == "assistant" else ""
        n = body.get("n", 1)
        choices = [{"message": {"content": begun + "one two s%s" % body.get("seed")}} for _ in range(n)]
        usage = {"prompt_tokens": 5, "completion_tokens": 3}
        self.send({"choices": choices, "model": str(os.getpid()), "usage": usage})
    def send(self, data):
        data = json.dumps(data).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers()
        self.wfile.write(data)
    def stream(self):
        self.send_response(200); self.send_header("Content-Type", "text/event-stream"); self.end_headers()
        for text, end in (("one", None), (" two", "stop")):
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": end}
            self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\\n\\n")
        self.wfile.write(b"data: [DONE]\\n\\n")
    def log_message(self, *args): pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("http://127.0.0.1:%d" % server.server_address[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF")
    return path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def command(config: ServerConfig) -> list[str]:
        return [sys.executable, "-c", FAKE, str(config.model)]

    monkeypatch.setattr(model_module, "server_for", lambda config: server_for(config, command))
    monkeypatch.setattr(model_module, "require_extra", lambda: None)
    yield
    close_servers()


def script(text: str) -> Any:
    return lambda config: [sys.executable, "-c", text]


@pytest.mark.usefixtures("fake")
def test_one_process_serves_all_models_with_equal_settings(weights: Path) -> None:
    first, second, other = LocalLLM(weights), LocalLLM(str(weights)), LocalLLM(weights, context=512)
    assert first(ASK).model == second(ASK).model == pickle.loads(pickle.dumps(first))(ASK).model
    assert other(ASK).model != first(ASK).model
    assert first.start().startswith("http://127.0.0.1:")
    assert identity_of(first) == identity_of(second)


@pytest.mark.usefixtures("fake")
def test_threads_that_call_first_together_start_one_process(weights: Path) -> None:
    models: list[str | None] = []
    threads = [threading.Thread(target=lambda: models.append(LocalLLM(weights)(ASK).model)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 6 and len(set(models)) == 1


@pytest.mark.usefixtures("fake")
async def test_the_async_twin_starts_it_too(weights: Path) -> None:
    assert (await LocalLLM(weights).acall(ASK)).text == "one two sNone"


@pytest.mark.usefixtures("fake")
def test_a_begun_reply_is_continued_and_not_repeated(weights: Path) -> None:
    assert LocalLLM(weights)([*ASK, {"role": "assistant", "content": "```python\n"}]).text == "one two sNone"


@pytest.mark.usefixtures("fake")
def test_more_answers_than_slots_are_drawn_in_portions(weights: Path) -> None:
    response = LocalLLM(weights, slots=2)(ASK, n=5, seed=10)
    assert [choice.message.content[-3:] for choice in response.choices] == ["s10", "s10", "s12", "s12", "s14"]
    assert response.usage.prompt_tokens == 15 and response.usage.completion_tokens == 15
    assert LocalLLM(weights)(ASK, n=3).usage.completion_tokens == 9


@pytest.mark.usefixtures("fake")
def test_a_server_that_dies_is_started_again_once(weights: Path) -> None:
    llm = LocalLLM(weights)
    before = llm(ASK).model
    response = llm([{"role": "user", "content": "die"}])
    assert response.text and response.model != before
    with pytest.raises(LLMServerError, match="died twice"):
        llm([{"role": "user", "content": "die always"}])


def test_a_server_that_cannot_load_says_its_last_words(weights: Path) -> None:
    config = ServerConfig(weights, 1, 512, 1)
    broken = script("import sys; print('loading', file=sys.stderr); sys.exit('no room for the model')")
    with pytest.raises(LLMServerError, match=r"no room for the model.*check that the file"):
        LocalServer(config, broken)
    with pytest.raises(LLMTimeoutError, match=r"within 0\.05 s"):
        LocalServer(ServerConfig(weights, 1, 512, 1, start_limit=0.05), script("import sys; sys.stdin.read()"))


def test_a_server_that_hears_nothing_is_killed(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = script("import threading; print('http://x', flush=True); threading.Event().wait()")
    server = LocalServer(ServerConfig(weights, 1, 512, 1), deaf)
    waited = server._process.wait
    monkeypatch.setattr(server._process, "wait", lambda timeout=None: waited(0.01 if timeout else None))
    assert server.alive
    server.stop()
    assert not server.alive


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_the_server_ends_when_its_parent_is_killed(weights: Path) -> None:
    parent = f"""
import sys, threading
from pathlib import Path
from opto.llm.local.server_process import usable_cores
from opto.llm.local.server_process import LocalServer, ServerConfig
config = ServerConfig(Path({str(weights)!r}), 1, 512, 1)
server = LocalServer(config, lambda c: [sys.executable, "-c", {FAKE!r}, str(c.model)])
print(server._process.pid, flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        child = int(running.stdout.readline())
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    for _ in range(1000):
        if not _running(child):
            return
        threading.Event().wait(0.01)
    pytest.fail("the server outlived its parent")


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except (OSError, IndexError):
        return False


def test_without_the_extra_one_sentence_shows_both_ways_out(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        default_llm({})
    assert "OPENAI_API_KEY" in str(caught.value) and "pip install 'opto-trace[local]'" in str(caught.value)
    with pytest.raises(MissingExtraError) as caught:
        LocalLLM(weights)(ASK)  # whoever asks for this model gets no other by setting a key
    assert "OPENAI_API_KEY" not in str(caught.value) and "pip install 'opto-trace[local]'" in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("6400000 1", None), ("1 0", None)],
)
def test_a_container_gets_the_threads_of_its_quota(tmp_path: Path, limit: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path / "cpu.max") == (cores or usable_cores(tmp_path / "none"))


def test_the_profile_asks_nothing_of_the_network() -> None:
    assert LocalLLM(context=4096).profile == ModelProfile("qwen2.5-coder-1.5b-instruct", "prefill", 4096, small=True)


@pytest.mark.server
@pytest.mark.skipif(os.environ.get("OPTO_TEST_LOCAL_SERVER") != "1", reason="set OPTO_TEST_LOCAL_SERVER=1 to run it")
@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="needs the extra 'local'")
def test_the_real_server_on_small_weights(tmp_path: Path) -> None:
    llm = LocalLLM("smollm2-135m-instruct", context=2048, slots=2)
    schema = {"type": "object", "properties": {"part": {"enum": ["alpha", "beta"]}}, "required": ["part"]}
    shaped = llm(
        messages=[{"role": "user", "content": "Which part?"}],
        max_tokens=40,
        response_format={"type": "json_schema", "json_schema": {"name": "choice", "schema": schema}},
    )
    assert json.loads(shaped.text)["part"] in ("alpha", "beta")
    assert shaped.usage.prompt_tokens and shaped.usage.completion_tokens
    begun = [{"role": "user", "content": "Count to ten"}, {"role": "assistant", "content": "1 2 3"}]
    drawn = llm(begun, max_tokens=6, n=3, temperature=1.0, seed=1)
    assert len(drawn.choices) == 3 and not drawn.text.startswith("1 2 3")
    budget = Budget(calls=2, money=0.0)
    paid = Metered(Timeout(Retry(llm), 300))
    guarded = CachedLLM(
        RecordLLM(budget.wrap(Limited(paid, 2)), tmp_path / "run.jsonl"), SQLiteStore(tmp_path / "a.db")
    )
    short: dict[str, Any] = {"max_tokens": 5, "temperature": 0}
    said = [guarded(ASK, **short).text, asyncio.run(guarded.acall(ASK, **short)).text]
    assert said[0] == said[1] == ReplayLLM(tmp_path / "run.jsonl")(ASK, **short).text
    assert budget.spent.calls == paid.spent.calls == 1 and paid.spent.money == budget.spent.money == 0.0
    stream: Any = llm(ASK, **short, stream=True)
    pieces = [chunk.text for chunk in stream]
    assert "".join(pieces) == said[0] == "".join(asyncio.run(_aread(llm, ASK, **short))) and len(pieces) > 2
    assert stream.whole.usage.completion_tokens == 5 and stream.whole.choices[0].finish_reason == "length"
    assert "".join(asyncio.run(_aread(llm, begun, max_tokens=6))) == llm(begun, max_tokens=6, temperature=0).text
    for _ in range(4):  # more than its slots: one that is left must be free again
        with llm([{"role": "user", "content": "Tell a long story"}], stream=True) as story:  # type: ignore[attr-defined]
            assert next(story)
    assert llm(ASK, **short).text == said[0]
    with pytest.raises(LLMTimeoutError):
        Timeout(llm, 0.001)([{"role": "user", "content": "Tell a long story"}], max_tokens=200)
    guarded.store.close()  # type: ignore[attr-defined]
    close_servers()


async def _aread(llm: Any, messages: Any, **options: Any) -> list[str]:
    return [chunk.text async for chunk in await llm.acall(messages, stream=True, **options)]


@pytest.mark.usefixtures("fake")
def test_it_streams_and_a_server_that_dies_first_is_started_again(weights: Path) -> None:
    llm: Any = LocalLLM(weights)
    assert [chunk.text for chunk in llm(ASK, stream=True)] == ["one", " two"] == asyncio.run(_aread(llm, ASK))
    assert [chunk.text for chunk in llm([{"role": "user", "content": "die"}], stream=True)] == ["one", " two"]
    with pytest.raises(LLMConfigError, match="one answer at a time"):
        llm(ASK, stream=True, n=2)
