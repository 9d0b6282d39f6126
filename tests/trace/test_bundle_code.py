"""Trainable code: what a changed text may contain and what it sees."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest

from opto.execution import SuggestedText
from opto.program import compiled
from opto.trace import ExecutionError, bundle, node, stop_tracing
from opto.trace.bundle.implementation import Definition, Environment
from opto.trace.nodes import ParameterNode

FACTOR = 2


@bundle(trainable=True)
def act(x):
    """Acts."""
    return x


@pytest.fixture(autouse=True)
def original_text() -> Any:
    yield
    act.parameter._data = act.info["source"]


def result(text: str, *args: Any) -> Any:
    act.parameter._data = text
    return act(*args).data


def failure(text: str, *args: Any) -> Any:
    with pytest.raises(ExecutionError) as caught:
        result(text, *(args or (1,)))
    return caught.value.exception_node


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import re\ndef act(x):\n    return re.sub('a', 'b', 'a') + str(x)", "b4"),
        ("def act(x):\n    return later(x)\ndef later(y):\n    return y + 1", 5),
        ("def earlier(y):\n    return y + K\nK = 3\ndef act(x):\n    return earlier(x)", 7),
        ("from math import *\ndef act(x):\n    return sqrt(x)", 2.0),
        ("def act(x):\n    return 1 if x == 0 else x * act(x - 1)", 24),
        ("def act(x):\n    return eval('x * FACTOR')", 8),
        ("def act(x):\n    return eval('math.sqrt(x)')", 2.0),
        ("def act(x):\n    return globals()['FACTOR'] + x", 6),
        ("def act(x):\n    return [FACTOR * y for y in range(x)]", [0, 2, 4, 6]),
        ("class A:\n    k = FACTOR\ndef act(x):\n    return A.k + x", 6),
        ("act = lambda x: x + 1", 5),
        ("    def act(x):\n        return x", 4),
        ("@lambda f: f\n    def act(x):\n        return x", 4),
        ("# note\n    def act(x):\n        return x", 4),
    ],
)
def test_what_a_text_may_contain(text: str, expected: Any) -> None:
    assert result(text, 4) == expected


def test_globals_are_looked_up_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def act(x):\n    return FACTOR * x"
    assert result(text, 3) == 6
    monkeypatch.setitem(globals(), "FACTOR", 5)
    assert act(3).data == 15
    monkeypatch.delitem(globals(), "FACTOR")
    with pytest.raises(ExecutionError, match="FACTOR"):
        act(3)


def test_a_text_may_shadow_globals() -> None:
    assert result("FACTOR = 100\ndef act(x):\n    return FACTOR", 1) == 100
    assert FACTOR == 2
    assert result("def act(x):\n    global FACTOR\n    FACTOR = 7\n    return FACTOR", 1) == 7
    assert FACTOR == 2


@pytest.mark.parametrize("kind", [str, SuggestedText])
def test_a_text_may_read_globals_that_it_writes(kind: type[str]) -> None:
    for _ in range(2):  # what it writes is gone when the next call begins
        assert result(kind("def act(x):\n    global FACTOR\n    FACTOR += x\n    return FACTOR"), 1) == 3
    assert result(kind("FACTOR = FACTOR * 5\ndef act(x):\n    return FACTOR + x"), 1) == 11
    assert FACTOR == 2


def test_a_deleted_name_is_not_brought_back() -> None:
    assert failure("K = 1\ndel K\ndef act(x):\n    return K").data.startswith("(NameError)")


def test_locals_are_those_at_decoration() -> None:
    made = []
    for i in range(3):

        @bundle(trainable=True)
        def local(x):
            return x + i  # noqa: B023 - the snapshot is the point

        made.append(local)
    assert [f(10).data for f in made] == [10, 11, 12]


def test_variables_assigned_later_are_seen_through_the_closure() -> None:
    @bundle(trainable=True)
    def first(x):
        return second(x)

    with pytest.raises(ExecutionError, match="second"):
        first(1)

    def second(x):
        return x + 1

    assert first(1).data == 2


def test_recursion_stays_inside_the_text() -> None:
    @bundle(trainable=True)
    def fact(n):
        return 1 if n <= 1 else n * fact(n - 1)

    made = fact(node(5))
    assert made.data == 120 and len(made.parents) == 2
    assert "output" in made.info and made.info["output"] == 120


def test_super_works_in_methods_whatever_the_text() -> None:
    class Base:
        def go(self, x):
            return x + 1

    class Derived(Base):
        @bundle(trainable=True)
        def go(self, x):
            return super().go(x) * 10

    one = Derived()
    assert one.go(1).data == 20
    one.go.parameter._data = "K = 3\ndef go(self, x):\n    return super().go(x) * helper()\ndef helper():\n    return K"
    assert one.go(1).data == 6
    one.go.parameter._data = "def go(self, x):\n    return super(type(self), self).go(x)"
    assert one.go(1).data == 2
    one.go.parameter._data = "def go(self, x):\n    def more(y):\n        return y + 5\n    return more(super().go(x))"
    assert one.go(1).data == 7


def test_a_text_that_only_defines_is_run_once() -> None:
    text = (
        "import math\n\ndef act(x):\n    def one():\n        return 1\n    act.runs = getattr(act, 'runs', 0) + one()"
    )
    text += "\n    return act.runs"
    assert [result(text, 0), result("".join(list(text)), 0)] == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "seen = []\ndef act(x):\n    seen.append(x)\n    return len(seen)",
        "def act(x, seen=[]):\n    seen.append(x)\n    return len(seen)",
        "import functools\n@functools.lru_cache\ndef act(x):\n    return act.cache_info().misses",
        "class Count:\n    now = 0\n\ndef act(x):\n    Count.now += 1\n    return Count.now",
    ],
)
def test_a_text_that_makes_state_is_run_for_each_call(text: str) -> None:
    assert [result(text, 0), result(text, 0), result("".join(list(text)), 0)] == [1, 1, 1]


def test_only_the_last_texts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("opto.trace.bundle.implementation"), "_IMPLEMENTATIONS_KEPT", 2)
    before = len(act._implementations.texts())
    for i in range(5):
        assert result(f"def act(x):\n    return {i}", 0) == i
    assert act._implementations.texts()[-1].endswith("return 4") and len(act._implementations.texts()) < before + 5


def test_code_that_does_not_define_the_function() -> None:
    made = failure("def other(x):\n    return x")
    assert made.data == "(KeyError) 'act'"
    assert made.inputs == {"code": act.parameter}


def test_code_that_defines_something_else() -> None:
    assert failure("act = 3").data == "(TypeError) act is a int, not a function"


def test_code_that_is_no_text() -> None:
    assert failure(None).data.startswith("(TypeError)")  # type: ignore[arg-type]
    assert failure(["a"]).data.startswith("(TypeError)")  # type: ignore[arg-type]


def test_indentation_that_cannot_be_straightened() -> None:
    assert failure("def act(x):\n  a = 1\n   b = 2").data.startswith("(IndentationError)")
    assert failure("def act(x):\n    x = (\n  def g(y):").data.startswith("(SyntaxError)")
    assert failure("x = 1\n    def act(x):\n  return").data.startswith("(IndentationError)")


def test_failing_while_it_is_defined_marks_the_line() -> None:
    made = failure("K = 1 / 0\ndef act(x):\n    return x")
    assert made.info["error_comment"].splitlines()[0] == "K = 1 / 0 <--- (ZeroDivisionError) division by zero."
    assert "definition of the trainable code failed" in made.info["traceback"]


def test_annotations_of_the_module_keep_their_meaning() -> None:
    """This file postpones annotations, so texts of its functions may name types that do not exist."""
    assert result("def act(x: Missing) -> AlsoMissing:\n    return x", 1) == 1
    plain: dict[str, Any] = {}
    exec(compile("def act(x): return x", "<other>", "exec", dont_inherit=True), plain)
    with pytest.raises(NameError):
        Definition("def act(x: Missing):\n    return x", Environment(plain["act"], {}))


def test_compiled_says_what_a_text_reads_and_writes() -> None:
    program = compiled(
        "import re\nfor i in range(3):\n    pass\ndef f(x):\n    global K\n    K = N.real\n    return len(x)"
    )
    assert {"range", "N", "len"} <= program.reads
    assert {"re", "i", "f"} == set(program.writes)
    again = compiled("K = K + 1\nL = 2\nL = L + 1")
    assert {"K", "L"} == set(again.reads) and {"L"} == set(again.writes)
    assert not program.dynamic and compiled("eval('1')").dynamic


def test_without_tracing_it_still_runs() -> None:
    with stop_tracing():
        made = act(math.pi)
        assert made.data == math.pi and made.parents == []
        act.parameter._data = "def act(x) return"
        with pytest.raises(ExecutionError) as caught:
            act(1)
    assert caught.value.exception_node.inputs == {}


def test_needs_a_def() -> None:
    with pytest.raises(TypeError, match="not written as a 'def'"):
        bundle(trainable=True)(lambda x: x)
    with pytest.raises(TypeError, match="not written as a 'def'"):
        bundle(trainable=True)(len)


def test_a_bound_method_is_to_be_decorated_in_its_class() -> None:
    class Tool:
        def use(self, x: int) -> int:
            return x

    assert bundle()(Tool().use)(3).data == 3
    with pytest.raises(TypeError, match=r"Tool\.use is bound to an object already: decorate it where its class"):
        bundle(trainable=True)(Tool().use)


def test_parameter_has_header_description() -> None:
    parameter = act.parameter
    assert isinstance(parameter, ParameterNode)
    assert parameter.description == 'The code should start with:\ndef act(x):\n    """Acts."""'
