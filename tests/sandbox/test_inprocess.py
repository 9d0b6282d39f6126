"""The executor `inprocess`: honest code runs as ever, and what leads out of it by syntax or by a library is refused."""

from __future__ import annotations

import asyncio
import builtins
import enum
import gc
import importlib
import inspect
import io
import json  # noqa: F401 - the texts see it
import math  # noqa: F401
import os
import shutil
import subprocess
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from honest import FUNCTIONS

from opto.errors import SandboxForbiddenError, SandboxTimeoutError
from opto.execution import Job, Limits, Outcome, Scope
from opto.sandbox import policy
from opto.sandbox.guards import Guards
from opto.sandbox.inprocess import InProcessExecutor, UnsafeExecutor
from opto.sandbox.shown import MODULES

EXECUTOR = InProcessExecutor(Limits(wall_seconds=30))
SHORT = Limits(wall_seconds=0.1)


def run(text: str, *args: Any, limits: Limits | None = None, executor: UnsafeExecutor = EXECUTOR) -> Outcome:
    return executor.run(Job(text, "f", args, scope=Scope(globals(), __name__)), limits)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_honest_code_runs(function: Callable[..., Any]) -> None:
    job = Job(inspect.getsource(function), function.__name__)
    assert EXECUTOR.run(job).result() == EXECUTOR.run(job).result() == function()


_TRACED = """
import sys
from opto.execution import Job, Limits
from opto.sandbox.inprocess import InProcessExecutor
executor = InProcessExecutor(Limits(wall_seconds=0.2))
sys.settrace(lambda *_: None)
print(executor.run(Job("def f(x):\\n    return x + 1", "f", (2,))).value)
print(executor.run(Job("def f():\\n    while True: pass", "f")).error)
print(executor.run(Job("def f(x):\\n    return x + 1", "f", (2,))).value)
"""


