"""The executor `unsafe`: runs code in the program itself, with all its rights. Imports `live_program`."""

from __future__ import annotations

import inspect
import time
from typing import Any

from opto.execution import Job, Limits, Outcome, ResourceUsage
from opto.sandbox.worker.live_program import LiveProgram, shape_of, wanted_names

__all__ = ["UnsafeExecutor"]

_MOST_PROGRAMS = 256
_ABSENT = object()


class UnsafeExecutor:
    """Runs jobs in the program, with all its rights: they can read its keys, delete its files and never end.

    For code that you have read. `limits` are checked and not kept; what is printed is not kept either.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = (limits or Limits()).checked()
        self._programs: dict[Any, LiveProgram] = {}

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        """Defines and calls the function."""
        if limits is not None:
            limits.checked()
        began, cpu = time.monotonic(), time.thread_time()
        value, error = None, None
        try:
            value = self._value(job)
        except Exception as raised:  # noqa: BLE001 - the error is the outcome
            error = raised
        return Outcome(value, error, usage=ResourceUsage(time.monotonic() - began, time.thread_time() - cpu))

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        """The same; a coroutine function is awaited here."""
        outcome = self.run(job, limits)
        if not inspect.iscoroutine(outcome.value):
            return outcome
        began = time.monotonic()
        value, error = None, None
        try:
            value = await outcome.value
        except Exception as raised:  # noqa: BLE001 - the error is the outcome
            error = raised
        return Outcome(value, error, usage=ResourceUsage(time.monotonic() - began))

    def _value(self, job: Job) -> Any:
        live, names = self._live_program(job), job.scope.names
        for name in wanted_names(live.program, job.scope):
            value = names.get(name, _ABSENT)
            if value is not _ABSENT:
                live.put(name, value)
            elif name in live.around:  # a name that `import *` brought stays
                live.take(name)
        function = live.function()
        return shape_of(function) if job.describe else function(*job.args, **job.kwargs)

    def _live_program(self, job: Job) -> LiveProgram:
        scope = job.scope
        key = (job.text, job.name, id(scope.names), scope.module, scope.flags, scope.owner)
        live = self._programs.get(key)
        if live is None:
            live = LiveProgram(job.text, job.name, module=scope.module, flags=scope.flags, owner=scope.owner)
            if len(self._programs) >= _MOST_PROGRAMS:
                self._programs.pop(next(iter(self._programs)), None)
            self._programs[key] = live
        return live
