"""Files that are whole or absent: locks, durable writes, digests that are checked once and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["digest", "locked", "move_into_place", "read_json", "stamped", "write_json", "write_stamp"]

_BLOCK = 4 * 2**20


def digest(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Replace a small file in one step."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A small file's object; empty when absent or damaged, as it can always be made again."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def move_into_place(temporary: Path, final: Path) -> None:
    """Make `temporary` durable, then give it its final name: a crash leaves the old state or the new."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(final)
    if sys.platform != "win32":
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_stamp(path: Path, sha256: str, source: str) -> None:
    """Remember that `path` as it is now has this digest, so that a start need not read a gigabyte."""
    state = path.stat()
    stamp = {"sha256": sha256, "size": state.st_size, "mtime_ns": state.st_mtime_ns, "source": source}
    write_json(_stamp_path(path), stamp)


def stamped(path: Path) -> str | None:
    """The digest that `path` was accepted with, if it is still that file; None when it is not, or never was.

    Size and time unchanged since the stamp: believed. Otherwise the file is read again.
    """
    stamp = read_json(_stamp_path(path))
    accepted = stamp.get("sha256")
    state = path.stat()
    if not isinstance(accepted, str) or state.st_size != stamp.get("size"):
        return None
    if state.st_mtime_ns == stamp.get("mtime_ns"):
        return accepted
    if digest(path) != accepted:
        return None
    write_stamp(path, accepted, str(stamp.get("source", "")))
    return accepted


def _stamp_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


@contextmanager
def locked(path: Path, waiting: Callable[[], object] = lambda: None) -> Generator[None, None, None]:
    """Hold `path` against other threads and processes; the system frees it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if not _try_lock(file.fileno()):
            waiting()
            _wait_lock(file.fileno())
        try:
            yield
        finally:
            _unlock(file.fileno())


if sys.platform == "win32":

    def _try_lock(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_lock(fd: int) -> None:
        while not _try_lock(fd):
            try:
                msvcrt.locking(fd, msvcrt.LK_LOCK, 1)  # gives up after ten tries a second apart
            except OSError:
                continue
            return

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
