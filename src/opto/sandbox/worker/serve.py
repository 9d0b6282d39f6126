"""A worker: it takes one text, then calls of its function, until it is ended. Imports the parts around it.

Everything here is in the hands of the code that the worker runs, so the program believes none of it.
"""

from __future__ import annotations

import _thread
import inspect
import io
import json
import pickle
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import CoroutineType
from typing import Any

from opto import program
from opto.errors import SandboxTimeoutError, SandboxValueError
from opto.sandbox.values import errors_as_data, wire
from opto.sandbox.values.value_codec import encode
from opto.sandbox.worker import crash_stack, from_host
from opto.sandbox.worker.differences import changed_arguments
from opto.sandbox.worker.generators import Generators
from opto.sandbox.worker.live_program import LiveProgram, shape_of

__all__ = ["serve"]

_AGAIN_SECONDS = 0.05
"""The clock strikes again after this, if the code swallows the first stroke."""


class _Printed(io.StringIO):
    """Keeps the beginning of what is printed, `most` characters."""

    most = 0

    def begin(self, most: int) -> None:
        self.seek(0)
        self.truncate()
        self.most = most

    def write(self, text: str) -> int:
        super().write(text[: max(0, self.most - self.tell())])
        return len(text)


class _Worker:
    """The worker of one text; `memory` is its limit, which errors mention."""

    def __init__(self, connection: socket.socket, pipe: int, memory: int) -> None:
        self.connection = connection
        self.memory = memory
        self.live: LiveProgram | None = None
        self.out, self.err = _Printed(), _Printed()
        self.generators = Generators()
        self.turn = _thread.allocate_lock()
        self.threads = _thread._count()
        self.most = 0
        self.wall = 0.0
        self.host_errors: dict[int, BaseException] = {}
        from_host.use_channel(self.ask)
        sys.stdout, sys.stderr = self.out, self.err
        signal.signal(signal.SIGALRM, self._too_long)
        signal.signal(signal.SIGXCPU, self._too_much)
        crash_stack.write_on_signals(pipe, (signal.SIGALRM, signal.SIGXCPU))

    def _too_long(self, number: int, frame: Any) -> None:
        crash_stack.interruptible(number)
        raise SandboxTimeoutError(f"The code took longer than {self.wall:g} seconds.")

    def _too_much(self, number: int, frame: Any) -> None:
        crash_stack.interruptible(number)
        raise SandboxTimeoutError("The code used more CPU time than it may.")

    def answer(self, message: bytes) -> bytes:
        """Carries out one message; returns the report."""
        classes, sources, updates, definition, action, payload, bounds = pickle.loads(message)
        self.wall, cpu, output, self.most = bounds
        self.out.begin(output)
        self.err.begin(output)
        report: dict[str, Any] = {}
        try:
            _bound_cpu(cpu)
            try:
                signal.setitimer(signal.ITIMER_REAL, self.wall, _AGAIN_SECONDS)
                self._receive(classes, sources, updates, definition)
                report = self._ACTIONS[action](self, payload)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is reported
            number = next((number for number, known in self.host_errors.items() if known is error), None)
            report = {"error": errors_as_data.error_data(error, self.memory), "host_error": number}
            self.host_errors.clear()
        used = resource.getrusage(resource.RUSAGE_SELF)
        report["out"], report["err"] = self.out.getvalue(), self.err.getvalue()
        report["used"] = [used.ru_utime + used.ru_stime, used.ru_maxrss]
        report["busy"] = _thread._count() > self.threads
        return self._written(report, output)

    def _written(self, report: dict[str, Any], output: int) -> bytes:
        try:
            text = json.dumps(report, separators=(",", ":")).encode()
            if len(text) <= self.most + 12 * output + 65536:
                return text
            fault: BaseException = SandboxValueError(
                f"The result is too large: {len(text)} bytes as it is written, {self.most} are allowed."
            )
        except (MemoryError, RecursionError, ValueError) as error:
            fault = error
        return json.dumps({"error": errors_as_data.error_data(fault, self.memory)}).encode()

    def _receive(self, classes: Any, sources: Any, updates: Any, definition: Any) -> None:
        """Takes in the classes, modules and globals that come with an order (see `Call._message`)."""
        from_host.SOURCES.update(sources)
        for number, written in classes:
            from_host.CLASSES[number] = pickle.loads(written)
        if definition is not None:
            text, name, module, flags, owner = definition
            owner = None if owner is None else from_host.CLASSES[owner]
            self.live = LiveProgram(text, name, module=module, flags=flags, owner=owner)
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
        report = self._result(function, function(*args, **kwargs))
        if twins is not None:
            report["changed"] = changed_arguments(function, (args, kwargs), twins)
        return report

    def _result(self, function: Any, result: Any) -> dict[str, Any]:
        if type(result) is CoroutineType:
            value = encode(self.generators.finish(result))
            return {"value": value} if inspect.iscoroutinefunction(function) else {"value": value, "kind": "coroutine"}
        if isinstance(result, AsyncIterator):
            return {"value": self.generators.add(result), "kind": "async generator"}
        if isinstance(result, Iterator):
            return {"value": self.generators.add(result), "kind": "generator"}
        return {"value": encode(result)}

    def _describe(self, payload: bytes) -> dict[str, Any]:
        assert self.live is not None
        shape = shape_of(self.live.function())
        return {"value": [shape.kind, encode(list(shape.parameters)), shape.doc]}

    def _read(self, payload: bytes) -> dict[str, Any]:
        """Reports the names that a text uses, as the program does not compile a text that a model wrote."""
        text, flags = pickle.loads(payload)
        try:
            found = program.compiled(text, flags)
        except (MemoryError, RecursionError):
            raise SandboxValueError("The code is nested too deeply for Python's compiler.") from None
        return {"value": [found.dynamic, *map(sorted, (found.reads, found.writes, found.imports, found.names))]}

    def _go_on(self, payload: bytes) -> dict[str, Any]:
        return {"value": encode(self.generators.next_value(*pickle.loads(payload)))}

    _ACTIONS: dict[str, Callable[[_Worker, bytes], dict[str, Any]]] = {  # noqa: RUF012 - a table of its methods
        "call": _call,
        "describe": _describe,
        "next": _go_on,
        "read": _read,
    }

    # --- calls of objects of the program ---

    def ask(self, number: int, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls an allowed object of the program; the clock stands still meanwhile."""
        tree = [number, method, [encode(a) for a in args], {k: encode(v) for k, v in kwargs.items()}]
        with self.turn:  # one thread at a time: the answers have no names
            left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
            wire.send(self.connection, json.dumps({"ask": tree}).encode())
            kind, content = pickle.loads(wire.receive(self.connection))
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001), _AGAIN_SECONDS)
        if kind == "value":
            return pickle.loads(content)
        place, data = content
        error = errors_as_data.error_of(data, {})
        self.host_errors[place] = error
        raise error


def _bound_cpu(seconds: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard != resource.RLIM_INFINITY:
        hard = min(hard, int(seconds * 2) + 2)  # the program ends a worker that used more than `seconds` in all
        resource.setrlimit(resource.RLIMIT_CPU, (min(hard, int(time.process_time() + seconds) + 1), hard))


def serve(connection: socket.socket, pipe: int, memory: int) -> None:
    """Answers messages until the program closes the connection; `pipe` is for the stack of a crash."""
    from_host.install_sources()
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
            answer = json.dumps({"error": errors_as_data.error_data(error, memory)}).encode()
        wire.send(connection, answer)
