"""The executor `monty`: what it can run gives what it gives here; for the rest it says so, or hands over."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import json  # noqa: F401 - the texts see it
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from campaign import attack, belongings, left_behind
from canary import watch_process
from honest import FUNCTIONS
from hostile import load_corpus
from trial import MODEST

from opto.errors import (
    MissingExtraError,
    SandboxCrashError,
    SandboxError,
    SandboxMemoryError,
    SandboxTimeoutError,
    SandboxValueError,
)
from opto.execution import Executor, Job, Limits, Outcome, Scope, SuggestedText, executor_named, using
from opto.sandbox.monty import MontyExecutor
from opto.trace import ExecutionError, bundle

ROOMY = Limits(wall_seconds=30, cpu_seconds=30, memory_bytes=1 << 28, value_bytes=1 << 16)
SHORT = Limits(wall_seconds=0.2, memory_bytes=1 << 28)
RATE = {"x": [3]}
RUNS = {"documents", "dates", "chance", "patterns", "builtin_names", "solver"}


@pytest.fixture(scope="module")
def monty() -> Iterator[MontyExecutor]:
    with MontyExecutor(ROOMY) as executor:
        yield executor


def run(executor: Executor, text: str, *args: Any, limits: Limits | None = None, **kwargs: Any) -> Outcome:
    return executor.run(Job(text, "f", args, kwargs, Scope(globals(), __name__)), limits)


class Other:
    """Runs what is handed over, and remembers."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        self.jobs.append(job)
        return executor_named("unsafe").run(job, limits)

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        return self.run(job, limits)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_honest_code_is_right_here_or_elsewhere(function: Callable[..., Any]) -> None:
    other = Other()
    with MontyExecutor(ROOMY, otherwise=other) as executor:
        assert executor.run(Job(inspect.getsource(function), function.__name__)).result() == function()
    assert bool(other.jobs) == (function.__name__ not in RUNS)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 10**3999, -1.5, float("inf"), "ü\x00", b"\x00\xff", (1, (2,)), {1, 2}, frozenset("a"), 1 + 2j,
        {1: "x", (2, 3): None}, [[], {}], Decimal("1.10"), datetime.datetime(2024, 1, 2, 3),
        datetime.timedelta(days=1, seconds=2), datetime.date(2024, 1, 2), datetime.time(1, 2),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_come_back_as_they_went(monty: MontyExecutor, value: Any) -> None:
    back = run(monty, "def f(x):\n    return x", value).result()
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("value", [Counter("a"), deque([1]), object(), 10**4000, len, {"a": [Other]}], ids=repr)
def test_other_values_do_not_travel(monty: MontyExecutor, value: Any) -> None:
    error = run(monty, "def f(y, x):\n    return x", 1, value).error
    assert isinstance(error, SandboxValueError) and "argument 2" in str(error) and "otherwise=" in str(error)


@pytest.mark.parametrize(
    "body", ["lambda: 1", "A()", "[A()]", "print", "10 ** 5000", "[0] * 10**5", "nest()", "share()"]
)
def test_nothing_but_plain_data_comes_out(monty: MontyExecutor, body: str) -> None:
    assert isinstance(run(monty, f"{SHAPES}    return {body}").error, SandboxValueError)


SHAPES = """
class A:
    x = 1
def nest():
    a = []
    for _ in range(1000):
        a = [a]
    return a
def share():
    a = [0] * 9
    for _ in range(20):
        a = [a] * 9
    return a
def f():
"""


def test_globals_modules_and_the_kinds_of_arguments(monty: MontyExecutor) -> None:
    text = "def f(a, /, b=2, *rest, c, **more):\n    return json.dumps(RATE), a, b, rest, c, more"
    assert run(monty, text, 1, 5, 6, c=3, d=4).result() == ('{"x": [3]}', 1, 5, (6,), 3, {"d": 4})
    helper = run(monty, "def f():\n    return run(1)").error
    assert isinstance(helper, SandboxValueError) and "The global run is or holds a function" in str(helper)


def test_calls_share_nothing(monty: MontyExecutor) -> None:
    text = "seen = []\ndef f(x, more=[]):\n    seen.append(x)\n    more.append(x)\n    return len(seen + more)"
    assert [run(monty, text, 1).result() for _ in range(3)] == [2, 2, 2]


async def test_coroutines(monty: MontyExecutor) -> None:
    job = Job("import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1", "f", (1,))
    assert (await monty.arun(job)).result() == monty.run(job).result() == 2
    text = "def f(x):\n    return sum(range(x))"
    found = await asyncio.gather(*(monty.arun(Job(text, "f", (i,))) for i in range(50)))
    assert [outcome.result() for outcome in found] == [sum(range(i)) for i in range(50)]


def test_a_shape_tells_how_a_function_is_called(monty: MontyExecutor) -> None:
    text = "async def f(a, b=2, /, *rest, c=len, d, **more):\n    'Doc.'"
    shape = monty.run(Job(text, "f", describe=True)).result()
    expected = executor_named("unsafe").run(Job(text, "f", describe=True)).result()
    assert shape.kind == "coroutine" and shape.doc == "Doc."
    assert [p[:3] for p in shape.parameters] == [p[:3] for p in expected.parameters]
    assert repr(shape.parameters[3][3]) == "<default>" and shape.parameters[1][3] == 2


