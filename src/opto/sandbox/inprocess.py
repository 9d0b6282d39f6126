"""The executors that run code in the program itself, with live objects. Both must be chosen; neither holds an attacker.

`inprocess` refuses texts by `policy` and stops calls that last too long where that is possible; `unsafe` does nothing.
Imports `runner`, `policy`.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from opto.errors import SandboxTimeoutError
from opto.execution import Job, Limits, Outcome, Usage
from opto.sandbox import policy
from opto.sandbox.runner import Running, shape_of, wanted_names

__all__ = ["InProcessExecutor", "UnsafeExecutor"]

_KEPT = 256
_ABSENT = object()


class UnsafeExecutor:
    """Runs jobs in the program, with all its rights: they can read its keys, delete its files and never end."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._known: dict[Any, Running] = {}

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        """Defines and calls; what is printed is not kept."""
        return self._run(job, limits or self.limits)

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        """The same; a coroutine function is awaited here."""
        outcome = self._run(job, limits or self.limits)
        if inspect.iscoroutine(outcome.value):
            return await self._awaited(outcome.value, limits or self.limits)
        return outcome

    async def _awaited(self, coroutine: Any, limits: Limits) -> Outcome:
        began = time.monotonic()
        try:
            return Outcome(await coroutine, usage=Usage(time.monotonic() - began))
        except Exception as error:  # noqa: BLE001 - it is the outcome
            return Outcome(error=error, usage=Usage(time.monotonic() - began))

    def _run(self, job: Job, limits: Limits) -> Outcome:
        began, cpu = time.monotonic(), time.thread_time()
        try:
            value = self._value(job, limits)
        except Exception as error:  # noqa: BLE001 - it is the outcome
            return Outcome(error=error, usage=Usage(time.monotonic() - began, time.thread_time() - cpu))
        return Outcome(value, usage=Usage(time.monotonic() - began, time.thread_time() - cpu))

    def _value(self, job: Job, limits: Limits) -> Any:
        running = self._running(job)
        names: Mapping[str, Any] = job.scope.names
        for name in wanted_names(running.program, job.scope):
            value = names.get(name, _ABSENT)
            if value is _ABSENT:
                running.take(name)
            else:
                running.put(name, value)
        function = running.function()
        return shape_of(function) if job.describe else function(*job.args, **job.kwargs)

    def _running(self, job: Job) -> Running:
        scope = job.scope
        key = (job.text, job.name, id(scope.names), scope.module, scope.flags, scope.owner)
        running = self._known.get(key)
        if running is None:
            running = Running(job.text, job.name, module=scope.module, flags=scope.flags, owner=scope.owner)
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)), None)
            self._known[key] = running
        return running


class InProcessExecutor(UnsafeExecutor):
    """Runs jobs in the program, for code that must touch live objects. It stops mistakes, not attacks.

    A text may import only modules that compute, and may not use what reaches around: `eval`, `open`, frames, classes'
    insides. A call that lasts longer than `limits.wall_seconds` gets a SandboxTimeoutError, as soon as it runs Python.
    """

    def _value(self, job: Job, limits: Limits) -> Any:
        policy.check(job.text)
        with _watchdog(limits.wall_seconds):
            return super()._value(job, limits)

    async def _awaited(self, coroutine: Any, limits: Limits) -> Outcome:
        try:
            return await asyncio.wait_for(super()._awaited(coroutine, limits), limits.wall_seconds)
        except asyncio.TimeoutError:
            return Outcome(error=SandboxTimeoutError(f"The code took longer than {limits.wall_seconds:g} seconds."))


@contextmanager
def _watchdog(seconds: float) -> Generator[None]:
    """Raises SandboxTimeoutError in this thread if the block lasts longer."""
    thread, lock, over = threading.get_ident(), threading.Lock(), [False]

    def bark() -> None:
        with lock:
            if not over[0]:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Bark))

    timer = threading.Timer(seconds, bark)
    timer.daemon = True
    timer.start()
    try:
        yield
    except _Bark:
        raise SandboxTimeoutError(f"The code took longer than {seconds:g} seconds.") from None
    finally:
        with lock:
            over[0] = True
        timer.cancel()


class _Bark(BaseException):
    """Not an Exception, so that code which swallows those does not swallow this."""
