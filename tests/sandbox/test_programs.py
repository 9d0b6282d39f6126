"""What a program has around its code, as programs are written, works in the sandbox too."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import enum
import functools
import os
import sys
import time
import xml.etree.ElementTree
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from opto.errors import SandboxValueError
from opto.execution import Job, Outcome, Scope
from opto.sandbox.process import ProcessExecutor

FACTOR = 3
BERLIN = ZoneInfo("Europe/Berlin")


def scale(x: int) -> int:
    return x * FACTOR


@functools.lru_cache(maxsize=4)
def remembered(x: int) -> int:
    return x if x < 2 else remembered(x - 1) + scale(x)


partly = functools.partial(scale, 2)


class Agent:
    TOOLS = (scale,)

    def __init__(self) -> None:
        self.callback = scale

    class Step:
        def __init__(self) -> None:
            self.number = 1

    def act(self, x: int) -> int:
        return scale(x)

    @functools.cached_property
    def kept(self) -> int:
        return scale(5)

    @functools.cache  # noqa: B019 - as programs do
    def known(self, x: int) -> int:
        return scale(x)

    part = functools.partialmethod(act, 4)


class Pair(NamedTuple):
    a: int
    b: int = 2

    def scaled(self) -> int:
        return scale(self.a)


class Scores(list[int]):
    def total(self) -> int:
        return scale(sum(self))


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntFlag):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int


class WrongLineError(Exception):
    def __init__(self, line: Any) -> None:
        super().__init__("wrong")
        self.line = line

    def __str__(self) -> str:
        return f"line {self.line}"


assert concurrent.futures and xml.etree.ElementTree  # named in texts only


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(workers=2) as made:
        yield made


def run(executor: ProcessExecutor, body: str, *args: Any, scope: Scope | None = None) -> Outcome:
    return executor.run(Job(f"def f(*a):\n    {body}", "f", args, scope=scope or Scope(globals(), __name__)))


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return remembered(3)", 16),
        ("return partly()", 6),
        ("return xml.etree.ElementTree.fromstring('<a/>').tag", "a"),
        ("return concurrent.futures.Future().done()", False),
        ("return str(BERLIN.utcoffset(datetime.datetime(2024, 7, 1)))", "2:00:00"),
    ],
)
def test_globals_of_a_module(executor: ProcessExecutor, body: str, result: Any) -> None:
    assert run(executor, body).result() == result


@pytest.mark.parametrize(
    ("make", "expression", "result"),
    [
        (Agent, "a[0].callback(2)", 6),
        (Agent, "a[0].TOOLS[0](2)", 6),
        (Agent, "a[0].kept", 15),
        (Agent, "a[0].known(2)", 6),
        (Agent, "a[0].part()", 12),
        (lambda: Agent().act, "a[0](2)", 6),
        (lambda: functools.partial(scale, 2), "a[0]()", 6),
        (lambda: remembered, "a[0](3)", 16),
        (lambda: Pair(3), "a[0].scaled()", 9),
        (lambda: Scores([1, 2]), "a[0].total()", 9),
    ],
)
def test_objects_of_a_program(make: Any, expression: str, result: Any) -> None:
    with ProcessExecutor(workers=1) as executor:  # without what other tests made known
        assert run(executor, f"return {expression}", make(), scope=Scope()).result() == result


VALUES = [
    Pair(1),
    Frozen(1),
    Rights.READ | Rights.WRITE,
    Rights(0),
    Rights.READ,
    Level.LOW | Level.HIGH,
    datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
    datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
    datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    datetime.time(1, 2, fold=1),
    datetime.timezone(datetime.timedelta(hours=1), "X"),
    datetime.UTC,
    BERLIN,
    np.str_(""),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_exactly(executor: ProcessExecutor, value: Any) -> None:
    back = run(executor, "return a[0]", value).result()
    assert type(back) is type(value) and repr(back) == repr(value)


def test_objects_of_classes_in_classes_come_back(executor: ProcessExecutor) -> None:
    back = run(executor, "return Agent.Step()").result()
    assert type(back) is Agent.Step and back.number == 1


def test_time_zones_of_others_come_back_as_their_offset(executor: ProcessExecutor) -> None:
    text = """
