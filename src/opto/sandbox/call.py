"""One job in one worker, from the lease to the outcome. What the worker sends is hostile data until it is checked.

Imports `pool`, `conversation`, `values`.
"""

from __future__ import annotations

import functools
import pickle
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from opto.errors import SandboxCrashError, SandboxError, SandboxMemoryError, SandboxTimeoutError, SandboxValueError
from opto.execution import Job, Limits, Outcome, ResourceUsage, Shape
from opto.sandbox.conversation import Report, exchange
from opto.sandbox.first_process import End, limits_of_worker
from opto.sandbox.pool import Pool, Worker
from opto.sandbox.values.errors_as_data import error_of, with_traceback
from opto.sandbox.values.surroundings import Surroundings
from opto.sandbox.values.to_worker import is_atom
from opto.sandbox.values.value_codec import decode
from opto.sandbox.values.wire import MessageTooLongError
from opto.sandbox.worker import crash_stack
from opto.sandbox.worker.live_program import ProgramNames

__all__ = ["Call"]

_LONGEST_TEXT = 1 << 16
_KINDS = ("plain", "coroutine", "generator", "async generator")


class Call:
    """A job, and the worker that runs it. `in_thread` runs blocking work in a thread, for asynchronous generators."""

    __slots__ = ("began", "in_thread", "job", "limits", "pool", "worker")

    worker: Worker

    def __init__(
        self, pool: Pool, job: Job, limits: Limits, in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
    ) -> None:
        self.pool, self.job, self.limits, self.in_thread = pool, job, limits, in_thread
        self.began = time.monotonic()

    def lease_worker(self) -> None:
        """Leases a worker that knows the text, or a fresh one; SandboxError or OSError if there is none."""
        job, limits = self.job, self.limits
        if len(job.text) > _LONGEST_TEXT:
            raise SandboxValueError(f"The code has {len(job.text)} characters: at most {_LONGEST_TEXT} are allowed.")
        scope = job.scope
        seen = id(scope) if scope.names or scope.owner else (scope.module, scope.flags)
        kept = (*limits_of_worker(limits), limits.cpu_seconds)  # a worker's CPU time cannot be given more later
        self.worker = self.pool.lease((job.text, job.name, seen, kept), scope, limits)

    def outcome(self) -> Outcome:
        """Runs the job in the leased worker, then returns the worker to the pool or ends it."""
        worker = self.worker
        if worker.surroundings is None:
            error = self._learn_text()
            if error is not None:
                return self._failed(error)
        try:
            message = self._request()
        except SandboxError as fault:  # of the arguments: nothing was sent
            self.pool.give_back(worker)
            return self._failed(fault)
        except BaseException:
            self.pool.end(worker)
            raise
        return self._exchanged(message)

    # --- messages ---

    def _learn_text(self) -> Exception | None:
        """Asks a new worker which names its text uses. If that fails, ends the worker and returns the error."""
        job, worker = self.job, self.worker
        report = self._report(self._message("read", pickle.dumps((job.text, job.scope.flags))))
        if isinstance(report, Exception):
            return report
        error = self._error(report)
        try:
            if error is None:
                worker.surroundings = Surroundings(job, _program_names(report.value), worker.serializer)
                return None
        except SandboxError as fault:
            error = fault
        except BaseException:
            self.pool.end(worker)
            raise
        self.pool.end(worker)
        return error

    def _request(self) -> bytes:
        """The message that asks for the call; SandboxValueError if the arguments cannot travel."""
        job, limits, serializer, scope = self.job, self.limits, self.worker.serializer, self.job.scope
        assert self.worker.surroundings is not None
        watch = False
        for value in (*job.args, *job.kwargs.values()):
            if not is_atom(value):
                watch = True
                self.worker.surroundings.visit(value)
        definition = None
        if not self.worker.defined:
            owner = None if scope.owner is None else serializer.number_of(scope.owner)
            definition = (job.text, job.name, scope.module, scope.flags, owner)
        payload = b"" if job.describe else serializer.dumps((job.args, dict(job.kwargs), watch))
        if len(payload) > limits.value_bytes:
            raise SandboxValueError(
                f"The arguments are too large: {len(payload)} bytes as they are written, {limits.value_bytes} are "
                "allowed (Limits.value_bytes)."
            )
        return self._message("describe" if job.describe else "call", payload, definition)

    def _message(self, action: str, payload: bytes, definition: Any = None) -> bytes:
        """An order to the worker, preceded by the classes, modules and globals that it does not have yet."""
        around, serializer, limits = self.worker.surroundings, self.worker.serializer, self.limits
        sources, updates = ({}, []) if around is None or action == "next" else around.updates()
        classes, serializer.classes = serializer.classes, []
        bounds = (limits.wall_seconds, limits.cpu_seconds, limits.output_bytes, limits.value_bytes)
        return pickle.dumps((classes, sources, updates, definition, action, payload, bounds))

    # --- reports ---

    def _exchanged(self, message: bytes) -> Outcome:
        """Sends the message; the outcome of the call or of the generator's next step."""
        report, worker, limits = self._report(message), self.worker, self.limits
        if isinstance(report, Exception):
            return self._failed(report)
        worker.defined = True
        before, worker.cpu_seconds = worker.cpu_seconds, report.cpu_seconds
        value, error = None, self._error(report)
        if report.busy or report.cpu_seconds > limits.cpu_seconds or isinstance(error, SandboxTimeoutError):
            self.pool.end(worker)
        else:
            self.pool.give_back(worker)
        if error is None:
            try:
                value = self._value(report)
            except SandboxError as fault:
                error = fault
        cpu, wall = max(0.0, report.cpu_seconds - before), time.monotonic() - self.began
        usage = ResourceUsage(wall, cpu, report.memory_bytes)
        return Outcome(value, error, report.out, report.err, usage, report.changed if error is None else ())

    def _report(self, message: bytes) -> Report | Exception:
        """The worker's report. If there is none, ends the worker and returns the error that says why."""
        worker, limits = self.worker, self.limits
        try:
            return exchange(worker, message, limits, self.pool.allow)
        except TimeoutError:
            worker.wait_for_stack()
            late = SandboxTimeoutError(f"The code took longer than {limits.wall_seconds:g} seconds.")
            return self._where_it_was(late, self.pool.end(worker)[1])
        except MessageTooLongError as error:
            self.pool.end(worker)
            return SandboxValueError(f"The code's process sent {error}, more than a result may be.")
        except (EOFError, ConnectionError):
            end, stack = self.pool.end(worker)
            return self._where_it_was(_crash(end, limits), stack)
        except (ValueError, RecursionError, MemoryError):
            self.pool.end(worker)
            return SandboxCrashError("The code's process sent something that is no result.")
        except BaseException:
            self.pool.end(worker)
            raise

    def _failed(self, error: Exception) -> Outcome:
        return Outcome(error=error, usage=ResourceUsage(wall_seconds=time.monotonic() - self.began))

    def _shown(self) -> set[tuple[str, int, str]]:
        """The functions of the program whose lines a traceback may show."""
        return set() if self.worker.surroundings is None else self.worker.surroundings.shown

    def _where_it_was(self, error: SandboxError, stack: bytes) -> Exception:
        """Adds a traceback from the stack that C code in the worker wrote, as the worker itself sent no report."""
        shown = self._shown()
        return with_traceback(error, crash_stack.places(stack, shown), self.job.text, shown)

    def _error(self, report: Report) -> Exception | None:
        """The error that the code raised, if any. An error of an object of the program is that very object again."""
        data = report.error
        if data is None:
            return None
        if report.host_error is not None:
            return report.host_error
        places = data.get("places") if isinstance(data, dict) else None
        try:
            return with_traceback(error_of(data, self.worker.serializer.known), places, self.job.text, self._shown())
        except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError):
            return SandboxCrashError("The code's process sent an error that cannot be read.")

    def _value(self, report: Report) -> Any:
        if self.job.describe:
            return _shape(report.value)
        if report.kind == "generator":
            return self._generator(report.value)
        if report.kind == "async generator":
            return self._async_generator(report.value)
        value = decode(report.value, self.worker.serializer.known)
        return _ready(value) if report.kind == "coroutine" else value

    # --- generators: they stay in their worker ---

    def _next(self, number: Any, sent: Any) -> tuple[bool, Any]:
        """Whether the generator has ended, and its next value or what it returned."""
        turn = Call(self.pool, self.job, self.limits, self.in_thread)
        turn.worker = self.worker
        payload = self.worker.serializer.dumps((number, sent))
        if not self.pool.lease_same(self.worker):  # raises if the worker waits for the caller
            raise SandboxCrashError(
                "The process of this generator has ended: take its values before other code needs it."
            )
        value = turn._exchanged(turn._message("next", payload)).result()
        if not (isinstance(value, tuple) and len(value) == 2):
            raise SandboxCrashError("The code's process sent something that is no value of a generator.")
        return bool(value[0]), value[1]

    def _generator(self, number: Any) -> Generator[Any, Any, Any]:
        sent: Any = None
        while True:
            ended, value = self._next(number, sent)
            if ended:
                return value
            sent = yield value

    async def _async_generator(self, number: Any) -> AsyncGenerator[Any, Any]:
        sent: Any = None
        while True:
            ended, value = await self.in_thread(functools.partial(self._next, number, sent))
            if ended:
                return
            sent = yield value


