"""Answers kept on disk: one SQLite file that many processes share and that survives their death."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any
from weakref import finalize

from opto.errors import LoadError
from opto.llm.base import Response
from opto.llm.wrappers import response_codec as codec

__all__ = ["SQLiteStore"]

_log = logging.getLogger(__name__)
_APPLICATION = int.from_bytes(b"opto", "big")  # SQLite keeps it in the file's head: no foreign file is written to
_VERSION = 1
_SCHEMA = """
CREATE TABLE answers (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, response BLOB NOT NULL);
CREATE TABLE totals (answers INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0);
CREATE TRIGGER answer_kept AFTER INSERT ON answers BEGIN
  UPDATE totals SET answers = answers + 1, bytes = bytes + length(new.response); END;
CREATE TRIGGER answer_dropped AFTER DELETE ON answers BEGIN
  UPDATE totals SET answers = answers - 1, bytes = bytes - length(old.response); END;
"""
_abandoned: list[sqlite3.Connection] = []  # a parent's, held in a forked child: closing one there would free its locks


class SQLiteStore:
    """Keep answers in a file; threads and processes may share it. For `CachedLLM(llm, SQLiteStore(path))`.

    When `put` returns, the operating system has the answer: the death of this process, at whatever
    moment, loses none. `durable` also waits for the disk, against power cuts (about a millisecond an answer).
    At most `size` answers and `max_bytes` bytes are kept; the oldest leave first. Of two answers to one
    request, from two processes that asked at once, the first is kept. A damaged or foreign file is a LoadError;
    a disk that is full is a warning in the log, as the answer has been paid for.

    >>> import tempfile
    >>> from opto.llm import CachedLLM, ScriptedLLM
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = SQLiteStore(folder + "/answers.db")
    ...     text = CachedLLM(ScriptedLLM(["paid once"]), store)([{"role": "user", "content": "?"}]).text
    ...     again = CachedLLM(ScriptedLLM([]), store)([{"role": "user", "content": "?"}]).text
    ...     store.close()
    >>> text == again
    True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: int = 1_000_000,
        max_bytes: int = 4 * 2**30,
        durable: bool = False,
        patience: float = 30.0,
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        self.size, self.max_bytes = size, max_bytes
        self.durable, self.patience = durable, patience
        self._start()

    def get(self, key: str) -> Response | None:
        try:
            with self._lock:
                row = self._open().execute("SELECT response FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        try:
            return None if row is None else codec.load(row[0])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s holds an answer that cannot be read (%s): it is asked for again", self.path, error)
            return None

    def put(self, key: str, response: Response) -> None:
        try:
            data = codec.dump(response)
        except (AttributeError, TypeError, ValueError) as error:
            _log.warning("an answer is not kept: it has not the shape of a Response (%s)", error)
            return
        try:
            with self._lock:
                self._keep(self._open(), key, data)
        except sqlite3.OperationalError as error:
            _log.warning("an answer is not kept in %s (%s): make room, or make the file writable", self.path, error)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            _close(self._held)

    def __len__(self) -> int:
        with self._lock:
            return int(self._open().execute("SELECT answers FROM totals").fetchone()[0])

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        live = ("_held", "_lock")
        return {name: value for name, value in self.__dict__.items() if name not in live}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._held: list[sqlite3.Connection] = []
        self._process = os.getpid()
        finalize(self, _close, self._held)

    def _keep(self, connection: sqlite3.Connection, key: str, data: bytes) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("INSERT INTO answers (key, response) VALUES (?, ?) ON CONFLICT DO NOTHING", (key, data))
            self._evict(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Drop the oldest answers until the rest fits; the newest stays however large it is."""
        while True:
            answers, size = connection.execute("SELECT answers, bytes FROM totals").fetchone()
            too_many = max(answers - self.size, 1 if size > self.max_bytes else 0)
            if too_many <= 0 or answers <= 1:
                return
            oldest = "SELECT number FROM answers ORDER BY number LIMIT ?"
            connection.execute(f"DELETE FROM answers WHERE number IN ({oldest})", (min(too_many, answers - 1),))

    def _open(self) -> sqlite3.Connection:
        if self._process != os.getpid():
            _abandoned.extend(self._held)
            self._held.clear()
            self._process = os.getpid()
        if not self._held:
            self._held.append(self._connect())
        return self._held[0]

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self.patience
        while True:
            connection = sqlite3.connect(
                self.path, timeout=self.patience, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except sqlite3.OperationalError as error:
                # Switching to WAL does not wait for another process that does the same.
                connection.close()
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise self._unusable(error) from error
                time.sleep(0.01)
            except BaseException:
                connection.close()
                raise
            else:
                return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if _is_new(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            if _is_new(connection):  # nobody was faster
                for statement in _statements(_SCHEMA):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute("COMMIT")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION:
            raise LoadError(f"{self.path} is a database of another program: choose another path for the cache.")
        if version != _VERSION:
            raise LoadError(
                f"{self.path} has version {version} of the cache's tables, this release reads version {_VERSION}: "
                "upgrade opto-trace or choose another path."
            )
        connection.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")

    def _unusable(self, error: sqlite3.Error) -> LoadError:
        return LoadError(f"The cache {self.path} cannot be used ({error}): move the file away, or choose another path.")


def _is_new(connection: sqlite3.Connection) -> bool:
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return tables == 0


def _statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit an open transaction."""
    found, rest = list[str](), ""
    for line in script.strip().splitlines():
        rest += line + "\n"
        if sqlite3.complete_statement(rest):
            found.append(rest)
            rest = ""
    return found


def _close(held: list[sqlite3.Connection]) -> None:
    while held:
        held.pop().close()