def test_what_is_printed_is_kept_up_to_a_limit(monty: MontyExecutor) -> None:
    outcome = run(monty, "def f(n):\n    print('a' * n)", 100, limits=Limits(output_bytes=10))
    assert outcome.stdout == "a" * 10


@pytest.mark.parametrize("value", ["'a' * n", "b'a' * n", "['a' * n]", "{'a' * n: 1}"])
def test_a_result_is_bounded_by_its_bytes(monty: MontyExecutor, value: str) -> None:
    text, limits = f"def f(n):\n    return {value}", Limits(value_bytes=1000)
    assert run(monty, text, 900, limits=limits).error is None
    outcome = run(monty, text, 1001, limits=limits)
    assert isinstance(outcome.error, SandboxValueError) and "1000 bytes" in str(outcome.error)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("while True: pass", SandboxTimeoutError, "0.2 seconds"),
        ("import time; time.sleep(9)", SandboxTimeoutError, ""),
        ("sorted(range(10**8))", (SandboxTimeoutError, SandboxMemoryError), ""),
        ("'a' * 10**11", SandboxMemoryError, "256 MB"),
        ("raise KeyboardInterrupt('no')", SandboxCrashError, "KeyboardInterrupt"),
        ("raise ValueError('x' * 10**6)", ValueError, "xxx"),
        ("open('/etc/passwd')", PermissionError, "/etc/passwd"),
        ("import os; return os.environ", RuntimeError, "environ"),
        ("import socket", SandboxError, 'using("process")'),
        ("yield 1", SandboxError, 'otherwise="process"'),
        ("return f(x)", RecursionError, "recursion"),
        ("1 / 0", ZeroDivisionError, "division by zero"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else None,
)
def test_failures_say_what_happened(monty: MontyExecutor, body: str, kind: Any, words: str) -> None:
    error = run(monty, f"def f(x=1):\n    {body}", limits=SHORT).error
    assert isinstance(error, kind) and words in str(error) and len(str(error)) <= 10_000


def test_an_error_shows_the_line_of_the_text() -> None:
    where.parameter._data = SuggestedText(
        "def where(x):\n    y = x\n    return inner(y)\ndef inner(y):\n    return y / 0"
    )
    with using("monty"), pytest.raises(ExecutionError) as caught:
        where(1)
    assert caught.value.exception_node.data == "(ZeroDivisionError) division by zero"
    assert "return y / 0 <--- (ZeroDivisionError)" in caught.value.exception_node.info["error_comment"]


@bundle(trainable=True)
def where(x):
    return x


@pytest.mark.parametrize(
    ("text", "kind"),
    [("def f(:", SyntaxError), ("def g(): pass", KeyError), ("f = 3", SandboxError), ("#" * 20_000, SandboxValueError),
     ("def f():\n    return " + "(" * 500 + ")" * 500, (SandboxValueError, SyntaxError))],
    ids=["syntax", "other name", "no def", "too long", "too deep"],
)  # fmt: skip
def test_texts_that_cannot_be_run(monty: MontyExecutor, text: str, kind: Any) -> None:
    assert isinstance(run(monty, text).error, kind)


def test_what_fails_is_handed_over_but_for_limits() -> None:
    other = Other()
    with MontyExecutor(SHORT, otherwise=other) as executor:
        assert run(executor, "import string\ndef f():\n    return string.digits").result() == "0123456789"
        assert isinstance(run(executor, "def f(x):\n    return x.size", (1,)).error, AttributeError)
        assert len(other.jobs) == 2
        assert isinstance(run(executor, "def f():\n    while True: pass").error, SandboxTimeoutError)
        assert len(other.jobs) == 2
    assert executor_named("monty") is executor_named("monty")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_of_the_program_is_told(monty: MontyExecutor) -> None:
    assert run(monty, "def f():\n    return 1").result() == 1
    child = os.fork()
    if child == 0:
        error = run(monty, "def f():\n    return 1").error
        os._exit(7 if "in a fork" in str(error) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(MissingExtraError, match=r"opto-trace\[monty\]"):
        MontyExecutor()


def test_honest_calls_are_right_among_hostile_ones() -> None:
    with MontyExecutor(SHORT) as executor, ThreadPoolExecutor(8) as threads:
        texts = ["def f(x):\n    return x * 2", "def f(x):\n    while True: pass"]
        roomy = Limits(wall_seconds=30, cpu_seconds=30)
        jobs = [(Job(texts[i % 2], "f", (i,)), SHORT if i % 2 else roomy) for i in range(16)]
        found = list(threads.map(lambda each: executor.run(*each), jobs))
    assert all(found[i].value == 2 * i for i in range(0, 16, 2))
    assert all(isinstance(found[i].error, SandboxTimeoutError) for i in range(1, 16, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="the canary looks where Linux tells")
def test_hostile_functions_are_contained() -> None:
    watch_process()
    before = belongings()
    entries = [entry for entry in load_corpus() if entry.theme == "library"]
    verdicts = attack(entries, lambda: MontyExecutor(workers=2), 2, text=MODEST, any_end=True)
    assert {name: verdict for name, verdict in verdicts.items() if not verdict.contained} == {}
    assert left_behind(before) == {}
