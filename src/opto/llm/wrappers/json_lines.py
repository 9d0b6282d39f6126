"""Files of JSON lines: added to in one step, read back with the fault of a line named."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from opto.errors import LoadError

if sys.platform != "win32":
    import fcntl

__all__ = ["append", "lines"]

_log = logging.getLogger(__name__)
_writing = threading.Lock()


def append(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Add a line for each entry; when this returns, the operating system has them.

    A line that a killed process left half written is cut off first.
    """
    text = "".join(_line(entry) + "\n" for entry in entries).encode("utf-8")
    with _writing, _opened(path) as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            _cut_torn_line(file)
            view = memoryview(text)
            while view:
                view = view[file.write(view) :]
        finally:
            if sys.platform != "win32":  # closing is not enough: a process forked meanwhile holds the file, too
                fcntl.flock(file, fcntl.LOCK_UN)


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with the numbers of their lines, from 1; LoadError names a line that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise LoadError(f"The recording {path} cannot be read ({error}).") from error
    rows = text.split("\n")
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        try:
            data = json.loads(row)
            if not isinstance(data, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            if number == len(rows):  # no newline: whoever wrote it was killed
                _log.warning("%s ends in half a line, which is left out", path)
                return
            raise LoadError(f"{path}, line {number}, is no JSON object ({error}).") from error
        yield number, data


def _opened(path: Path) -> Any:
    try:
        return path.open("ab+", buffering=0)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab+", buffering=0)


def _line(entry: Mapping[str, Any]) -> str:
    text = json.dumps(entry, ensure_ascii=False)
    # A lone surrogate has no UTF-8 form: such a line is written in escapes.
    return text if text.isascii() or _encodes(text) else json.dumps(entry)


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _cut_torn_line(file: Any) -> None:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) in (b"", b"\n"):
        return
    tail, begin = b"", end
    while begin > 0 and b"\n" not in tail:
        begin = max(0, begin - 65536)
        file.seek(begin)
        tail = file.read(end - begin)
    file.truncate(begin + tail.rfind(b"\n") + 1)
