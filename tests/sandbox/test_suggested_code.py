"""Where a code parameter's text came from decides where it runs; errors, copies, files and steps keep to that."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from typing import Any

import pytest

from opto.execution import Job, Limits, Outcome, SuggestedText, current_executor, set_default_executor, using
from opto.optimizers.optimizer import Optimizer
from opto.sandbox.process import ProcessExecutor
from opto.sandbox.unsafe import UnsafeExecutor
from opto.trace import ExecutionError, Module, bundle, model, node

RATE = 10


@bundle(trainable=True)
def where(x):
    """Tells in which process it runs."""
    return x, os.getpid()


class Agent(Module):
    def __init__(self) -> None:
        self.count = 0

    @bundle(trainable=True)
    def act(self, x):
        return x


class Fixed(Optimizer):
    """Proposes what it was given."""

    answer: Any = None

    def _step(self, **options: Any) -> dict[Any, Any]:
        return {p: self.answer for p in self.parameters}


def optimizer_for(function: Any, text: str) -> Fixed:
    optimizer = Fixed([function.parameter])
    optimizer.answer = text
    return optimizer


SUGGESTED = "def where(x):\n    return x * RATE, os.getpid()"


@pytest.fixture(autouse=True)
def as_written() -> Any:
    texts = where.parameter.data, rate.parameter.data
    yield
    where.parameter._data, rate.parameter._data = texts


def test_the_users_own_text_runs_in_the_program() -> None:
    assert where(1).data == (1, os.getpid())
    where.parameter._data = SUGGESTED
    assert where(1).data == (10, os.getpid()), "assigning by hand is the user's own act"


def test_a_suggested_text_runs_elsewhere() -> None:
    optimizer_for(where, SUGGESTED).step()
    value, process = where(2).data
    assert value == 20 and process != os.getpid()
    assert where.parameter.data == SUGGESTED


def test_the_original_text_is_the_users_own_however_it_came_back() -> None:
    original = where.parameter.data
    optimizer_for(where, SUGGESTED).step()
    optimizer_for(where, str(original)).step()
    assert where(1).data == (1, os.getpid())


BY_HAND = "def where(x):\n    return x + 1, os.getpid()"


def test_a_text_written_by_hand_is_the_users_own_when_it_is_put_back() -> None:
    where.parameter._data = BY_HAND
    optimizer_for(where, SUGGESTED).step()
    optimizer_for(where, str(SuggestedText(BY_HAND))).step()
    assert type(where.parameter._data) is str and where(1).data == (2, os.getpid())
    optimizer_for(where, SUGGESTED).step()
    assert where(1).data[1] != os.getpid()


def test_copies_pickles_and_files_remember_what_the_user_wrote(tmp_path: Any) -> None:
    agent, by_hand = Agent(), "def act(self, x):\n    return x + 1"
    agent.act.parameter._data = by_hand
    optimizer_for(agent.act, "def act(self, x):\n    return x + 2").step()
    agent.save(tmp_path / "agent.json")
    loaded = Agent()
    loaded.load(tmp_path / "agent.json")
    parameter = agent.act.parameter
    copies = [copy.deepcopy(agent.act).parameter, pickle.loads(pickle.dumps(parameter)), loaded.act.parameter]
    for twin in [*copies, pickle.loads(pickle.dumps(agent)).act.parameter, copy.deepcopy(agent).act.parameter]:
        assert isinstance(twin._data, SuggestedText)
        assert by_hand in twin._user_texts()
    for twin in (copies[0], copies[2]):
        twin.change(by_hand)
        assert type(twin._data) is str


def test_copies_pickles_and_files_remember(tmp_path: Any) -> None:
    agent = Agent()
    optimizer_for(agent.act, "def act(self, x):\n    import os\n    return os.getpid()").step()
    assert isinstance(copy.deepcopy(agent.act.parameter)._data, SuggestedText)
    assert isinstance(pickle.loads(pickle.dumps(agent.act.parameter))._data, SuggestedText)
    agent.save(tmp_path / "agent.json")
    other = Agent()
    other.load(tmp_path / "agent.json")
    assert isinstance(other.act.parameter._data, SuggestedText)
    assert other.act(1).data != os.getpid()


def test_an_error_is_commented_in_the_text() -> None:
    optimizer_for(where, "def where(x):\n    y = x\n    return y.nothing").step()
    with pytest.raises(ExecutionError) as caught:
        where(1)
    made = caught.value.exception_node
    assert made.data == "(AttributeError) 'int' object has no attribute 'nothing'"
    assert "return y.nothing <--- (AttributeError)" in made.info["error_comment"]
    assert list(made.inputs) == ["x", "__code"]


def test_a_loop_is_feedback_too() -> None:
    optimizer_for(where, "def where(x):\n    while True:\n        x += 1").step()
    with (
        ProcessExecutor(Limits(wall_seconds=1)) as executor,
        using(executor),
        pytest.raises(ExecutionError) as caught,
    ):
        where(1)
    assert "longer than 1 seconds" in caught.value.exception_node.data
    assert "<--- (SandboxTimeoutError)" in caught.value.exception_node.info["error_comment"]


def test_a_write_to_self_is_said(caplog: pytest.LogCaptureFixture) -> None:
    agent = Agent()
    optimizer_for(agent.act, "def act(self, x):\n    self.count += 1\n    return self.count").step()
    assert agent.act(1).data == 1 and agent.count == 0
    assert "self.count" in caplog.text


def test_printing_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    optimizer_for(where, "def where(x):\n    print('here', x)").step()
    where(1)
    assert capsys.readouterr().out == "here 1\n"


class Noting:
    """An executor that notes its jobs and answers 7."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.inner = UnsafeExecutor()

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        self.jobs.append(job)
        return self.inner.run(job) if job.describe else Outcome(7)

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        return self.run(job, limits)


