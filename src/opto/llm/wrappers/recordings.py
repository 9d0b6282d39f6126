"""Record requests and replies in a file of JSON lines; replay the replies without a model."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any, cast

from opto.errors import LLMRequestError, LoadError, ReplayMissError
from opto.llm.base import LLM, Messages, Response, request_options
from opto.llm.flow import Flow, FlowLLM, Wrapper, ask
from opto.llm.profile import ModelProfile
from opto.llm.shared import Shared
from opto.llm.stream import Stream, when_whole
from opto.llm.wrappers import response_codec as codec

if sys.platform != "win32":
    import fcntl

__all__ = ["RecordLLM", "ReplayLLM", "Tape", "append_lines", "read_lines"]

_log = logging.getLogger(__name__)
_writing = threading.Lock()
_FORMAT = 1
_WORD = re.compile(r"\w+|[^\w\s]")
_SHOWN = 40  # characters of a difference that an error shows
_COMPARED = 1000  # words at the end of a request that are compared to find the nearest
_CLOSER = 5  # requests that are looked at closer for it


class RecordLLM(Wrapper):
    """Wrap a model so that each request and its answer become one line of JSON in the file `path`.

    Lines are added to what the file holds, and are in it before the answer is used; several models,
    threads and processes may write to one file. A line `{"model": …}` introduces each model, so that a replay has
    its profile, hence gets the same prompts. Errors are not recorded; a stream is, as a whole reply, when it has
    ended; a disk that is full is a warning in the log, as the answer has been paid for.
    """

    def __init__(self, llm: LLM, path: str | os.PathLike[str]) -> None:
        super().__init__(llm)
        self.path = Path(path).expanduser().absolute()
        self._introduced = False

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        request = _request(messages, options)
        response: Response = yield ask(self.llm, messages, options)
        return when_whole(response, partial(self._write, request))

    def _write(self, request: Mapping[str, Any], response: Response) -> None:
        try:
            plain = codec.to_plain(response)
        except (AttributeError, TypeError, ValueError) as error:
            _log.warning("a reply is not recorded: it has not the shape of a Response (%s)", error)
            return
        entry = {"model": self.identity, **request, "response": plain}
        try:
            append_lines(self.path, [*self._introduction(), entry])
        except OSError as error:
            self._introduced = False
            _log.warning("a reply is not recorded in %s (%s): a replay will miss it", self.path, error)

    def _introduction(self) -> list[dict[str, Any]]:
        if self._introduced:
            return []
        self._introduced = True
        return [{"model": self.identity, "profile": asdict(self.profile), "format": _FORMAT}]


class ReplayLLM(FlowLLM):
    """Answer from a file that `RecordLLM` wrote; a request that is not in it raises `ReplayMissError`.

    Requests are equal when messages and options are. Equal requests get their answers in the order of the
    file, and an error when these are used up. A stream has the whole reply in one chunk. `model` is the identity of
    one of several models recorded there.

    >>> import tempfile
    >>> from opto.llm.fakes import ScriptedLLM
    >>> ask = [{"role": "user", "content": "?"}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = RecordLLM(ScriptedLLM(["yes"]), folder + "/run.jsonl")(ask).text
    ...     replay = ReplayLLM(folder + "/run.jsonl")
    >>> replay(ask).text
    'yes'
    """

    def __init__(self, path: str | os.PathLike[str], model: str | None = None) -> None:
        self.tape = Tape(Path(path).expanduser().absolute(), model)

    @property
    def profile(self) -> ModelProfile:
        return self.tape.profile

    @property
    def identity(self) -> str:
        return self.tape.identity

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        response = self.tape.next(_request(messages, options))
        return cast(Response, Stream.of(response)) if options.get("stream") else response
        yield  # makes this a flow

    def __repr__(self) -> str:
        return f"ReplayLLM({str(self.tape.path)!r})"


@dataclass(frozen=True, slots=True)
class _Entry:
    line: int
    request: Mapping[str, Any]
    response: Response


class Tape(Shared):
    """A recording and how far each of its requests has been answered; a copy is the same tape."""

    def __init__(self, path: Path, model: str | None) -> None:
        super().__init__()
        self._restore({"path": path, "model": model, "_turns": {}})

    def next(self, request: Mapping[str, Any]) -> Response:
        """The next answer to `request`."""
        key = _key(request)
        entries = self._entries.get(key, [])
        with self._lock:
            turn = self._turns.get(key, 0)
            if turn < len(entries):
                self._turns[key] = turn + 1
                return entries[turn].response
        if entries:
            places = ", ".join(str(entry.line) for entry in entries)
            raise ReplayMissError(
                f"{self.path} answers this request {len(entries)} times (line {places}), and this is call {turn + 1}: "
                "record the run again."
            )
        raise ReplayMissError(f"{self.path} has no answer to this request. {self._nearest(request)}")

    def _nearest(self, request: Mapping[str, Any]) -> str:
        entries = [entries[0] for entries in self._entries.values()]
        if not entries:
            return "It holds no answer at all: record a run with RecordLLM first."
        matcher = SequenceMatcher(None, "", _words(request), autojunk=False)

        def likeness(entry: _Entry, how: str) -> float:
            matcher.set_seq1(_words(entry.request))
            ratio: float = getattr(matcher, how)()
            return ratio

        near = sorted(entries, key=lambda entry: -likeness(entry, "quick_ratio"))[:_CLOSER]
        nearest = max(near, key=lambda entry: likeness(entry, "ratio"))
        return f"The nearest is in line {nearest.line}: {_difference(nearest.request, request)}."

    def _state(self) -> dict[str, Any]:
        return {"path": self.path, "model": self.model, "_turns": dict(self._turns)}

    def _restore(self, state: dict[str, Any]) -> None:
        self.path: Path = state["path"]
        self.model: str | None = state["model"]
        self._turns: dict[str, int] = state["_turns"]
        self._lock = threading.Lock()
        self._entries: dict[str, list[_Entry]] = {}
        self.profile = ModelProfile("replay")
        self.identity = self.model or ""
        for line, data in read_lines(self.path):
            self._add(line, data)

    def _add(self, line: int, data: Mapping[str, Any]) -> None:
        try:
            if self.model not in (None, data["model"]):
                return
            if data.get("format", 1) != _FORMAT:
                raise LoadError(
                    f"{self.path}, line {line}, has format {data['format']!r}, this release reads {_FORMAT}: "
                    "upgrade opto-trace."
                )
            if not self.identity or ("profile" in data and self.identity == data["model"]):
                self.identity = data["model"]
                self.profile = ModelProfile(**data["profile"]) if "profile" in data else self.profile
            if "response" not in data:
                return
            request = {"messages": data["messages"], "options": data["options"]}
            entry = _Entry(line, request, codec.from_plain(data["response"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LoadError(f"{self.path}, line {line}, is no line of a recording ({error!r}).") from error
        self._entries.setdefault(_key(request), []).append(entry)


def _request(messages: Messages, options: Mapping[str, Any]) -> dict[str, Any]:
    """The request as it is recorded: messages and the options that decide the answer, without keys."""
    request = {"messages": [dict(message) for message in messages], "options": request_options(options)}
    try:
        _key(request)
    except (TypeError, ValueError, RecursionError) as error:
        raise LLMRequestError(
            f"A request must have a JSON form to be recorded ({error}): pass plain values."
        ) from error
    return request


def _key(request: Mapping[str, Any]) -> str:
    return json.dumps([request["options"], request["messages"]], sort_keys=True, ensure_ascii=False)


def _words(request: Mapping[str, Any]) -> list[str]:
    return _WORD.findall(_key(request))[-_COMPARED:]


def _difference(recorded: Mapping[str, Any], request: Mapping[str, Any]) -> str:
    """The first thing in which two requests differ, in words."""
    ours, theirs = _flat(request), _flat(recorded)
    for place in [*theirs, *(place for place in ours if place not in theirs)]:
        old, new = theirs.get(place), ours.get(place)
        if old != new:
            at = next((k for k, (a, b) in enumerate(zip(old or "", new or "", strict=False)) if a != b), None)
            at = min(len(old or ""), len(new or "")) if at is None else at
            return f"its {place} differs at character {at}: recorded {_shown(old, at)}, asked {_shown(new, at)}"
    return "it differs in the order of its parts"


def _flat(request: Mapping[str, Any]) -> dict[str, str]:
    parts = {f"option {name}": value for name, value in sorted(request["options"].items())}
    for k, message in enumerate(request["messages"]):
        parts.update({f"messages[{k}].{name}": value for name, value in message.items()})
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in parts.items()
    }


def _shown(text: str | None, at: int) -> str:
    if text is None:
        return "nothing"
    begin = max(0, at - _SHOWN // 2)
    return repr(("…" if begin else "") + text[begin : begin + _SHOWN] + ("…" if len(text) > begin + _SHOWN else ""))


# Files of JSON lines


def append_lines(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
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


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
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
