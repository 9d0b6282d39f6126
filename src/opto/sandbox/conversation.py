"""One exchange with a worker: a message goes in, calls of allowed objects are answered, a report comes out.

The worker may be hostile: each of its messages is bounded, waited for with a limit, and read as data. Imports `pool`,
`wire`, `value_codec`, `errors_as_data`.
"""

from __future__ import annotations

import functools
import json
import pickle
import re
import sys
import time
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from opto.errors import SandboxForbiddenError, SandboxValueError
from opto.execution import Limits
from opto.sandbox.pool import ANSWERING, Worker
from opto.sandbox.values import errors_as_data, wire
from opto.sandbox.values.value_codec import decode

__all__ = ["Report", "exchange"]

_GRACE = 0.25
"""Seconds that a worker has to stop by itself, and to tell where, before it is killed."""
_MOST_CALLS = 10_000
_MOST_PARTS, _DEEPEST = 1_000_000, 2_000
_MOST_DIGITS = 4_300
_STRING = re.compile(r'(?s)"(?:[^"\\]+|\\.|\\\Z)*(?:"|\Z)')
"""It matches wherever a quote is, so that no text is read twice."""


class Report(NamedTuple):
    """A worker's report, checked except for `value` and `error`, which are trees still to be decoded."""

    value: Any
    kind: Any
    error: Any
    host_error: Exception | None
    """The error of an object of the program that the code called, if that is what the code raised."""
    out: str
    err: str
    cpu_seconds: float
    memory_bytes: int
    busy: bool
    """Threads of the code still run."""
    changed: tuple[str, ...]


def exchange(worker: Worker, message: bytes, limits: Limits, allow: Sequence[Any]) -> Report:
    """Sends a message to the worker, answers its calls of objects in `allow`, and returns its report.

    TimeoutError, EOFError or ConnectionError if the worker is lost, ValueError or RecursionError for nonsense,
    MessageTooLongError for too much of it.
    """
    until = time.monotonic() + limits.wall_seconds + _GRACE
    most = limits.value_bytes + 12 * limits.output_bytes + 131072
    errors: dict[int, Exception] = {}
    worker.connection.settimeout(limits.wall_seconds + _GRACE)
    wire.send(worker.connection, message)
    for _ in range(_MOST_CALLS):
        data = _parsed(wire.receive(worker.connection, most, until))
        if "ask" not in data:
            return _checked(data, errors, limits.output_bytes)
        began = time.monotonic()
        answer = _answered(worker, data["ask"], allow, errors)
        until += time.monotonic() - began
        worker.connection.settimeout(limits.wall_seconds + _GRACE)
        wire.send(worker.connection, answer)
    raise TimeoutError


def _parsed(message: bytes) -> dict[str, Any]:
    """A message as data. ValueError or RecursionError for nonsense, MessageTooLongError for too many parts."""
    parts, text = message.count(b"[") + message.count(b"{"), message.decode("ascii")
    if parts > _MOST_PARTS:
        raise wire.MessageTooLongError(f"more than {_MOST_PARTS} lists and dicts")
    if parts > _DEEPEST < sys.getrecursionlimit() and _depth(text) > _DEEPEST:  # Python's own limit is no help then
        raise RecursionError
    data = _READ(text)
    if not isinstance(data, dict):
        raise ValueError("not a report")
    return data


def _checked(data: dict[str, Any], errors: dict[int, Exception], most: int) -> Report:
    out, err, used = data.get("out"), data.get("err"), data.get("used")
    number, changed = data.get("host_error"), data.get("changed")
    cpu, memory = used if isinstance(used, list) and list(map(type, used)) == [float, int] else (0.0, 0)
    return Report(
        value=data.get("value"),
        kind=data.get("kind"),
        error=data.get("error"),
        host_error=errors.get(number) if type(number) is int else None,
        out=out[:most] if isinstance(out, str) else "",
        err=err[:most] if isinstance(err, str) else "",
        cpu_seconds=cpu,
        memory_bytes=memory * 1024,
        busy=bool(data.get("busy")),
        changed=tuple(str(path)[:200] for path in changed[:8]) if isinstance(changed, list) else (),
    )


def _depth(text: str) -> int:
    """How deeply lists and dicts are nested."""
    deepest = level = 0
    for sign in re.sub(r"[^][{}]+", "", _STRING.sub("", text)):
        level += 1 if sign in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:  # Python says so too, unless the program has lifted that limit
        raise ValueError("an integer of too many digits")
    return int(digits)


_READ = json.JSONDecoder(parse_int=_integer).decode


def _answered(worker: Worker, asked: Any, allow: Sequence[Any], errors: dict[int, Exception]) -> bytes:
    """Calls the object that the worker asks for; an error that it raises is raised again in the worker."""
    token = ANSWERING.set((*ANSWERING.get(), worker))
    try:
        value = _called(worker, asked, allow)
        return pickle.dumps(("value", worker.serializer.dumps(value)))
    except Exception as error:  # noqa: BLE001 - it goes on in the worker, and comes back as itself if not caught there
        number = len(errors)
        errors[number] = error
        return pickle.dumps(("error", (number, errors_as_data.error_data(error, 0, held=False))))
    finally:
        ANSWERING.reset(token)


def _called(worker: Worker, asked: Any, allow: Sequence[Any]) -> Any:
    if not (isinstance(asked, list) and len(asked) == 4):
        raise SandboxValueError("The code sent a call that cannot be read.")
    number, method, args, kwargs = asked
    if type(number) is not int or not 0 <= number < len(allow) or type(method) is not str or method.startswith("_"):
        raise SandboxForbiddenError("The code called an object that is not allowed.")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise SandboxValueError("The code sent a call that cannot be read.")
    called = _method(allow[number], method) if method else allow[number]
    known = worker.serializer.known
    return called(*[decode(a, known) for a in args], **{k: decode(v, known) for k, v in kwargs.items()})


def _method(thing: Any, name: str) -> Any:
    """A method of an allowed object. Its attributes, such as a model that it wraps, are not allowed."""
    kinds: tuple[type, ...] = type(thing).__mro__
    found = next((vars(kind)[name] for kind in kinds if name in vars(kind)), None)
    if found is None:
        held = name in getattr(thing, "__dict__", ()) and not isinstance(thing, ModuleType | SimpleNamespace | type)
    else:
        bound = hasattr(type(found), "__get__") and not hasattr(type(found), "__set__")
        held = not bound or not (callable(found) or isinstance(found, _BINDING))
    if held:
        raise SandboxForbiddenError(
            f"{name!r} is no method of {kinds[0].__qualname__}: of objects in ProcessExecutor(allow=[...]) the code "
            "may call themselves and their public methods."
        )
    return getattr(thing, name)


_BINDING = (classmethod, functools.partialmethod, functools.singledispatchmethod)