def test_the_executor_of_the_context_is_asked() -> None:
    optimizer_for(where, SUGGESTED).step()
    mine, outer = Noting(), current_executor()
    with using(mine):
        assert where(3).data == 7
    assert mine.jobs[-1].args == (3,) and current_executor() is outer
    with pytest.raises(KeyError, match="There is no executor 'proces': choose one of process, "):
        set_default_executor("proces")
    set_default_executor(mine)
    try:
        assert where(3).data == 7
    finally:
        set_default_executor("process")
    assert where(3).data[0] == 30


def test_the_executor_in_the_program() -> None:
    optimizer_for(where, "def where(x):\n    return x, RATE").step()
    with using("unsafe"):
        assert where(3).data == (3, RATE)


def test_the_executor_that_leaked_is_no_more() -> None:
    with (
        pytest.raises(KeyError, match=r"choose one of process, monty, unsafe\. 'inprocess' was removed"),
        using("inprocess"),
    ):
        pass


# --- the last good value --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["def where(x):\n    return 1\nraise ValueError('no')", "import missing_module\ndef where(x): pass"]
)
def test_code_that_cannot_be_defined_is_put_back(text: str) -> None:
    before = where.parameter.data
    optimizer = optimizer_for(where, text)
    update = optimizer.step()
    assert (
        where.parameter.data == before and not update and "cannot be defined" in update.refused[where.parameter.py_name]
    )
    optimizer.keep_broken = True
    optimizer.step()
    assert where.parameter.data == text


def test_rollback() -> None:
    before = where.parameter.data
    assert not Agent().act.parameter.rollback()
    optimizer_for(where, SUGGESTED).step()
    assert where.parameter.rollback() and where.parameter.data == before
    assert not where.parameter.rollback()


@model
class Greeter:
    def __init__(self) -> None:
        self.greeting = node("Hello", trainable=True)
        self.language = "en"
        self.lock = threading.Lock()

    @bundle(trainable=True)
    def greet(self, name):
        return name

    @bundle()
    def polite(self, name):
        return f"dear {name}"


@bundle(trainable=True)
def rate(x):
    return x


BONUS = 5


def test_rewritten_code_calls_other_rewritten_code_as_it_is_now() -> None:
    optimizer_for(where, "def where(x):\n    return rate(x)").step()
    assert where(1).data == 1
    for text, expected in [("return x + RATE", 11), ("return x + BONUS", 6), ("return x + RATE * 2", 21)]:
        optimizer_for(rate, f"def rate(x):\n    {text}").step()
        assert where(1).data == expected


@pytest.mark.parametrize("text", ["\n\ndef rate(x):\n    return x.nothing", "def rate(x:"])
def test_an_error_of_other_rewritten_code_is_shown_where_it_was_called(text: str) -> None:
    optimizer_for(where, "def where(x):\n    y = x\n    return rate(y)").step()
    rate.parameter.change(text)
    with pytest.raises(ExecutionError) as caught:
        where(1)
    assert "return rate(y) <--- (" in caught.value.exception_node.info["error_comment"]


def test_rewritten_methods_call_each_other_as_they_are_now() -> None:
    agent = Pair()
    optimizer_for(agent.outer, "def outer(self, x):\n    return self.inner(x) * 2").step()
    assert agent.outer(1).data == 2
    for text, expected in [("return x + RATE", 22), ("return x + BONUS + self.more", 14)]:
        optimizer_for(agent.inner, f"def inner(self, x):\n    {text}").step()
        assert agent.outer(1).data == expected


class Pair(Module):
    def __init__(self) -> None:
        self.more = 1

    @bundle(trainable=True)
    def outer(self, x):
        return x

    @bundle(trainable=True)
    def inner(self, x):
        return x


def test_the_methods_of_an_agent_see_what_it_holds() -> None:
    agent = Greeter()
    text = "def greet(self, name):\n    return f'{self.language} {self.shout(name)}'"
    optimizer_for(agent.greet, text).step()
    with pytest.raises(ExecutionError) as caught:
        agent.greet("Ann")
    assert caught.value.exception_node.data == "(AttributeError) 'Greeter' object has no attribute 'shout'"
    optimizer_for(agent.greet, text.replace("shout", "polite")).step()
    assert agent.greet("Ann").data == "en dear Ann"
    optimizer_for(agent.greet, "def greet(self, name):\n    return self.lock.acquire()").step()
    with pytest.raises(ExecutionError, match="stays in the program"):
        agent.greet("Ann")


class Base(Module):
    def add(self, x):
        return x + self.step()

    def step(self):
        return 1


class Derived(Base):
    @bundle(trainable=True)
    def add(self, x):
        return super().add(x)

    @bundle(trainable=True)
    def run(self, x):
        return x


def test_rewritten_methods_that_others_call_reach_their_base_class() -> None:
    agent = Derived()
    optimizer_for(agent.run, "def run(self, x):\n    return self.add(x) + 0.5").step()
    assert agent.run(1).data == 2.5
    optimizer_for(
        agent.add, "def add(self, x):\n    more = lambda: super(Derived, self).step()\n    return x + more()"
    ).step()
    assert agent.run(1).data == 2.5
    helper = "import math\ndef helper(x):\n    return math.floor(x)\n"
    text = f"{helper}def add(self, x):\n    return helper(super().add(x)) * 10"
    optimizer_for(agent.add, text).step()
    assert agent.run(1).data == 20.5 and agent.add(1).data == 20
    optimizer_for(agent.add, "def add(self, x):\n    y = x\n    return super().nothing(y)").step()
    with pytest.raises(ExecutionError, match="'super' object has no attribute 'nothing'"):
        agent.run(1)
