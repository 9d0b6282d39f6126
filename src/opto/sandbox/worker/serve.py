"""What runs in a worker: it takes one text, then calls of its function, until it is ended. Imports the parts around it.

Everything here is in the hands of the code that it runs, so the program believes none of it.
"""

from __future__ import annotations

import inspect
import io
import json
import pickle
import resource
import signal
import socket
import sys
import time
from _thread import allocate_lock
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import CoroutineType, GeneratorType
from typing import Any

from opto import program
from opto.errors import SandboxTimeoutError, SandboxValueError
from opto.sandbox.values import errors_as_data, wire
from opto.sandbox.values.value_codec import encode
from opto.sandbox.worker import crash_stack, from_host
from opto.sandbox.worker.differences import differences
from opto.sandbox.worker.live_program import LiveProgram, shape_of
from opto.sandbox.worker.streams import Streams

__all__ = ["serve"]


class _Printed(io.TextIOBase):
    """Keeps the beginning of what is printed."""

    def __init__(self) -> None:
        self.most = self.length = 0
        self._parts: list[str] = []

    def begin(self, most: int) -> None:
        self.most, self.length, self._parts = most, 0, []

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        kept = text[: self.most - self.length]
        if kept:
            self._parts.append(kept)
            self.length += len(kept)
        return len(text)

    def told(self) -> str:
        return "".join(self._parts)


