"""Answers on disk: shared by processes, whole after a kill, bounded, never written into a foreign file."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import LoadError
from opto.llm import CachedLLM, Choice, Message, Response, ScriptedLLM, SQLiteStore, Usage
from opto.llm.wrappers import response_codec as codec

ASK = [{"role": "user", "content": "hi"}]
texts = st.text(st.characters(exclude_categories=()))
counts = st.none() | st.integers(0, 10**9)
responses = st.builds(
    Response,
    st.lists(st.builds(Choice, st.builds(Message, texts, texts), st.none() | texts), min_size=1, max_size=3).map(tuple),
    st.builds(Usage, counts, counts),
    st.none() | texts,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    made = SQLiteStore(tmp_path / "deep" / "answers.db")
    yield made
    made.close()


@settings(deadline=None)
@given(responses)
def test_every_response_comes_back(response: Response) -> None:
    assert codec.load(codec.dump(response)) == response


def test_an_answer_outlives_the_process_that_paid(store: SQLiteStore) -> None:
    response = Response.of("ü\ud800\0 🎉", usage=Usage(3, None), model="m")
    store.put("k", response)
    code = """
import sys
from opto.llm import SQLiteStore
store = SQLiteStore(sys.argv[1])
print(ascii(store.get("k").text), len(store))
store.close()
"""
    done = subprocess.run([sys.executable, "-c", code, str(store.path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{response.text!a} 1"
    assert store.get("k") == response and store.get("other") is None


def test_it_serves_the_cache_sync_and_async(store: SQLiteStore) -> None:
    llm = CachedLLM(ScriptedLLM(["paid"]), store)
    assert llm(ASK).text == asyncio.run(llm.acall(ASK)).text == "paid"
    again = CachedLLM(ScriptedLLM([]), SQLiteStore(store.path))
    assert again(ASK).text == "paid" and again.stats.hits == 1
    again.store.close()  # type: ignore[attr-defined]


def test_an_answer_is_on_disk_before_it_is_used(store: SQLiteStore) -> None:
    other = SQLiteStore(store.path)
    llm = CachedLLM(ScriptedLLM(["paid"]), store)
    llm(ASK)
    assert len(other) == 1
    other.close()


def test_the_first_of_two_answers_stays(store: SQLiteStore) -> None:
    store.put("k", Response.of("first"))
    store.put("k", Response.of("second"))
    kept = store.get("k")
    assert kept is not None and kept.text == "first" and len(store) == 1


def test_the_oldest_leave_first_by_number_and_by_size(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db", size=3)
    for k in range(7):
        store.put(str(k), Response.of("x"))
    assert [k for k in range(7) if store.get(str(k))] == [4, 5, 6]
    store.close()
    store = SQLiteStore(tmp_path / "b.db", max_bytes=2000)
    for k in range(9):
        store.put(str(k), Response.of("x" * 500))
    assert [k for k in range(9) if store.get(str(k))] == [6, 7, 8]
    store.put("huge", Response.of("x" * 10_000))
    assert store.get("huge") is not None and len(store) == 1
    store.close()


def test_copies_and_pickles_share_the_file(store: SQLiteStore) -> None:
    store.put("k", Response.of("x"))
    for twin in (pickle.loads(pickle.dumps(store)), copy.deepcopy(store)):
        assert twin.get("k") == Response.of("x")
        twin.close()


def test_threads_share_it(store: SQLiteStore) -> None:
    def work(k: int) -> None:
        for i in range(20):
            store.put(f"{k}-{i}", Response.of(str(i)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store) == 80


WORK = """
import sys
from opto.llm import Response, SQLiteStore
store = SQLiteStore(sys.argv[1])
for k in range(25):
    store.put(f"{sys.argv[2]}-{k}", Response.of(str(k)))
    assert store.get(f"{sys.argv[2]}-{k}") is not None
