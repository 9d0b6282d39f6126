"""The executor `process`, the default: warm worker processes that can do nothing but compute.

A worker serves one text all its life, so code can spoil nothing but itself. Imports `pool`, `conversation`, `faults`.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opto.errors import SandboxCrashError, SandboxError, SandboxMemoryError, SandboxTimeoutError, SandboxValueError
from opto.execution import Job, Limits, Outcome, ResourceUsage, Shape
from opto.sandbox.conversation import exchange
from opto.sandbox.layers.confinement import LAYERS
from opto.sandbox.pool import End, Pool, Worker
from opto.sandbox.values import errors_as_data
from opto.sandbox.values.surroundings import Surroundings
from opto.sandbox.values.to_worker import needs_no_pickle
from opto.sandbox.values.value_codec import decode
from opto.sandbox.values.wire import MessageTooLongError
from opto.sandbox.worker import crash_stack
from opto.sandbox.worker.live_program import ProgramNames

__all__ = ["ProcessExecutor"]

_log = logging.getLogger(__name__)
_THREADS = 64
_LONGEST_TEXT = 1 << 16
_told_missing: set[str] = set()


class ProcessExecutor:
    """Runs jobs in worker processes without network, files, secrets or rights. At most `workers` live at once.

    `limits` hold for jobs that bring none. `allow` are objects of the program that the code may call, if it was given
    them: themselves and their public methods, with plain data; such calls run in the program, in the caller's context.
    `without` switches layers of protection off, by name (`opto doctor` lists them), to find out what each is for.

    >>> from opto.sandbox import Job
    >>> with ProcessExecutor() as executor:
    ...     executor.run(Job("def f(x):\\n    return x + 1", "f", (1,))).result()
    2
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        allow: Sequence[Any] = (),
        workers: int | None = None,
        without: Iterable[str] = (),
    ) -> None:
        unknown = set(without) - LAYERS.keys()
        if unknown:
            raise ValueError(f"There are no layers {sorted(unknown)}: choose among {', '.join(LAYERS)}.")
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}: at least one process must be there to run the code.")
        self.limits = (limits or Limits()).checked()
        self._allow = tuple(allow)
        self._most = workers or max(4, 2 * (os.cpu_count() or 1))
        self._without = tuple(without)
        self._pools: dict[tuple[int, int, int], Pool] = {}
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._threads_of = os.getpid()
        self._finish = weakref.finalize(self, _close, self._pools)

    # --- the seam ---

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        """Runs a job to its end, in a worker that knows its text or in a fresh one."""
        began = time.monotonic()
        limits = self.limits if limits is None else limits.checked()
        try:
            worker, pool = self._lease(job, limits)
        except SandboxError as error:
            return Outcome(error=error)
        except OSError as error:  # no descriptors, no room, no processes left
            return Outcome(error=SandboxError(f"No process could be started for the code: {error}"))
        if worker.surroundings is None:
            failed = self._learnt(pool, worker, job, limits, began)
            if failed is not None:
                return failed
        try:
            message = self._message(worker, job, limits)
        except SandboxError as error:
            pool.give_back(worker)
            return Outcome(error=error)
        except BaseException:
            pool.end(worker)
            raise
        return self._exchanged(pool, worker, job, message, limits, began)

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        """The same without blocking the event loop."""
        outcome: Outcome = await self._in_thread(functools.partial(self.run, job, limits))
        return outcome

    async def _in_thread(self, work: Any) -> Any:
        with self._lock:
            if self._threads is None or self._threads_of != os.getpid():  # a fork has none of them
                self._threads_of = os.getpid()
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="opto-sandbox")
        context: Any = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)

    # --- its life ---

    def layers(self) -> dict[str, str | None]:
        """The layers of protection: None where one holds on this machine, else why not. Starts the first process."""
        return dict(self._pool(self.limits).report)

    def close(self) -> None:
        """Ends the workers; the next job starts others."""
        _close(self._pools)
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- one job ---

    def _pool(self, limits: Limits) -> Pool:
        if not hasattr(os, "fork"):
            raise SandboxError(
                "The executor 'process' needs POSIX (Linux, macOS): here, use WSL, or the executor 'monty' for plain "
                "functions, or let code that a model wrote run in your program, at your own risk: with "
                'opto.sandbox.using("unsafe")'
            )
        key = limits.memory_bytes, limits.processes, limits.open_files
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                settings = {"limits": {**limits._asdict(), "workers": self._most}, "without": self._without}
                pool = self._pools[key] = Pool(settings, self._most, self._allow)
        pool.start()
        _tell_missing(pool.report)
        return pool

    def _lease(self, job: Job, limits: Limits) -> tuple[Worker, Pool]:
        if len(job.text) > _LONGEST_TEXT:
            raise SandboxValueError(f"The code has {len(job.text)} characters: at most {_LONGEST_TEXT} may it have.")
        pool = self._pool(limits)
        scope = job.scope
        seen = id(scope) if scope.names or scope.owner else (scope.module, scope.flags)
        key = (job.text, job.name, seen, limits.cpu_seconds)  # a worker's last limit of CPU time never rises again
        return pool.lease(key, job), pool

    def _learnt(self, pool: Pool, worker: Worker, job: Job, limits: Limits, began: float) -> Outcome | None:
        """Lets a new worker read its text and tell what that wants; the outcome if that failed."""
        message = _written(worker, None, "read", pickle.dumps((job.text, job.scope.flags)), limits)
        got = self._reported(pool, worker, job, message, limits, began)
        if isinstance(got, Outcome):
            return got
        error = _error(*got, worker, job)
        try:
            if error is None:
                worker.surroundings = Surroundings(job, _reading(got[0].get("value")), worker.traveller)
        except SandboxError as fault:
            error = fault
        except BaseException:
            pool.end(worker)
            raise
        if error is None:
            return None
        pool.end(worker)
        return _failed(error, began)

    def _message(self, worker: Worker, job: Job, limits: Limits) -> bytes:
        around, traveller, scope = worker.surroundings, worker.traveller, job.scope
        assert around is not None
        watch = False
        for value in (*job.args, *job.kwargs.values()):
            if not needs_no_pickle(value):
                watch = True
                around.visit(value)
        definition = None
        if not worker.defined:
            owner = traveller.number_of(scope.owner) if scope.owner is not None else None
            definition = (job.text, job.name, scope.module, scope.flags, owner)
        payload = b"" if job.describe else traveller.dumps((job.args, dict(job.kwargs), watch))
        if len(payload) > limits.value_bytes:
            raise SandboxValueError(
                f"The arguments are too large: {len(payload)} bytes as they are written, {limits.value_bytes} are "
                "allowed (Limits.value_bytes)."
            )
        action = "describe" if job.describe else "call"
        return _written(worker, definition, action, payload, limits)

    def _reported(
        self, pool: Pool, worker: Worker, job: Job, message: bytes, limits: Limits, began: float
    ) -> tuple[dict[str, Any], dict[int, Exception]] | Outcome:
        """What the worker tells (see `exchange`); if it is lost, the outcome."""
        try:
            return exchange(worker, message, limits, self._allow)
        except TimeoutError:
            worker.wait_for_words()
            late = SandboxTimeoutError(f"The code took longer than {limits.wall_seconds:g} seconds.")
            return _lost(late, pool.end(worker), worker, job, began)
        except MessageTooLongError as error:
            pool.end(worker)
            return _failed(SandboxValueError(f"The code's process sent {error}, more than a result may be."), began)
        except (EOFError, ConnectionError):
            end = pool.end(worker)
            return _lost(_crash(end, limits), end, worker, job, began)
        except (ValueError, RecursionError, MemoryError):
            pool.end(worker)
            return _failed(SandboxCrashError("The code's process sent something that is no result."), began)
        except BaseException:
            pool.end(worker)
            raise

    def _exchanged(self, pool: Pool, worker: Worker, job: Job, message: bytes, limits: Limits, began: float) -> Outcome:
        got = self._reported(pool, worker, job, message, limits, began)
        if isinstance(got, Outcome):
            return got
        report, errors = got
        worker.defined = True
        before, (after, memory) = worker.cpu_seconds, _numbers(report.get("used"))
        worker.cpu_seconds = after
        raised = _error(report, errors, worker, job)
        if report.get("busy") or after > limits.cpu_seconds or isinstance(raised, SandboxTimeoutError):
            pool.end(worker)
        else:
            pool.give_back(worker)
        usage = ResourceUsage(time.monotonic() - began, max(0.0, after - before), memory * 1024)
        out, err = (_text(report.get(name), limits.output_bytes) for name in ("out", "err"))
        if raised is not None:
            return Outcome(None, raised, out, err, usage)
        try:
            value = self._value(report, pool, worker, job, limits)
        except SandboxError as fault:
            return Outcome(None, fault, out, err, usage)
        changed = report.get("changed")
        paths = tuple(str(path)[:200] for path in changed[:8]) if isinstance(changed, list) else ()
        return Outcome(value, None, out, err, usage, paths)

    def _value(self, report: dict[str, Any], pool: Pool, worker: Worker, job: Job, limits: Limits) -> Any:
        tree, kind = report.get("value"), report.get("kind")
        if job.describe:
            return _shape(tree)
        if kind == "generator":
            return self._generator(pool, worker, job, tree, limits)
        if kind == "async generator":
            return self._async_generator(pool, worker, job, tree, limits)
        value = decode(tree, worker.traveller.known)
        return _ready(value) if kind == "coroutine" else value

    # --- generators: they stay in their worker ---

    def _next(self, pool: Pool, worker: Worker, job: Job, payload: bytes, limits: Limits) -> tuple[bool, Any]:
        began = time.monotonic()
        if not pool.lease_same(worker):  # or raises, if it waits for who asks
            raise SandboxCrashError(
                "The process of this generator has ended: take its values before other code needs it."
            )
        message = _written(worker, None, "go on", payload, limits)
        outcome = self._exchanged(pool, worker, job, message, limits, began)
        value = outcome.result()
        if not (isinstance(value, tuple) and len(value) == 2):
            raise SandboxCrashError("The code's process sent something that is no value of a generator.")
        return bool(value[0]), value[1]

    def _generator(self, pool: Pool, worker: Worker, job: Job, number: Any, limits: Limits) -> Generator[Any, Any, Any]:
        sent: Any = None
        while True:
            ended, value = self._next(pool, worker, job, worker.traveller.dumps((number, sent)), limits)
            if ended:
                return value
            sent = yield value

    async def _async_generator(
        self, pool: Pool, worker: Worker, job: Job, number: Any, limits: Limits
    ) -> AsyncGenerator[Any, Any]:
        sent: Any = None
        while True:
            payload = worker.traveller.dumps((number, sent))
            ended, value = await self._in_thread(functools.partial(self._next, pool, worker, job, payload, limits))
            if ended:
                return
            sent = yield value


