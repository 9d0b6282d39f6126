"""An executor that is closed while it works, in a fork of the program, or made with limits that nothing could keep."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from canary import children

from opto.errors import SandboxCrashError
from opto.execution import Executor, Job, Limits
from opto.sandbox.process import ProcessExecutor
from opto.sandbox.unsafe import UnsafeExecutor

JOB = Job("def f(x):\n    return x", "f", (1,))
LIMITS = Limits(wall_seconds=20)


class Gate:
    """A tool whose calls tell that the code runs, and wait."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.reached.set()
        self.open.wait(20)


@pytest.mark.parametrize("ends", [False, True])
def test_a_call_under_way_when_its_executor_is_closed_has_an_outcome(ends: bool) -> None:
    gate, found = Gate(), []
    text = "import time\ndef f(gate):\n    gate.wait()\n    time.sleep(20)"
    with ProcessExecutor(LIMITS, allow=[gate]) as executor:
        call = threading.Thread(target=lambda: found.append(executor.run(Job(text, "f", (gate,)))))
        call.start()
        assert gate.reached.wait(20)
        if ends:
            executor.close()
            gate.open.set()
        else:
            gate.open.set()
            executor.close()
        call.join()
        assert isinstance(found[0].error, SandboxCrashError) and "closed" in str(found[0].error)
        assert executor.run(JOB).result() == 1


def test_a_worker_given_back_after_its_executor_was_closed_serves_nobody() -> None:
    with ProcessExecutor(LIMITS) as executor:
        worker = executor._pool.lease("key", JOB.scope, executor.limits)
        executor.close()
        executor._pool.give_back(worker)
        assert worker.connection.fileno() == -1 and worker.pipe.closed
        assert executor.run(JOB).result() == 1


HELD = "from resource import *\ndef f():\n    return [getrlimit(n)[0] for n in (RLIMIT_NOFILE, RLIMIT_AS)]"


def test_one_first_process_serves_jobs_of_all_limits() -> None:
    before = children()
    with ProcessExecutor(LIMITS, workers=2) as executor:
        for files in range(20, 30):
            limits = LIMITS._replace(open_files=files, memory_bytes=files << 24)
            assert executor.run(Job(HELD, "f"), limits).result() == [files, files << 24]
        assert len(children() - before) == 1
        assert len(executor._pool._living) <= 2
    assert children() == before


def in_a_fork(act: Callable[[], Any]) -> int:
    """The exit code of a fork of this process: 7 if the act was true there, 8 if it took long."""
    child = os.fork()
    if child == 0:
        threading.Timer(20, lambda: os._exit(8)).start()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                os._exit(7 if act() else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_of_a_program_that_has_awaited_can_await() -> None:
    async def answers() -> list[Any]:
        return [outcome.value for outcome in await asyncio.gather(executor.arun(JOB), executor.arun(JOB))]

    with ProcessExecutor(LIMITS) as executor:
        assert asyncio.run(answers()) == [1, 1]
        assert in_a_fork(lambda: asyncio.run(answers()) == [1, 1]) == 7


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_of_the_program_takes_no_values_of_its_generators() -> None:
    def refused() -> bool:
        try:
            next(stream)
        except SandboxCrashError:
            return True
        return False

    with ProcessExecutor(LIMITS) as executor:
        stream = executor.run(Job("def f():\n    yield from range(9)", "f")).result()
        assert next(stream) == 0
        assert in_a_fork(refused) == 7
        assert next(stream) == 1


@pytest.mark.parametrize("workers", [0, -1])
def test_an_executor_without_workers_is_refused(workers: int) -> None:
    with pytest.raises(ValueError, match="workers"):
        ProcessExecutor(workers=workers)


@pytest.mark.parametrize("make", [ProcessExecutor, UnsafeExecutor])
def test_limits_that_nothing_could_keep_are_refused(make: Callable[..., Executor]) -> None:
    executor = make()
    for name, given in {"wall_seconds": 0, "cpu_seconds": float("nan"), "memory_bytes": -1, "open_files": None}.items():
        with pytest.raises(ValueError, match=f"Limits.{name} is {given!r}"):
            make(Limits()._replace(**{name: given}))
        with pytest.raises(ValueError, match=f"Limits.{name}"):
            executor.run(JOB, Limits()._replace(**{name: given}))


@pytest.mark.parametrize("make", [ProcessExecutor, UnsafeExecutor])
def test_limits_may_be_endless_and_no_whole_numbers(make: Callable[..., Any]) -> None:
    executor = make(Limits(float("inf"), 1e30, memory_bytes=1e9))
    assert executor.run(JOB).result() == 1
    assert executor.limits.memory_bytes == 10**9
    assert executor.run(JOB, Limits(memory_bytes=10**30)).result() == 1
    executor.close() if hasattr(executor, "close") else None


def test_with_the_fewest_files_all_layers_hold() -> None:
    with ProcessExecutor() as usual, ProcessExecutor(Limits(open_files=16)) as few:
        assert few.layers() == usual.layers()
