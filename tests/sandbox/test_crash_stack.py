"""Code that is ended while no Python runs in it, and code that crashes, is told the line all the same."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

import pytest

from opto.errors import ExecutionError, SandboxCrashError, SandboxError, SandboxTimeoutError
from opto.execution import Job, Limits, Scope, SuggestedText, using
from opto.program import RUNNING
from opto.sandbox.process import ProcessExecutor
from opto.sandbox.worker import crash_stack
from opto.trace import bundle

SHORT = Limits(wall_seconds=0.3)
ENDLESS = {
    "a match": "re.match('(a+)+$', 'a' * 40 + 'b')",
    "a power": "3 ** 10**9",
    "a sum": "sum(range(10**12))",
    "a read": "os.read(os.pipe()[0], 1)",
    "a lock": "two()",
    "a sleep": "time.sleep(60)",
}


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(SHORT) as made:
        yield made


def lock_twice() -> None:
    import threading

    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def lines(error: BaseException | None) -> list[tuple[str, int | None]]:
    assert error is not None
    return [(frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("what", ENDLESS)
def test_line_at_which_time_ran_out(what: str, executor: ProcessExecutor) -> None:
    text = f"import os, re, time\ndef f():\n    x = 1\n    return g(x)\ndef g(x):\n    return {ENDLESS[what]}"
    error = executor.run(Job(text, "f", scope=Scope({"two": lock_twice}, __name__))).error
    assert isinstance(error, SandboxTimeoutError) and "0.3 seconds" in str(error)
    assert ("f", 4) in lines(error) and ("g", 6) in lines(error)
    assert error.__context__ is None


def test_line_of_a_helper_function_of_the_program(executor: ProcessExecutor) -> None:
    error = executor.run(Job("def f():\n    helper()", "f", scope=Scope({"helper": lock_twice}, __name__))).error
    assert ("lock_twice", lock_twice.__code__.co_firstlineno + 5) in lines(error)


def test_line_of_a_crash(executor: ProcessExecutor) -> None:
    error = executor.run(Job("import ctypes\ndef f():\n    x = 0\n    ctypes.string_at(x)", "f")).error
    assert isinstance(error, SandboxCrashError) and ("f", 4) in lines(error)


def test_line_at_which_cpu_time_ran_out(executor: ProcessExecutor) -> None:
    job = Job("def f():\n    y = 1\n    return sum(range(10**12))", "f")
    error = executor.run(job, Limits(wall_seconds=60, cpu_seconds=0.01)).error
    assert isinstance(error, SandboxTimeoutError) and "CPU" in str(error) and ("f", 3) in lines(error)


def test_a_call_that_may_use_more_cpu_time_than_others_may() -> None:
    text = "import time\ndef f(n):\n    while time.process_time() < n: pass\n    return n"
    with ProcessExecutor(Limits(wall_seconds=60, cpu_seconds=0.01)) as executor:
        assert executor.run(Job(text, "f", (0,))).result() == 0
        assert executor.run(Job(text, "f", (2.2,)), Limits(wall_seconds=60, cpu_seconds=5)).result() == 2.2


def test_feedback_marks_the_line() -> None:
    @bundle(trainable=True)
    def count(n: int) -> int:
        """Counts."""
        return n

    assert count.parameter is not None
    count.parameter._data = SuggestedText("def count(n):\n    total = 0\n    return sum(range(n))")
    with ProcessExecutor(SHORT) as executor, using(executor), pytest.raises(ExecutionError) as caught:
        count(10**12)
    assert "return sum(range(n)) <--- (SandboxTimeoutError)" in str(caught.value.exception_node.info)


def test_code_that_swallows_its_end_is_told_where_it_was(executor: ProcessExecutor) -> None:
    body = "try:\n            sum(range(10**12))\n        except BaseException:\n            pass"
    text = f"def f():\n    while True:\n        {body}"
    error = executor.run(Job(text, "f")).error
    assert isinstance(error, SandboxTimeoutError) and ("f", 4) in lines(error)


def test_forged_words_show_nothing_of_the_program(executor: ProcessExecutor) -> None:
    forger = """
def f(words):
    import os
    for number in range(3, 64):
        try:
            os.write(number, words)
        except OSError:
            pass
    os._exit(1)
"""
    frames = f'  File "/etc/passwd", line 1 in root\n  File "{RUNNING}", line 999999 in {"x" * 100_000}\n'
    for words in (frames.encode(), b"\xff" * 100_000, frames.encode() * 50):
        error = executor.run(Job(forger, "f", (words,))).error
        assert isinstance(error, SandboxError)
        shown = "".join(traceback.format_exception(error))
        assert "root:" not in shown and len(shown) < 100_000
    assert executor.run(Job("def f():\n    return 7", "f")).result() == 7


def test_the_last_stack_with_a_line_of_the_text_counts() -> None:
    def stack(*frames: tuple[str, int, str]) -> str:
        words = "".join(f'  File "{file}", line {line} in {name}\n' for file, line, name in frames)
        return "Stack (most recent call first):\n" + words

    told = stack((RUNNING, 3, "f")) + stack(("m.py", 14, "h"), (RUNNING, 5, "f")) + stack(("worker.py", 96, "answer"))
    shown = {("m.py", 10, "h"), ("m.py", 2, "h"), ("m.py", 20, "h"), ("n.py", 12, "h")}
    assert crash_stack.places(told.encode(), shown) == [[RUNNING, 5, "f", 5], ["m.py", 10, "h", 14]]
    assert crash_stack.places(re.sub("line", "Zeile", told).encode(), shown) == []


def test_endless_words_are_read_soon() -> None:
    assert crash_stack.places(b'  File "x", line 1 in ' * 3000, ()) == []
