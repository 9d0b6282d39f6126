"""A forked child waits for nothing that only threads of its parent could end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from opto.llm import Budget, CachedLLM, DummyLLM, Limited, OpenAICompatible, Response, SQLiteStore
from opto.llm.wrappers import json_lines as tapes

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ASK = [{"role": "user", "content": "hi"}]


def in_child(succeeds: Callable[[], object]) -> bool:
    """Whether `succeeds` says so in a forked child, within ten seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        with suppress(BaseException):
            os._exit(0 if succeeds() else 1)
        os._exit(2)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("kind", ["transport", "store", "cache", "slots", "budget"])
def test_a_lock_that_a_thread_holds_is_free_in_the_child(server: Any, tmp_path: Path, kind: str) -> None:
    transport, store = OpenAICompatible(server.url, "m"), SQLiteStore(tmp_path / "answers.db")
    limited, budget = Limited(transport, 1), Budget(calls=9)
    cached = CachedLLM(budget.wrap(limited), store)
    with {
        "transport": transport._clients._lock,
        "store": store._lock,
        "cache": cached._lock,
        "slots": limited.slots._lock,
        "budget": budget._lock,
    }[kind]:
        assert in_child(lambda: cached(ASK).text == "hello")
    assert cached(ASK).text == "hello" and len(server.requests) == 1
    store.close()


def test_a_child_neither_waits_for_calls_of_its_parent_nor_holds_what_they_hold() -> None:
    parent, begun, ended = os.getpid(), threading.Event(), threading.Event()

    def answer(messages: Any) -> str:
        if os.getpid() == parent:
            begun.set()
            ended.wait(30)
        return "own"

    budget = Budget(calls=2)
    llm = CachedLLM(budget.wrap(Limited(DummyLLM(answer), 1)))
    thread = threading.Thread(target=llm, args=(ASK,))
    thread.start()
    begun.wait(30)
    try:
        assert in_child(lambda: budget.left["calls"] == 2 and llm(ASK).text == "own")
        assert budget.left["calls"] == 1
    finally:
        ended.set()
        thread.join()


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_a_child_does_not_keep_a_recording_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    path, (end, release), children = tmp_path / "run.jsonl", os.pipe(), list[int]()

    def fork(file: Any) -> None:
        child = os.fork()
        if child == 0:
            os.close(release)
            os.read(end, 1)
            os._exit(0)
        children.append(child)

    monkeypatch.setattr(tapes, "_cut_torn_line", fork)
    tapes.append(path, [{}])
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(release)
    os.waitpid(children[0], 0)
    os.close(end)


def test_copies_begin_anew_in_a_child_too() -> None:
    import copy

    one = CachedLLM(DummyLLM(lambda messages: "a"))
    two = copy.deepcopy(one)
    with two._lock:
        assert in_child(lambda: two(ASK).text == "a")
    assert one(ASK) == two(ASK) == Response.of("a")
