"""The executor `unsafe` runs code in the program, as if the program had written it."""

from __future__ import annotations

import asyncio
import inspect
import math  # noqa: F401 - the texts see it
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from honest import FUNCTIONS

from opto.execution import Job, Outcome, Scope
from opto.sandbox.unsafe import UnsafeExecutor

EXECUTOR = UnsafeExecutor()


def run(text: str, *args: Any) -> Outcome:
    return EXECUTOR.run(Job(text, "f", args, scope=Scope(globals(), __name__)))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_honest_code_runs(function: Callable[..., Any]) -> None:
    job = Job(inspect.getsource(function), function.__name__)
    assert EXECUTOR.run(job).result() == EXECUTOR.run(job).result() == function()


def test_names_that_a_star_brings_last() -> None:
    text = "from math import *\ndef f(x):\n    return floor(sqrt(x)) + math.floor(x)"
    assert run(text, 5).result() == run(text, 5).result() == 7


def test_live_objects_are_the_programs_own() -> None:
    class Agent:
        _calls = 0

    agent = Agent()
    assert run("def f(agent):\n    agent._calls += 1\n    agent.seen = [1]\n    return agent", agent).result() is agent
    assert agent._calls == 1 and agent.seen == [1]  # type: ignore[attr-defined]


def test_an_error_shows_the_line_of_the_text() -> None:
    error = run("import math\ndef f(x):\n    y = x\n    return y._none.other", 1).error
    assert isinstance(error, AttributeError) and error.__traceback__ is not None
    assert ("f", 4) in [(step.name, step.lineno) for step in traceback.extract_tb(error.__traceback__)]


def test_coroutines_are_awaited() -> None:
    job = Job("async def f(x):\n    return await g(x)\nasync def g(x): return 5 / x", "f", (1,))
    assert asyncio.run(EXECUTOR.arun(job)).result() == 5
    assert isinstance(asyncio.run(EXECUTOR.arun(job._replace(args=(0,)))).error, ZeroDivisionError)
