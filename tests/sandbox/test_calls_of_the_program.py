"""Allowed objects of the program, called from the sandbox: by threads at once, and while code there runs code here."""

from __future__ import annotations

import functools
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from opto.errors import SandboxForbiddenError
from opto.execution import Job, Limits
from opto.llm import Budget, ScriptedLLM
from opto.sandbox.process import ProcessExecutor

LIMITS = Limits(wall_seconds=20)


class Echo:
    def say(self, word: Any) -> Any:
        return word


def test_each_thread_gets_its_own_answer() -> None:
    text = """
from concurrent.futures import ThreadPoolExecutor

def f(tool):
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(tool.say, range(200)))
"""
    echo = Echo()
    with ProcessExecutor(LIMITS, allow=[echo]) as executor:
        assert executor.run(Job(text, "f", (echo,))).result() == list(range(200))


class Kit:
    made = dict

    def __init__(self) -> None:
        self.inner = Echo().say

    @property
    def given(self) -> Any:
        return self.inner

    @functools.cached_property
    def kept(self) -> Any:
        return self.inner

    @classmethod
    def of_class(cls, word: str) -> str:
        return word

    @staticmethod
    def of_nobody(word: str) -> str:
        return word

    def mine(self, word: str) -> str:
        return word

    part = functools.partialmethod(mine)

    def __getattr__(self, name: str) -> Any:
        if name != "found":
            raise AttributeError(name)
        return self.inner


def test_what_an_allowed_object_holds_is_not_allowed() -> None:
    kit, part = Kit(), functools.partial(Echo.say, None)
    held = [(kit, "inner"), (kit, "given"), (kit, "kept"), (kit, "made"), (part, "func")]
    spaces = SimpleNamespace(tool=kit.mine)
    own = [(kit, "mine"), (kit, "of_class"), (kit, "of_nobody"), (kit, "part"), (kit, "found"), (spaces, "tool")]
    text = "def f(tool, name):\n    return getattr(tool, name)('word')"
    with ProcessExecutor(LIMITS, allow=[kit, part, spaces]) as executor:
        for tool, name in held:
            error = executor.run(Job(text, "f", (tool, name))).error
            assert isinstance(error, SandboxForbiddenError) and f"{name!r} is no method" in str(error)
        assert [executor.run(Job(text, "f", case)).value for case in own] == ["word"] * len(own)


def test_a_budget_holds_for_code_in_the_sandbox() -> None:
    llm = Budget(calls=1).wrap(ScriptedLLM(["first", "second"]))
    text = "def f(llm):\n    return [ask([{'role': 'user', 'content': ''}]).text for ask in (llm, llm.llm)]"
    with ProcessExecutor(LIMITS, allow=[llm]) as executor, pytest.raises(SandboxForbiddenError):
        executor.run(Job(text, "f", (llm,))).result()


class Nested:
    """Runs code in the sandbox when code in the sandbox calls it."""

    def __init__(self) -> None:
        self.executor: ProcessExecutor | None = None
        self.stream: Any = None

    def double(self, n: int) -> int:
        assert self.executor is not None
        result: int = self.executor.run(Job("def g(n):\n    return 2 * n", "g", (n,))).result()
        return result

    def again(self, n: int) -> Any:
        assert self.executor is not None
        return self.executor.run(Job("def f(tool, n):\n    return tool.again(n + 1)", "f", (self, n))).result()

    def next(self) -> Any:
        return next(self.stream)


def test_a_tool_may_run_code_in_a_sandbox_that_is_full() -> None:
    nested = Nested()
    with ProcessExecutor(LIMITS, allow=[nested], workers=1) as executor:
        nested.executor = executor
        assert executor.run(Job("def f(tool):\n    return tool.double(4)", "f", (nested,))).result() == 8


def test_calls_to_and_fro_without_end_are_refused() -> None:
    nested = Nested()
    with ProcessExecutor(LIMITS, allow=[nested], workers=2) as executor:
        nested.executor = executor
        outcome = executor.run(Job("def f(tool, n):\n    return tool.again(n + 1)", "f", (nested, 0)))
        assert "called each other" in str(outcome.error)
        assert executor.run(Job("def f():\n    return 1", "f")).result() == 1


def test_a_generator_that_waits_for_itself_is_told_so() -> None:
    nested = Nested()
    with ProcessExecutor(LIMITS, allow=[nested]) as executor:
        nested.stream = executor.run(Job("def f(tool):\n    yield 1\n    yield tool.next()", "f", (nested,))).result()
        assert next(nested.stream) == 1
        with_error = []
        try:
            next(nested.stream)
        except Exception as error:
            with_error.append(str(error))
    assert with_error and "already" in with_error[0]


def test_each_worker_may_have_all_its_threads() -> None:
    """What one has started is not counted against another."""

    class Meeting:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(2, timeout=20)

        def wait(self) -> bool:
            return self.barrier.wait() >= 0

    text = """
import threading

def f(meeting, n):
    release = threading.Event()
    threads = [threading.Thread(target=release.wait) for _ in range(n)]
    for thread in threads:
        thread.start()
    met = meeting.wait()
    release.set()
    for thread in threads:
        thread.join()
    return met
"""
    meeting = Meeting()
    limits = Limits(wall_seconds=20, processes=8)
    with ProcessExecutor(limits, allow=[meeting]) as executor:
        found: list[Any] = []
        calls = [
            threading.Thread(target=lambda n=n: found.append(executor.run(Job(f"{text}# {n}", "f", (meeting, 8)))))
            for n in range(2)
        ]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
    assert [outcome.result() for outcome in found] == [True, True]


def test_nobody_raises_when_the_first_process_is_killed() -> None:
    job = Job("def f():\n    return 1", "f")
    with ProcessExecutor(LIMITS, workers=1) as executor:
        assert executor.run(job).result() == 1
        first = executor._pool._first
        assert first is not None
        first._process.kill()
        first._process.wait()
        assert executor.run(job).result() == 1
