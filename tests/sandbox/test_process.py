"""The executor `process`: honest code gets its values, failing code becomes an error that says what and where."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opto.errors import (
    SandboxCrashError,
    SandboxError,
    SandboxForbiddenError,
    SandboxMemoryError,
    SandboxTimeoutError,
    SandboxValueError,
)
from opto.sandbox import Job, Limits, Outcome, Scope
from opto.sandbox.process import ProcessExecutor

RATE = 3
SHORT = Limits(wall_seconds=0.3)
ROOMY = Limits(wall_seconds=30, cpu_seconds=30, value_bytes=1 << 16)
CROWDED = Limits(wall_seconds=1)


def helper(x: int) -> int:
    return x * RATE


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0

    def norm(self) -> int:
        return helper(self.x) + self.y


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    with ProcessExecutor() as made:
        yield made


def here() -> Scope:
    return Scope(globals(), __name__)


def run(executor: ProcessExecutor, text: str, *args: Any, limits: Limits | None = None, **kwargs: Any) -> Outcome:
    return executor.run(Job(text, "f", args, kwargs, here()), limits)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 10**5000, -1.5, float("inf"), "ü\ud800", b"\x00\xff", (1, (2,)), {1, 2}, frozenset("a"), 1 + 2j,
        {"$a": 1}, {1: "x", (2, 3): None}, [[], {}], range(3), Decimal("1.10"), datetime.datetime(2024, 1, 2, 3),
        Point(1, 2), datetime.timedelta(days=1, seconds=2), bytearray(b"x"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_come_back_as_they_went(executor: ProcessExecutor, value: Any) -> None:
    back = run(executor, "def f(x):\n    return x", value).result()
    assert back == value and type(back) is type(value)


def test_arrays_come_back(executor: ProcessExecutor) -> None:
    back = run(executor, "def f(x):\n    return x * 2, x.sum()", np.arange(6.0).reshape(2, 3)).result()
    assert np.array_equal(back[0], np.arange(6.0).reshape(2, 3) * 2) and back[1] == 15.0


def test_code_sees_helpers_constants_classes_and_imports(executor: ProcessExecutor) -> None:
    text = (
        "import math\ndef f(x):\n    return math.floor(helper(x)) + RATE + Point(x, 1).norm() + inner(2)\n"
        "def inner(n):\n    return n if n < 1 else inner(n - 1)"
    )
    assert run(executor, text, 2).result() == 6 + 3 + 7 + 0


def test_globals_are_those_of_the_moment(executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    text, scope = "def f(x):\n    return helper(x), RATE", here()
    job = Job(text, "f", (2,), scope=scope)
    assert executor.run(job).result() == (6, 3)
    monkeypatch.setitem(globals(), "RATE", 5)
    assert executor.run(job).result() == (10, 5)


def test_closures_defaults_and_keywords(executor: ProcessExecutor) -> None:
    text = (
        "def f(a, /, b=2, *rest, c, **more):\n    k = a\n    def inner():\n        return k\n"
        "    return inner(), b, rest, c, more"
    )
    assert run(executor, text, 1, 5, 6, c=3, d=4).result() == (1, 5, (6,), 3, {"d": 4})


def test_generators_give_one_value_at_a_time(executor: ProcessExecutor) -> None:
    text = "def f(n):\n    got = yield 0\n    while True:\n        got = yield (got or 0) + n"
    stream = run(executor, text, 10).result()
    assert next(stream) == 0 and stream.send(5) == 15 and next(stream) == 10
    ended = run(executor, "def f(n):\n    yield from range(n)\n    return 'end'", 3).result()
    assert list(ended) == [0, 1, 2]


async def test_coroutines_and_async_generators(executor: ProcessExecutor) -> None:
    text = "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1"
    assert (await executor.arun(Job(text, "f", (1,)))).result() == 2
    made = (await executor.arun(Job("async def f(n):\n    for i in range(n):\n        yield i", "f", (3,)))).result()
    assert [i async for i in made] == [0, 1, 2]


def test_a_shape_tells_how_a_function_is_called(executor: ProcessExecutor) -> None:
    job = Job("async def f(a, b=2, *, c=len):\n    'Doc.'", "f", describe=True)
    shape = executor.run(job).result()
    assert shape.kind == "coroutine" and shape.doc == "Doc."
    assert [p[:3] for p in shape.parameters] == [("a", 1, False), ("b", 1, True), ("c", 3, True)]
    assert shape.parameters[1][3] == 2 and repr(shape.parameters[2][3]) == "<default>"


def test_what_is_printed_is_kept_up_to_a_limit(executor: ProcessExecutor) -> None:
    text = "import sys\ndef f(n):\n    print('a' * n)\n    print('b', file=sys.stderr)"
    outcome = run(executor, text, 100, limits=Limits(output_bytes=10))
    assert outcome.stdout == "a" * 10 and outcome.stderr == "b\n"


def test_a_write_to_an_argument_is_told(executor: ProcessExecutor) -> None:
    point = Point(1)
    outcome = run(executor, "def f(self, xs):\n    self.y += 1\n    xs.append(2)\n    return self.y", point, [1])
    assert outcome.value == 1 and point.y == 0 and set(outcome.changed) == {"self.y", "xs"}


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("while True: pass", SandboxTimeoutError, "0.3 seconds"),
        ("import re; re.match('(a+)+$', 'a' * 40 + 'b')", SandboxTimeoutError, "0.3 seconds"),
        ("'a' * 10**11", SandboxMemoryError, "1024 MB"),
        ("import os; os._exit(3)", SandboxCrashError, "exit code 3"),
        ("import ctypes; ctypes.string_at(0)", SandboxCrashError, "SIG"),
        ("raise SystemExit(1)", SandboxCrashError, "SystemExit"),
        ("open('/etc/passwd')", OSError, ""),
        ("import socket; socket.socket()", SandboxForbiddenError, "no network"),
        ("import os; os.fork()", SandboxForbiddenError, "no new processes"),
        ("return lambda: 1", SandboxValueError, "function"),
        ("return 'a' * 2**21", SandboxValueError, "too large"),
        ("return f(x)", RecursionError, "recursion"),
        ("1 / 0", ZeroDivisionError, "division by zero"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else None,
)
def test_failures_say_what_happened(executor: ProcessExecutor, body: str, kind: type[Exception], words: str) -> None:
    if kind is SandboxForbiddenError and executor.layers()["seccomp"] is not None:
        pytest.skip(f"seccomp is missing here: {executor.layers()['seccomp']}")
    error = run(executor, f"def f(x=1):\n    {body}", limits=SHORT if kind is SandboxTimeoutError else ROOMY).error
    assert isinstance(error, kind) and words in str(error)


def test_an_error_shows_the_line_of_the_text(executor: ProcessExecutor) -> None:
    error = run(executor, "def f(x):\n    y = x\n    return helper(None)", 1).error
    assert isinstance(error, TypeError)
    lines = []
    step = error.__traceback__
    while step is not None:
        lines.append((step.tb_frame.f_code.co_name, step.tb_lineno))
        step = step.tb_next
    assert ("f", 3) in lines and ("helper", helper.__code__.co_firstlineno + 1) in lines


def test_errors_of_classes_the_code_made_keep_their_name(executor: ProcessExecutor) -> None:
    error = run(executor, "class Wrong(ValueError): pass\ndef f():\n    raise Wrong('no', 3)").error
    assert type(error).__name__ == "Wrong" and isinstance(error, ValueError) and error.args == ("no", 3)


def test_errors_about_files_name_them(executor: ProcessExecutor) -> None:
    missing = run(executor, "def f(): open('/missing')").error
    assert isinstance(missing, FileNotFoundError) and missing.filename == "/missing"
    assert str(missing) == "[Errno 2] No such file or directory: '/missing'" and len(missing.args) == 2
    both = run(executor, "class Lost(OSError): pass\ndef f(): raise Lost(2, 'no', 'a', None, 'b')").error
    assert str(both) == "[Errno 2] no: 'a' -> 'b'" and type(both).__name__ == "Lost"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("(b'a' * 20_000 + b'\\xff').decode()", "can't decode byte 0xff in position 20000"),
        ("('a' * 20_000 + '\\xff').encode('ascii')", "can't encode character '\\xff' in position 20000"),
    ],
)
def test_errors_about_long_texts_say_where(executor: ProcessExecutor, body: str, words: str) -> None:
    error = run(executor, f"def f():\n    {body}").error
    assert isinstance(error, UnicodeError) and words in str(error) and len(str(error)) < 200


def test_text_that_is_not_python_or_lacks_the_function(executor: ProcessExecutor) -> None:
    assert isinstance(run(executor, "def f(:").error, SyntaxError)
    assert isinstance(run(executor, "def g(): pass").error, KeyError)


def test_after_a_failure_the_next_call_works(executor: ProcessExecutor) -> None:
    text = "import os\ndef f(die):\n    if die:\n        os._exit(1)\n    return 'alive'"
    assert run(executor, text, True).error is not None
    assert run(executor, text, False).result() == "alive"


def test_one_text_cannot_spoil_another(executor: ProcessExecutor) -> None:
    spoiler = "import builtins, math\ndef f():\n    builtins.len = lambda x: 0\n    math.pi = 3"
    run(executor, spoiler)
    assert run(executor, "import math\ndef f():\n    return len('abc'), math.pi > 3.1").result() == (3, True)


def test_nothing_of_the_program_is_seen(executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    text = "import os\ndef f():\n    return dict(os.environ), os.getcwd()"
    environment, place = run(executor, text).result()
    assert "API_KEY" not in environment and "PATH" not in environment and place != os.getcwd()


# --- objects of the program -----------------------------------------------------------------------


class Tool:
    def __init__(self) -> None:
        self.lock = threading.Lock()  # so that it could not be copied
        self.asked: list[str] = []

    def ask(self, question: str) -> dict[str, int]:
        self.asked.append(question)
        if question == "fail":
            raise LookupError("no such thing")
        return {"length": len(question)}


def test_allowed_objects_are_called_in_the_program() -> None:
    tool = Tool()
    with ProcessExecutor(allow=[tool]) as executor:
        text = "def f(tool, q):\n    return tool.ask(q)['length']"
        assert executor.run(Job(text, "f", (tool, "how?"))).result() == 4 and tool.asked == ["how?"]
        failed = executor.run(Job(text, "f", (tool, "fail")))
        assert isinstance(failed.error, LookupError) and failed.error.args == ("no such thing",)
        hidden = executor.run(Job("def f(tool):\n    return tool._lock", "f", (tool,)))
        assert isinstance(hidden.error, AttributeError)


def test_other_objects_stay_in_the_program(executor: ProcessExecutor) -> None:
    error = run(executor, "def f(tool):\n    with tool:\n        pass", threading.Lock()).error
    assert isinstance(error, SandboxValueError) and "allow" in str(error)
    assert run(executor, "def f(tool, x):\n    return x", threading.Lock(), 5).result() == 5


# --- many at once ---------------------------------------------------------------------------------

HOSTILE = [
    "def f(x):\n    while True: pass",
    "import os\ndef f(x):\n    os._exit(1)",
    "def f(x):\n    return 'a' * 10**11",
    "import builtins\ndef f(x):\n    builtins.sum = None\n    return sum([1])",
]


def _crowd(executor: ProcessExecutor, i: int) -> Job:
    text = f"def f(x):\n    return sum(range(x)) + {i % 3}" if i % 2 else HOSTILE[i // 2 % len(HOSTILE)]
    return Job(text, "f", (i,))


def test_honest_calls_are_right_among_hostile_ones_in_threads(executor: ProcessExecutor) -> None:
    with ThreadPoolExecutor(100) as threads:
        found = list(threads.map(lambda i: executor.run(_crowd(executor, i), ROOMY if i % 2 else CROWDED), range(100)))
    assert [o.error is None for o in found] == [bool(i % 2) for i in range(100)]
    assert all(found[i].value == sum(range(i)) + i % 3 for i in range(1, 100, 2))


async def test_honest_calls_are_right_among_hostile_ones_in_tasks(executor: ProcessExecutor) -> None:
    found = await asyncio.gather(*(executor.arun(_crowd(executor, i), ROOMY if i % 2 else CROWDED) for i in range(100)))
    assert all(found[i].value == sum(range(i)) + i % 3 for i in range(1, 100, 2))


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="There are no layers"):
        ProcessExecutor(without=["magic"])


def test_without_a_layer_the_others_still_hold() -> None:
    with ProcessExecutor(without=["seccomp", "landlock"]) as executor:
        if executor.layers()["files"] is not None:
            pytest.skip(f"no mount namespace here: {executor.layers()['files']}")
        assert executor.layers()["seccomp"] == "switched off"
        outcome = executor.run(Job("def f():\n    return open('/etc/passwd').read()", "f"))
        assert isinstance(outcome.error, OSError | SandboxError)


def test_files_keep_rights_and_times_where_there_are_no_namespaces(tmp_path: Path) -> None:
    """As in a container: Landlock stops neither."""
    text = """
import os
def f(path):
    refused = []
    for act in (lambda: os.chmod(path, 0o777), lambda: os.utime(path, (1, 1)), lambda: os.truncate(path, 0)):
        try:
            act()
        except OSError as error:
            refused.append(type(error).__name__)
    return refused
"""
    file = tmp_path / "file"
    file.write_text("kept")
    file.chmod(0o600)
    before = file.stat()
    with ProcessExecutor(without=["users", "network", "ipc", "files", "processes", "temporary"]) as executor:
        if executor.layers()["seccomp"] is not None:
            pytest.skip(f"no seccomp here: {executor.layers()['seccomp']}")
        assert executor.run(Job(text, "f", (str(file),))).result() == ["PermissionError"] * 3
    assert (file.stat(), file.read_text()) == (before, "kept")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_of_the_program_has_workers_of_its_own(executor: ProcessExecutor) -> None:
    job = Job("def f(x):\n    return x + 1", "f", (1,))
    assert executor.run(job).result() == 2
    child = os.fork()
    if child == 0:
        right = executor.run(job).value == 2
        executor.close()
        os._exit(7 if right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert executor.run(job).result() == 2