import datetime
class Zone(datetime.tzinfo):
    def utcoffset(self, moment):
        return datetime.timedelta(hours=2)
def f():
    return datetime.datetime(2024, 1, 1, tzinfo=Zone())
"""
    assert executor.run(Job(text, "f")).result().isoformat() == "2024-01-01T00:00:00+02:00"


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ("Scores([1])", "Scores"),
        ("np.zeros(1, dtype=[('a', 'i4'), ('b', 'f8')])", "ndarray"),
        ("np.matrix([[1, 2]])", "matrix"),
    ],
)
def test_what_would_come_back_as_something_else_says_so(executor: ProcessExecutor, made: str, kind: str) -> None:
    error = run(executor, f"return {made}").error
    assert isinstance(error, SandboxValueError) and str(error).startswith(f"A {kind} cannot leave the sandbox")


def test_errors_of_a_program_keep_what_they_hold(executor: ProcessExecutor) -> None:
    error = run(executor, "raise WrongLineError(4)").error
    assert type(error) is WrongLineError and error.line == 4 and str(error) == "line 4"


@pytest.mark.parametrize("held", ["object()", "'x' * 100_000", "'\\ud800'"])
def test_errors_that_cannot_be_printed_without_what_they_hold_are_others(executor: ProcessExecutor, held: str) -> None:
    error = run(executor, f"raise WrongLineError({held})").error
    assert type(error).__name__ == "WrongLineError" and str(error) == "wrong"


def test_what_errors_of_the_program_hold_stays_there() -> None:
    class Tool:
        def ask(self) -> None:
            raise WrongLineError("secret")

    tool = Tool()
    text = "def f(tool):\n    try:\n        tool.ask()\n    except Exception as error:\n        return vars(error)"
    with ProcessExecutor(workers=1, allow=[tool]) as executor:
        assert executor.run(Job(text, "f", (tool,))).result() == {}


FILES = {
    "__init__.py": b"",
    "near.py": b"def twice(x):\n    return 2 * x\n",
    "far.py": b"from . import near\nfrom .near import twice\nfrom .inner.deep import word\n",
    "inner/__init__.py": b"from ..near import twice\n",
    "inner/deep.py": b"from .. import near\nfrom . import twice\ndef word():\n    return twice(near.twice(2))\n",
    "marked.py": b"\xef\xbb\xbfWORD = '\xc3\xa9'\n",
    "latin.py": b"# -*- coding: latin-1 -*-\nWORD = '\xe9'\n",
}


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("PACKAGE.far.twice(2)", 4),
        ("PACKAGE.far.word()", 8),
        ("PACKAGE.far.near.twice(3)", 6),
        ("PACKAGE.inner.deep.word()", 8),
        ("PACKAGE.marked.WORD + PACKAGE.latin.WORD", "éé"),
    ],
)
def test_modules_of_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, expression: str, result: Any
) -> None:
    name = f"package_of_{abs(hash(request.node.name))}"
    for path, text in FILES.items():
        place = tmp_path / name / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)
    monkeypatch.syspath_prepend(tmp_path)
    package = import_module(name)
    for module in ("far", "inner.deep", "marked", "latin"):
        import_module(f"{name}.{module}")
    with ProcessExecutor(workers=1) as executor:
        assert run(executor, f"return {expression}", scope=Scope({"PACKAGE": package})).result() == result
    for loaded in [module for module in sys.modules if module.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has no such time zones")
def test_the_clock_shows_what_it_shows_in_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(os.environ, "TZ", "America/New_York")
        time.tzset()
        with ProcessExecutor(workers=1) as executor:
            text = "import time\ndef f():\n    return time.localtime(0).tm_hour"
            assert executor.run(Job(text, "f")).result() == 19
    time.tzset()