def test_calls_end_under_a_tracer() -> None:
    """Python 3.11 never goes on under one if an interruption was asked for and taken back."""
    done = subprocess.run([sys.executable, "-c", _TRACED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["3", "The code took longer than 0.2 seconds.", "3"]


@pytest.mark.parametrize("executor", [EXECUTOR, UnsafeExecutor()], ids=["inprocess", "unsafe"])
def test_names_that_a_star_brings_last(executor: UnsafeExecutor) -> None:
    text = "from math import *\ndef f(x):\n    return floor(sqrt(x)) + math.floor(x)"
    assert run(text, 5, executor=executor).result() == run(text, 5, executor=executor).result() == 7


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no except* before")
def test_enumerations_of_all_kinds() -> None:
    text = """
import enum

def f(given):
    made = [enum.Enum("E", "A B"), enum.Enum("E", {"A": 1, "B": 2}), enum.IntEnum("E", ["A", "B"])]
    made += [enum.Flag("E", [("A", 1), ("B", 2)]), enum.Enum("E", names=("A", "B"))]

    class Own(str, enum.Enum):
        A = "a"

        @property
        def big(self):
            return self.name * 2

    class Rights(enum.IntFlag):
        READ = 1
        WRITE = 2

    kinds = (enum.Enum, enum.IntEnum, enum.Flag)
    return (
        [[member.name for member in kind] for kind in made],
        Own("a").big,
        (Rights.READ | Rights.WRITE).value,
        [isinstance(thing, kinds[0]) for thing in (given, made[0].A, Rights.READ, 1)],
        [issubclass(kind, base) for kind in (made[2], Rights, int) for base in kinds],
        repr(made[0].A),
    )
"""
    names, big, both, members, kinds, shown = EXECUTOR.run(Job(text, "f", (Shade.DARK,))).result()
    assert names == [["A", "B"]] * 5 and (big, both, shown) == ("AA", 3, "<E.A: 1>")
    assert members == [True, True, True, False] and kinds == [True, True, False, True, False, True, False, False, False]


class Shade(enum.Enum):
    DARK = 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="except* is of Python 3.11")
def test_a_group_is_caught_without_a_jump_in_finally() -> None:
    text = "def f(x):\n    try:\n        pass\n    except* ValueError:\n        pass\n    finally:\n        return 1"
    assert isinstance(run(text, 1).error, SandboxForbiddenError)


def test_live_objects_are_the_programs_own() -> None:
    class Agent:
        _calls = 0

    agent = Agent()
    assert run("def f(agent):\n    agent._calls += 1\n    agent.seen = [1]\n    return agent", agent).result() is agent
    assert agent._calls == 1 and agent.seen == [1]  # type: ignore[attr-defined]


def test_an_error_shows_the_line_of_the_text() -> None:
    error = run("import math\ndef f(x):\n    y = x\n    return y._none.other", 1).error
    assert isinstance(error, SandboxForbiddenError) and error.__traceback__ is not None
    assert ("f", 4) in [(step.name, step.lineno) for step in traceback.extract_tb(error.__traceback__)]


def test_modules_can_be_added_and_what_was_not_says_how() -> None:
    text = "import fnmatch\ndef f(x):\n    return fnmatch.fnmatch(x, 'a*')"
    assert "may not import 'fnmatch'" in str(run(text, "ab").error)
    assert run(text, "ab", executor=InProcessExecutor(modules=["fnmatch"])).result()
    assert "modules=['os']" in str(run("def f():\n    return os.environ").error), "a global of the program"
    assert run("def f():\n    return json.dumps([1])").result() == "[1]"


FORBIDDEN = {
    "dunder": "def f(x): return x.__class__",
    "unicode": "def f(x): return 𝓸pen(x)",
    "attribute in unicode": "def f(x): return x.__𝓬lass__",
    "f-string": "def f(x): return f'{x.__class__}'",
    "decorator": "import random\n@random._os.system\ndef f(x): pass",
    "annotation": "def f(x: 'int' = 1, y: open('x') = 2): pass",
    "lambda in a default": "def f(x, g=lambda y: y.gi_frame): pass",
    "walrus": "def f(x): return [(y := eval), y('1')]",
    "comprehension": "def f(x): return [o.cr_frame for o in [x]]",
    "class cell": "class A:\n    def g(self): return __class__\ndef f(x): pass",
    "star": "from os import *\ndef f(x): pass",
    "private name": "from random import _os\ndef f(x): pass",
    "relative": "from . import policy\ndef f(x): pass",
    "submodule": "import json.tool\ndef f(x): pass",
    "named as": "import math as __builtins__\ndef f(x): pass",
    "captured as": "def f(x):\n    match x:\n        case __builtins__: pass",
    "pattern with a value": "import random\ndef f(x):\n    match x:\n        case random._os: pass",
    "base class": "class M(type): pass\ndef f(x): pass",
    "string": "def f(x): return getattr(x, '__cl' + 'ass__')",
    "setattr": "import math\ndef f(x): setattr(math, 'pi', 3)",
    "delattr": "import json\ndef f(x): delattr(json.JSONEncoder, 'encode')",
    "loop variable": "import math\ndef f(x):\n    for math.pi in [3]: pass",
    "private of an object": "from fractions import Fraction\ndef f(x):\n    p = Fraction(1)\n    p._numerator = x",
    "field of its own kind": "import dataclasses\nclass F(type(dataclasses.field())): pass\nx = F(*[None] * 8)\n"
    "@dataclasses.dataclass\nclass A:\n    a: int = x\ndef f(x): pass",
    "field renamed later": "from dataclasses import dataclass, fields\n@dataclass\nclass A:\n    a: int = 0\n"
    "fields(A)[0].name = 'a if 0 else 1'\n@dataclass(init=False)\nclass B(A): pass\ndef f(x): pass",
    "shared stand-in": "def f(x): type.mro = 1",
    "ordering of a class": "import functools, json\ndef f(x): functools.total_ordering(json.JSONEncoder)",
    "wrapper of a function": "import functools, json\ndef f(x): functools.update_wrapper(json.loads, f)",
    "clock": "import time\ndef f(x): return time.clock_settime",
    "processes": "import uuid\ndef f(x): return uuid.uuid1()",
    "bit generator": "import numpy as np\ndef f(x): return np.random.default_rng().bit_generator.ctypes",
    "array's pointer": "import numpy as np\ndef f(x): return np.ones(1).ctypes",
    "method of the class": "import numpy as np\ndef f(x): return np.ndarray.tofile",
    "attrgetter": "from operator import attrgetter\ndef f(x): return attrgetter('a._b')(x)",
    "methodcaller": "from operator import methodcaller\ndef f(x): return methodcaller('format', x)('{0.__class__}')",
    "format map": "def f(x): return '{a.gi_frame}'.format_map({'a': x})",
    "format of a class": "def f(x): return str.format('{0._a}', x)",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_leads_out_is_refused(name: str) -> None:
    assert isinstance(run(FORBIDDEN[name], 1).error, SandboxForbiddenError)


def test_the_library_keeps_what_the_code_writes() -> None:
    run("import html.entities\ndef f():\n    html.entities.name2codepoint['opto'] = 1")
    assert "opto" not in importlib.import_module("html.entities").name2codepoint


def test_the_programs_precision_is_its_own() -> None:
    text = "from decimal import Decimal, getcontext\ndef f():\n    getcontext().prec = 3\n    return Decimal(1) / 3"
    assert run(text).result() == Decimal("0.333") and len(str(Decimal(1) / 3)) > 20


# --- time and ends --------------------------------------------------------------------------------


def test_loops_end_wherever_they_are() -> None:
    bare = "def f():\n    while True:\n        try:\n            while True: pass\n        except: pass"
    assert isinstance(run(bare, limits=SHORT).error, SandboxTimeoutError)
    steps = run("def f():\n    got = yield 1\n    while got: pass\n    return 2", limits=SHORT).result()
    assert next(steps) == 1
    with pytest.raises(SandboxTimeoutError):
        steps.send(True)


@pytest.mark.parametrize(
    "text",
    [
        "import time\ndef f(n=0):\n    time.sleep(60)",
        "def f(n=0):\n    try:\n        while True: pass\n    finally:\n        f(n + 1)",
    ],
    ids=["sleep", "finally"],
)
def test_sleep_and_loops_within_loops_end(text: str) -> None:
    began = time.monotonic()
    assert isinstance(run(text, limits=SHORT).error, SandboxTimeoutError | RecursionError)
    assert time.monotonic() - began < 50


def test_the_watchdog_barks_at_nobody_else() -> None:
    text = "def f():\n    while True:\n        try:\n            while True: pass\n        except: pass"
    ends = [run(text, limits=Limits(wall_seconds=0.01)).error for _ in range(10)]
    assert [type(end) for end in ends] == [SandboxTimeoutError] * 10


async def test_coroutines_end() -> None:
    job = Job("async def f(x):\n    while x: pass\n    return await g()\nasync def g(): return 5", "f", (True,))
    assert isinstance((await EXECUTOR.arun(job, SHORT)).error, SandboxTimeoutError)
    assert (await EXECUTOR.arun(Job(job.text, "f", (0,)))).result() == 5
    waiting = Job("async def f(event): await event.wait()", "f", (asyncio.Event(),))
    assert isinstance((await EXECUTOR.arun(waiting, SHORT)).error, SandboxTimeoutError)


def test_no_end_is_the_programs() -> None:
    assert run("def f():\n    raise BaseException('no')").error is not None
    assert run("def f():\n    raise SystemExit").error is not None


# --- the law --------------------------------------------------------------------------------------

_DEEPEST = 5
_LEADS_OUT = (gc, importlib, inspect, io, os, shutil, subprocess, sys)
_FORBIDDEN = {
    id(value): f"{module.__name__}.{name}"
    for module in _LEADS_OUT
    for name, value in vars(module).items()
    if callable(value) and getattr(value, "__module__", None) in (module.__name__, "posix", "nt", "_io", "io")
} | {id(getattr(builtins, name)): name for name in ("open", "eval", "exec", "compile", "__import__", "getattr", "vars")}


@pytest.mark.filterwarnings("ignore")
def test_no_way_by_public_attributes_leads_out() -> None:
    guards = Guards(MODULES)
    ahead = [(module, guards.given(importlib.import_module(module)), 0) for module in sorted(MODULES)]
    names = [name for name in guards.builtins if name.isidentifier() and name != "__import__"]
    ahead += [(name, guards.builtins[name], 0) for name in names]
    seen: dict[int, Any] = {}
    ways = []
    for path, thing, depth in ahead:
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if type(thing) is types.ModuleType or id(thing) in _FORBIDDEN:
            ways.append(f"{path} is {thing!r}"[:200])
        elif depth < _DEEPEST:
            ahead += [(f"{path}.{name}", value, depth + 1) for name, value in _parts(guards, thing)]
    assert ways == []


def _parts(guards: Guards, thing: Any) -> Iterator[tuple[str, Any]]:
    """What code can reach of a thing in one step."""
    if type(thing) in (int, float, str, bytes, bool, complex):
        return
    if isinstance(thing, list | tuple | set | frozenset | dict) and len(thing) < 100:
        yield from (("[]", item) for item in list(thing.values() if isinstance(thing, dict) else thing))
    for name in dir(thing):
        if name.startswith("__") or policy.refused(name):
            continue
        try:
            yield name, guards.attribute(thing, name) if policy.doubtful(name) else getattr(thing, name)
        except Exception:
            continue
