"""The executor `monty`: an interpreter in Rust, pydantic-monty, that has nothing of the host to reach for.

It runs plain functions on plain data, on every system. Imports leaves, `monty_border`, `errors_as_data`.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

from opto import errors
from opto.execution import Executor, Job, Limits, Outcome, ResourceUsage, executor_named
from opto.program import RUNNING
from opto.sandbox.monty_border import WAYS_OUT, check_plain, function_text, plain_surroundings, shape_by_syntax
from opto.sandbox.values.errors_as_data import with_traceback

__all__ = ["MontyExecutor"]

_CALL = "\n_opto_value = {wait}{name}(*_opto_args, **_opto_kwargs)\n(str(type(_opto_value)), _opto_value)"
_FINAL = (errors.SandboxTimeoutError, errors.SandboxMemoryError, errors.SandboxCrashError, SyntaxError)
_GRACE_SECONDS, _MOST_PAUSES, _LONGEST_WORDS, _KEPT = 0.5, 10_000, 10_000, 256
_STARTED: dict[str, int] = {}  # its threads are not those of a fork, which would wait for ever


class MontyExecutor(AbstractContextManager["MontyExecutor"]):
    """Runs jobs in pydantic-monty (extra `monty`): no files, no network, no environment, no processes to begin with.

    It knows a part of Python: functions, simple classes, some modules of the standard library; no generators, no
    inheritance, no numpy; arguments and results are plain data. A job that it cannot run ends in a SandboxError that
    says so. With `otherwise`, jobs that fail here, but for a limit, go to that executor, which knows better why.

    >>> from opto.sandbox import Job
    >>> with MontyExecutor() as executor:
    ...     executor.run(Job("def f(x):\\n    return x + 1", "f", (1,))).result()
    2
    """

    def __init__(
        self, limits: Limits | None = None, *, otherwise: str | Executor | None = None, workers: int = 8
    ) -> None:
        self.limits = (limits or Limits()).checked()
        if workers < 1:
            raise ValueError(f"workers is {workers}: at least one process must be there to run the code.")
        self._otherwise, self._most = otherwise, workers
        self._unable: dict[str, None] = {}
        self._lock = threading.Lock()
        self._pool: Any = None
        try:
            self._monty: Any = import_module("pydantic_monty")
        except ImportError:
            raise errors.MissingExtraError("pydantic-monty", "monty", "The executor 'monty'") from None

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        """Runs a job to its end; the code starts anew for each."""
        other = executor_named(self._otherwise) if isinstance(self._otherwise, str) else self._otherwise
        if other is not None and job.text in self._unable:
            return other.run(job, limits)
        outcome = self._run(job, self.limits if limits is None else limits.checked())
        if other is None or outcome.error is None or isinstance(outcome.error, _FINAL):
            return outcome
        return other.run(job, limits)

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        """The same without blocking the event loop."""
        return await asyncio.to_thread(self.run, job, limits)

    def close(self) -> None:
        """Ends the interpreter's processes; the next job starts others."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, job: Job, limits: Limits) -> Outcome:
        began, kept = time.monotonic(), {"stdout": "", "stderr": ""}

        def keep(stream: str, text: str) -> None:
            kept[stream] += text[: limits.output_bytes - len(kept[stream])]

        value, error = None, None
        try:
            value = self._value(job, limits, keep)
        except (self._monty.MontyError, errors.SandboxError, SyntaxError, KeyError) as raised:
            error = raised
        except (ArithmeticError, TypeError, ValueError) as raised:  # of the border
            error = errors.SandboxValueError(f"A value cannot travel between the program and monty: {raised}")
        if isinstance(error, self._monty.MontyError):  # here, lest it become the context of what it is translated to
            error = self._translated(error, job, limits, time.monotonic() - began)
        return Outcome(value, error, kept["stdout"], kept["stderr"], ResourceUsage(time.monotonic() - began))

    def _value(self, job: Job, limits: Limits, keep: Any) -> Any:
        function = function_text(job.text, job.name)
        modules, names = plain_surroundings(job, limits.value_bytes)
        times = {"max_feed_duration_secs": _seconds(limits), "max_total_sleep_secs": limits.wall_seconds}
        bounds = {**times, "max_memory": limits.memory_bytes, "max_suspensions": _MOST_PAUSES}
        with self._ready().checkout(limits=bounds, os_policy={"sleep_system_max": float("inf")}) as session:
            if modules:
                session.feed_run("".join(f"import {module} as {name}\n" for name, module in modules.items()))
            if job.describe:
                session.feed_run(function.text, inputs=names, print_callback=keep)
                return shape_by_syntax(function)
            call = _CALL.format(name=job.name, wait="await " if function.is_async else "")
            names.update(_opto_args=job.args, _opto_kwargs=dict(job.kwargs))
            kind, value = session.feed_run(function.text + call, inputs=names, print_callback=keep)
        check_plain(value, limits.value_bytes, "The result")
        if kind != str(type(value)):  # a function, say, comes as a text about it
            raise errors.SandboxValueError(f"The result, a {kind}, is not plain data")
        return value

    def _ready(self) -> Any:
        if _STARTED.setdefault("process", os.getpid()) != os.getpid():
            raise errors.SandboxError(f"monty cannot be used in a fork of a program that has used it; {WAYS_OUT}")
        with self._lock:
            if self._pool is None:
                self._pool = self._monty.Monty(max_processes=self._most, feed_duration_limit_grace=_GRACE_SECONDS)
                self._pool.__enter__()
        return self._pool

    def _translated(self, fault: Any, job: Job, limits: Limits, seconds: float) -> Exception:
        error: BaseException = fault.exception()
        crashed, late = isinstance(fault, self._monty.MontyCrashedError), seconds >= _seconds(limits)
        if isinstance(error, TimeoutError) or (crashed and late):
            words = f"The code took longer than {_seconds(limits):g} seconds." if late else str(error)
            return errors.SandboxTimeoutError(words)
        if isinstance(error, MemoryError):
            return errors.SandboxMemoryError(f"The code needed more than {limits.memory_bytes >> 20} MB of memory.")
        if isinstance(error, ImportError | NotImplementedError):
            self._unable = {**self._unable, job.text: None} if len(self._unable) < _KEPT else {job.text: None}
            return errors.SandboxError(f"monty, which knows a part of Python, cannot run this: {error}; {WAYS_OUT}")
        if crashed or not isinstance(error, Exception):
            return errors.SandboxCrashError(f"The code ended its interpreter: {error!r:.200}")
        located = isinstance(fault, self._monty.MontyRuntimeError | self._monty.MontySyntaxError)
        return _placed(error, fault.traceback() if located else [], job.text)


def _seconds(limits: Limits) -> float:
    return min(limits.wall_seconds, limits.cpu_seconds)


def _placed(error: Exception, frames: list[Any], text: str) -> Exception:
    """The error, raised where the code raised it, in these frames of monty; a long message is cut."""
    if any(len(str(argument)) > _LONGEST_WORDS for argument in error.args):
        error = type(error)(str(error)[:_LONGEST_WORDS])
    frames = [frame for frame in frames if frame.line <= text.count("\n") + 1]
    places = [[RUNNING, frame.line, frame.function_name or "<module>", frame.line] for frame in frames]
    return with_traceback(error, places, text, ())