class _Worker:
    """One text's worker."""

    def __init__(self, connection: socket.socket, pipe: int, memory: int) -> None:
        self.connection = connection
        self.memory = memory
        self.live: LiveProgram | None = None
        self.out, self.err = _Printed(), _Printed()
        self.streams = Streams()
        self.turn = allocate_lock()
        self.threads = _threads()
        self.names: tuple[str, ...] = ()
        self.most = 0
        self.wall = 0.0
        self.host_errors: dict[int, BaseException] = {}
        from_host.use_channel(self.ask)
        sys.stdout, sys.stderr = self.out, self.err
        signal.signal(signal.SIGALRM, self._too_long)
        signal.signal(signal.SIGXCPU, self._too_much)
        crash_stack.leave(pipe, (signal.SIGALRM, signal.SIGXCPU))

    def _too_long(self, number: int, frame: Any) -> None:
        crash_stack.interruptible(number)
        raise SandboxTimeoutError(f"The code took longer than {self.wall:g} seconds.")

    def _too_much(self, number: int, frame: Any) -> None:
        crash_stack.interruptible(number)
        raise SandboxTimeoutError("The code used more CPU time than it may.")

    def answer(self, message: bytes) -> bytes:
        """Carries out one message and tells what became of it."""
        classes, sources, updates, definition, action, payload, bounds = pickle.loads(message)
        self.wall, cpu, output, self.most = bounds
        self.out.begin(output)
        self.err.begin(output)
        report: dict[str, Any] = {}
        try:
            _bound_cpu(cpu)
            with self._clock():
                self._arrive(classes, sources, updates, definition)
                report = self._ACTIONS[action](self, payload)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
            report = self._failed(error)
        used = resource.getrusage(resource.RUSAGE_SELF)
        report["out"], report["err"] = self.out.told(), self.err.told()
        report["used"] = [used.ru_utime + used.ru_stime, used.ru_maxrss]
        if _threads() > self.threads:
            report["busy"] = True
        return self._written(report)

    def _failed(self, error: BaseException) -> dict[str, Any]:
        report: dict[str, Any] = {"error": errors_as_data.told(error, self.memory)}
        for number, known in self.host_errors.items():
            if known is error:
                report["host_error"] = number
        self.host_errors.clear()
        return report

    @contextmanager
    def _clock(self) -> Generator[None]:
        signal.setitimer(signal.ITIMER_REAL, self.wall, 0.05)  # again, if the code swallows the first
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _written(self, report: dict[str, Any]) -> bytes:
        try:
            text = json.dumps(report, separators=(",", ":")).encode()
            if len(text) <= self.most + 12 * self.out.most + 65536:
                return text
            fault: BaseException = SandboxValueError(
                f"The result is too large: {len(text)} bytes as it is written, {self.most} are allowed."
            )
        except (MemoryError, RecursionError, ValueError) as error:
            fault = error
        return json.dumps({"error": errors_as_data.told(fault, self.memory)}).encode()

    def _arrive(self, classes: Any, sources: Any, updates: Any, definition: Any) -> None:
        from_host.SOURCES.update(sources)
        for number, written in classes:
            from_host.CLASSES[number] = pickle.loads(written)
        if definition is not None:
            text, name, module, flags, owner = definition
            self.live = LiveProgram(
                text, name, module=module, flags=flags, owner=None if owner is None else from_host.CLASSES[owner]
            )
        for module, name, written in updates:
            if module:
                place = from_host.globals_of(module)
                place.pop(name, None) if written is None else place.__setitem__(name, pickle.loads(written))
            elif self.live is not None and written is None:
                self.live.take(name)
            elif self.live is not None:
                self.live.put(name, pickle.loads(written))

    # --- actions ---

    def _call(self, payload: bytes) -> dict[str, Any]:
        assert self.live is not None
        function = self.live.function()
        args, kwargs, watch = pickle.loads(payload)
        twins = pickle.loads(payload) if watch else None
        result = function(*args, **kwargs)
        report = self._result(function, result)
        if twins is not None:
            changed = _changed(function, (args, kwargs), twins)
            if changed:
                report["changed"] = changed
        return report

    def _result(self, function: Any, result: Any) -> dict[str, Any]:
        kind = type(result)
        if kind is CoroutineType:
            value = encode(self.streams.finish(result))
            return {"value": value} if inspect.iscoroutinefunction(function) else {"value": value, "kind": "coroutine"}
        if kind is GeneratorType or hasattr(kind, "__anext__"):
            return {
                "value": self.streams.add(result),
                "kind": "generator" if kind is GeneratorType else "async generator",
            }
        if hasattr(kind, "__next__"):
            return {"value": self.streams.add(result), "kind": "generator"}
        return {"value": encode(result)}

    def _describe(self, payload: bytes) -> dict[str, Any]:
        assert self.live is not None
        shape = shape_of(self.live.function())
        return {"value": [shape.kind, encode(list(shape.parameters)), shape.doc]}

    def _read(self, payload: bytes) -> dict[str, Any]:
        """What the program wants to know of a text: to compile one that a model wrote is not for it to do."""
        text, flags = pickle.loads(payload)
        try:
            found = program.compiled(text, flags)
        except (MemoryError, RecursionError):
            raise SandboxValueError("The code is nested too deeply for Python's compiler.") from None
        return {"value": [found.dynamic, *map(sorted, (found.reads, found.writes, found.imports, found.names))]}

    def _go_on(self, payload: bytes) -> dict[str, Any]:
        number, value = pickle.loads(payload)
        ended, result = self.streams.go_on(number, value)
        return {"value": encode((ended, result))}

    _ACTIONS: dict[str, Callable[[_Worker, bytes], dict[str, Any]]] = {  # noqa: RUF012 - a table of its methods
        "call": _call,
        "describe": _describe,
        "go on": _go_on,
        "read": _read,
    }

    # --- calls of objects of the program ---

    def ask(self, number: int, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls an allowed object of the program; the time that takes does not count."""
        tree = [number, method, [encode(a) for a in args], {k: encode(v) for k, v in kwargs.items()}]
        with self.turn:  # one thread at a time: the answers have no names
            left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
            wire.send(self.connection, json.dumps({"ask": tree}).encode())
            kind, content = pickle.loads(wire.receive(self.connection))
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001), 0.05)
        if kind == "value":
            return pickle.loads(content)
        place, told = content
        error = errors_as_data.error_of(told, {})
        self.host_errors[place] = error
        raise error


def _changed(function: Any, now: Any, then: Any) -> list[str]:
    code = getattr(function, "__code__", None)
    names = list(code.co_varnames[: code.co_argcount]) if code is not None else []
    names += [f"argument {i + 1}" for i in range(len(names), len(now[0]))]
    found = [path for a, b, n in zip(now[0], then[0], names, strict=False) for path in differences(a, b, n)]
    return found + [path for n in now[1] for path in differences(now[1][n], then[1][n], n)]


def _threads() -> int:
    module: Any = sys.modules["_thread"]
    return int(module._count())


def _bound_cpu(seconds: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard != resource.RLIM_INFINITY:
        hard = min(hard, int(seconds * 2) + 2)  # the program ends a worker that used more than `seconds` in all
        resource.setrlimit(resource.RLIMIT_CPU, (min(hard, int(time.process_time() + seconds) + 1), hard))


def serve(connection: socket.socket, pipe: int, memory: int) -> None:
    """Answers messages until the program closes the connection; `pipe` is for the last words."""
    from_host.install_sources({})
    program.compiled.cache_clear()
    state = _Worker(connection, pipe, memory)
    while True:
        try:
            message = wire.receive(connection)
        except (EOFError, ConnectionError):
            return
        try:
            answer = state.answer(message)
        except BaseException as error:  # noqa: BLE001 - a signal of the clock that came late
            answer = json.dumps({"error": errors_as_data.told(error, memory)}).encode()
        wire.send(connection, answer)
