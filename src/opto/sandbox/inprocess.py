"""The executors that run code in the program itself, with live objects. Both must be chosen; neither holds an attacker.

`inprocess` refuses texts by `policy`, puts `guards` around what they reach for and stops calls that last too long
where that is possible; `unsafe` does nothing. Imports `runner`, `policy`, `guards`, `watchdog`.
"""

from __future__ import annotations

import asyncio
import decimal
import functools
import inspect
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from opto.execution import Job, Limits, Outcome, Usage
from opto.program import DEFINE, TEXT
from opto.sandbox import policy
from opto.sandbox.guards import Guards
from opto.sandbox.plain import check_length
from opto.sandbox.runner import Running, shape_of, wanted_names
from opto.sandbox.shown import MODULES
from opto.sandbox.watchdog import awaitable, too_long, watched, within

__all__ = ["InProcessExecutor", "UnsafeExecutor"]

_KEPT = 256
_ABSENT = object()


class UnsafeExecutor:
    """Runs jobs in the program, with all its rights: they can read its keys, delete its files and never end."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = (limits or Limits()).checked()
        self._known: dict[Any, Running] = {}

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        """Defines and calls; what is printed is not kept."""
        return self._run(job, self.limits if limits is None else limits.checked())

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        """The same; a coroutine function is awaited here."""
        limits = self.limits if limits is None else limits.checked()
        outcome = self._run(job, limits)
        if inspect.iscoroutine(outcome.value):
            return await self._awaited(outcome.value, limits)
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
            if value is not _ABSENT:
                running.put(name, value)
            elif name in running.around:  # what `import *` brought is not ours to take
                running.take(name)
        function = running.function()
        return shape_of(function) if job.describe else function(*job.args, **job.kwargs)

    def _running(self, job: Job) -> Running:
        scope = job.scope
        key = (job.text, job.name, id(scope.names), scope.module, scope.flags, scope.owner)
        running = self._known.get(key)
        if running is None:
            running = self._brought(job)
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)), None)
            self._known[key] = running
        return running

    def _brought(self, job: Job) -> Running:
        scope = job.scope
        return Running(job.text, job.name, module=scope.module, flags=scope.flags, owner=scope.owner)


class InProcessExecutor(UnsafeExecutor):
    """Runs jobs in the program, for code that must touch live objects. It stops mistakes, not attacks.

    A text may import only modules that compute, and sees of them what does not lead out; `modules` adds to them, with
    their dots: `["pandas"]`. It may not use what reaches around: `eval`, `open`, frames, the insides of classes. What
    it is given are the program's own objects, whole. A call that lasts longer than `limits.wall_seconds` gets a
    SandboxTimeoutError as soon as it runs Python.
    """

    def __init__(self, limits: Limits | None = None, *, modules: Collection[str] = ()) -> None:
        super().__init__(limits)
        self._modules = MODULES | set(modules)

    def _brought(self, job: Job) -> Running:
        check_length(job.text)
        policy.check(job.text, self._modules)
        return _Guarded(job, Guards(self._modules))

    def _value(self, job: Job, limits: Limits) -> Any:
        with decimal.localcontext():  # honest code sets its precision
            value = within(limits.wall_seconds, functools.partial(super()._value, job, limits))
        return watched(value, limits.wall_seconds) if inspect.isgenerator(value) else value

    async def _awaited(self, coroutine: Any, limits: Limits) -> Outcome:
        awaited = super()._awaited(awaitable(coroutine, limits.wall_seconds), limits)
        try:
            return await asyncio.wait_for(awaited, limits.wall_seconds)
        except TimeoutError:
            return Outcome(error=too_long(limits.wall_seconds))


class _Guarded(Running):
    """A text that is run with guards."""

    def __init__(self, job: Job, guards: Guards) -> None:
        scope = job.scope
        super().__init__(job.text, job.name, module=scope.module, flags=scope.flags, owner=scope.owner)
        self._guards = guards
        self._inside = scope.owner is not None and "super" in self.program.reads
        self.program = self.program._replace(code=policy.guarded(job.text, scope.flags, self._inside, guards.star))

    def put(self, name: str, value: Any) -> None:
        super().put(name, self._guards.given(value))

    def _define(self) -> Callable[..., Any]:
        namespace = self._namespace = {**self.around, TEXT: self.text}
        namespace.update(__builtins__=self._guards.builtins, __name__=self.module)
        exec(self.program.code, namespace)
        if self._inside:
            namespace.update(namespace.pop(DEFINE)(self.owner))
        if self.name not in self.program.writes:
            raise KeyError(self.name)
        defined = namespace[self.name]
        function: Callable[..., Any] = getattr(defined, "__func__", defined)  # of a static or class method
        return function