def _close(pools: dict[tuple[int, int, int], Pool]) -> None:
    for pool in list(pools.values()):
        pool.close()


def _tell_missing(report: dict[str, str | None]) -> None:
    missing = {layer: why for layer, why in report.items() if why not in (None, "switched off")}
    fresh = missing.keys() - _told_missing
    if fresh:
        _told_missing.update(fresh)
        listed = "; ".join(f"{layer} ({missing[layer]})" for layer in sorted(fresh))
        _log.warning("Code that a model wrote runs with fewer layers of protection on this machine, without %s", listed)


def _written(worker: Worker, definition: Any, action: str, payload: bytes, limits: Limits) -> bytes:
    around, traveller = worker.surroundings, worker.traveller
    updates = around.updates() if around is not None and action != "go on" else []
    sources = around.sources() if around is not None else {}
    classes, traveller.classes = traveller.classes, []
    bounds = (limits.wall_seconds, limits.cpu_seconds, limits.output_bytes, limits.value_bytes)
    return pickle.dumps((classes, sources, updates, definition, action, payload, bounds))


async def _ready(value: Any) -> Any:
    return value


def _failed(error: Exception, began: float) -> Outcome:
    return Outcome(error=error, usage=ResourceUsage(wall_seconds=time.monotonic() - began))