async def _ready(value: Any) -> Any:
    return value


def _crash(end: End, limits: Limits) -> SandboxError:
    if end.code < 0 and not end.signal:
        return SandboxCrashError(
            "The code's process was ended from outside: the executor was closed, or it was killed."
        )
    if end.signal == signal.SIGKILL and end.seconds >= limits.cpu_seconds:
        return SandboxTimeoutError(f"The code used more than {limits.cpu_seconds:g} seconds of CPU time.")
    if end.signal and end.memory >= limits.memory_bytes * 0.9:
        return SandboxMemoryError(f"The code needed more than {limits.memory_bytes / 2**20:.0f} MB of memory.")
    if end.signal == signal.SIGKILL:
        return SandboxCrashError("The code closed the connection of its process, which was then ended.")
    if end.signal:
        return SandboxCrashError(f"The code's process was killed by {signal.Signals(end.signal).name}.")
    return SandboxCrashError(f"The code ended its process with exit code {end.code}.")


def _program_names(tree: Any) -> ProgramNames:
    try:
        dynamic, *found = tree
        reads, writes, imports, names = map(frozenset, found)
        return ProgramNames(reads, writes, bool(dynamic), imports, names)
    except (TypeError, ValueError):
        raise SandboxCrashError("The code's process could not read the code.") from None


def _shape(tree: Any) -> Shape:
    try:
        kind, parameters, doc = tree
        found = tuple(tuple(p) for p in decode(parameters, {}))
        if kind in _KINDS and all(len(p) == 4 and str(p[0]).isidentifier() and p[1] in range(5) for p in found):
            return Shape(kind, found, doc if isinstance(doc, str) else None)
    except (TypeError, ValueError):
        pass
    raise SandboxCrashError("The code's process sent a description of its function that cannot be read.")