store.close()
"""


def test_processes_that_begin_at_once_share_it(store: SQLiteStore) -> None:
    crew = [subprocess.Popen([sys.executable, "-c", WORK, str(store.path), str(k)]) for k in range(3)]
    assert [process.wait(60) for process in crew] == [0, 0, 0]
    assert len(store) == 75


KILLED = """
import sys
from opto.llm import Response, SQLiteStore
store = SQLiteStore(sys.argv[1])
for k in range(10**6):
    store.put(str(k), Response.of("x" * 20_000))
    print(k, flush=True)
"""


def test_a_kill_in_mid_write_loses_nothing_that_was_kept(store: SQLiteStore) -> None:
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(store.path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        last = -1
        for line in process.stdout:
            last = int(line)
            if last % 17 == 16:
                break
        process.kill()
        process.communicate()
        assert all(store.get(str(k)) == Response.of("x" * 20_000) for k in range(last + 1))
    with closing(sqlite3.connect(store.path)) as other:
        sums = other.execute("SELECT count(*), sum(length(response)) FROM answers").fetchone()
    assert store._open().execute("SELECT answers, bytes FROM totals").fetchone() == sums
    assert store._open().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_foreign_a_newer_and_a_damaged_file_are_left_alone(tmp_path: Path, store: SQLiteStore) -> None:
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    before = foreign.read_bytes()
    with pytest.raises(LoadError, match="another program"):
        SQLiteStore(foreign).get("k")
    assert foreign.read_bytes() == before
    store.put("k", Response.of("x"))
    store._open().execute("PRAGMA user_version = 99")
    with pytest.raises(LoadError, match="version 99"):
        SQLiteStore(store.path).get("k")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"no database at all" * 100)
    for use in (lambda: SQLiteStore(damaged).get("k"), lambda: SQLiteStore(damaged).put("k", Response.of("x"))):
        with pytest.raises(LoadError, match="cannot be used"):
            use()


def test_what_cannot_be_kept_is_still_given(store: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        store.put("k", "no response")  # type: ignore[arg-type]
        store._open().execute("INSERT INTO answers (key, response) VALUES ('broken', '{}')")
        assert store.get("broken") is None
        store._open().execute("PRAGMA query_only = 1")
        assert CachedLLM(ScriptedLLM(["paid"]), store)(ASK).text == "paid"
    assert [record.message.split(" (")[0].split(" in /")[0] for record in caplog.records] == [
        "an answer is not kept: it has not the shape of a Response",
        f"{store.path} holds an answer that cannot be read",
        "an answer is not kept",
    ]


def test_a_stream_is_kept_when_it_has_ended(store: SQLiteStore) -> None:
    llm: Any = CachedLLM(ScriptedLLM(["left", "read"]), store)
    llm(ASK, stream=True).close()
    assert len(store) == 0, "what was not read to its end is not an answer"
    assert [chunk.text for chunk in llm(ASK, stream=True)] == ["read"] and len(store) == 1
    assert llm(ASK).text == "read" and [chunk.text for chunk in llm(ASK, stream=True)] == ["read"]
    assert (llm.stats.hits, llm.stats.misses) == (2, 2)
    text = CachedLLM(ScriptedLLM(["x", "y"]))(ASK, stream=True, own={1})
    assert [chunk.text for chunk in text] == ["x"], "a request without a key still streams"  # type: ignore[attr-defined]


def test_durable_waits_for_the_disk(tmp_path: Path) -> None:
    store: Any = SQLiteStore(tmp_path / "a.db", durable=True)
    assert store._open().execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._open().execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_opens_the_file_anew(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "answers.db")) as store:
        store.put("a", Response.of("parent"))
        child = os.fork()
        if child == 0:
            held = store._held[0]
            store.put("b", Response.of("child"))
            os._exit(0 if store.get("a") == Response.of("parent") and store._held[0] is not held else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.get("b") == Response.of("child")