def _lost(error: SandboxError, end: End, worker: Worker, job: Job, began: float) -> Outcome:
    """The worker told nothing, but C code in it may have written where it was."""
    shown = worker.surroundings.shown if worker.surroundings is not None else ()
    return _failed(errors_as_data.with_traceback(error, crash_stack.places(end.told, shown), job.text, shown), began)


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


def _error(report: dict[str, Any], errors: dict[int, Exception], worker: Worker, job: Job) -> Exception | None:
    told = report.get("error")
    if told is None:
        return None
    number = report.get("host_error")
    if type(number) is int and number in errors:
        return errors[number]
    shown = worker.surroundings.shown if worker.surroundings is not None else ()
    places = told.get("places") if isinstance(told, dict) else None
    try:
        return errors_as_data.with_traceback(
            errors_as_data.error_of(told, worker.traveller.known), places, job.text, shown
        )
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError):
        return SandboxCrashError("The code's process sent an error that cannot be read.")


def _numbers(used: Any) -> tuple[float, int]:
    if isinstance(used, list) and len(used) == 2 and type(used[0]) is float and type(used[1]) is int:
        return used[0], used[1]
    return 0.0, 0


def _text(told: Any, most: int) -> str:
    return told[:most] if isinstance(told, str) else ""


def _reading(tree: Any) -> ProgramNames:
    """What a worker found in its text, before any of it ran."""
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
        kinds = ("plain", "coroutine", "generator", "async generator")
        if kind in kinds and all(len(p) == 4 and str(p[0]).isidentifier() and p[1] in range(5) for p in found):
            return Shape(kind, found, doc if isinstance(doc, str) else None)
    except (TypeError, ValueError):
        pass
    raise SandboxCrashError("The code's process sent a description of its function that cannot be read.")
