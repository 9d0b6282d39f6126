"""What happens when traced code raises."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from opto.errors import OptoError
from opto.trace import ExecutionError, bundle, node
from opto.trace.bundle import ExceptionNode, TraceMissingInputsError
from opto.trace.utils import contain

SIMPLE = """\
def err(x):
    y = 1
    z = x / 0 <--- (ZeroDivisionError) division by zero.
    return z
(ZeroDivisionError) division by zero."""


@bundle()
def err(x):
    y = 1  # noqa: F841
    z = x / 0
    return z


class LocalError(Exception):
    pass


def caught(call: Any, *args: Any) -> ExceptionNode:
    with pytest.raises(ExecutionError) as info:
        call(*args)
    return info.value.exception_node


def test_tree() -> None:
    assert issubclass(ExecutionError, OptoError) and issubclass(TraceMissingInputsError, OptoError)


def test_simple_vector() -> None:
    x = node(3, name="x", trainable=True)
    e = caught(err, x)
    assert isinstance(e, ExceptionNode)
    assert e.name == "exception_err:0" and e.op_name == "exception"
    assert e.data == "(ZeroDivisionError) division by zero"
    assert e.inputs == {"x": x} and contain(e.parents, x) and len(e.parents) == 1
    assert e.info["error_comment"].replace("  # noqa: F841", "") == SIMPLE
    assert "err" in e.description
    assert e.create_feedback("full") == e.info["error_comment"]
    assert "ZeroDivisionError" in e.info["traceback"] and "Traceback" in e.info["traceback"]


def test_the_error_itself() -> None:
    with pytest.raises(ExecutionError) as info:
        err(3)
    error = info.value
    assert error.args == (error.exception_node.data,)
    assert str(error) == "\n\n" + error.exception_node.info["traceback"]


def test_error_by_hand() -> None:
    x = node(1)
    e = ExceptionNode(ValueError("no"), inputs={"x": x}, description="[exception] step", name="exception_step")
    with pytest.raises(ExecutionError) as info:
        raise ExecutionError(e)
    assert "(ValueError) no" in str(info.value)
    e2 = ExceptionNode(ValueError("no"), inputs={"x": x}, info={"other": 1})
    assert "(ValueError) no" in str(ExecutionError(e2))


def test_only_exceptions_are_caught() -> None:
    @bundle()
    def stop(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop(1)


def test_catching_can_be_switched_off() -> None:
    @bundle(catch_execution_error=False)
    def f(x):
        raise LocalError("out")

    with pytest.raises(LocalError):
        f(1)

    @bundle(catch_execution_error=False, trainable=True)
    def g(x):
        raise LocalError("out")

    with pytest.raises(LocalError):
        g(1)


def test_inputs_are_those_of_a_success() -> None:
    @bundle(trainable=True)
    def f(x, y=2):
        return x / 0

    x = node(1, name="x")
    e = caught(f, x)
    assert list(e.inputs) == ["x", "y", "__code"] and e.inputs["x"] is x and e.inputs["__code"] is f.parameter
    assert e.name == "exception_eval:0"


def test_custom_op_names_the_node() -> None:
    @bundle("[my.op] text")
    def f(x):
        raise ValueError("no")

    assert caught(f, 1).name == "exception_my.op:0"


def test_two_argument_exception() -> None:
    @bundle()
    def f(x):
        raise ValueError("bad", 2)

    e = caught(f, 1)
    assert e.data == "(ValueError) ('bad', 2)"
    assert e.info["error_comment"].endswith("\n(ValueError) bad.")


def test_exception_without_arguments() -> None:
    @bundle()
    def f(x):
        raise ValueError

    @bundle()
    def g(x):
        assert x == 2

    assert caught(f, 1).data == "(ValueError) "
    assert "raise ValueError <---" in caught(f, 1).info["error_comment"]
    assert "(AssertionError)" in caught(g, 1).info["error_comment"]


def test_foreign_exception_is_qualified() -> None:
    @bundle()
    def f(x):
        raise LocalError("text")

    assert caught(f, 1).data == f"({LocalError.__module__}.LocalError) text"


# --- comments -------------------------------------------------------------------------------------------------------


def helper(x):
    x = x + 1
    raise ValueError("boo")


def middle(x):
    return helper(x)


@bundle()
def outermost(x):
    y = middle(x)
    return y


def test_nested_frames() -> None:
    comment = caught(outermost, 1).info["error_comment"]
    blocks = comment.split("\n\n")
    assert len(blocks) == 3
    assert blocks[0].startswith("def outermost(x):") and blocks[1].startswith("def middle(x):")
    outer_line = next(line for line in blocks[0].splitlines() if "<---" in line)
    assert outer_line.startswith("    y = middle(x) <--- ") and "(ValueError)" not in outer_line
    assert "    return helper(x) <--- " in blocks[1]
    assert '    raise ValueError("boo") <--- (ValueError) boo.' in blocks[2]
    assert comment.endswith("\n(ValueError) boo.")
    assert comment.count("<---") == 3


def test_code_from_a_parameter() -> None:
    @bundle(trainable=True)
    def f(x):
        return x

    f.parameter._data = "def f(x):\n    a = 1\n    return x / 0\n"
    comment = caught(f, 1).info["error_comment"]
    assert "    return x / 0 <--- (ZeroDivisionError) division by zero." in comment
    assert comment.endswith("\n(ZeroDivisionError) division by zero.") and comment.startswith("def f(x):")


def test_frames_without_source() -> None:
    @bundle()
    def c_level(x):
        return functools.reduce(lambda a, b: a / b, [x, 0])

    @bundle()
    def comprehension(x):
        return [k / 0 for k in range(x)]

    @bundle()
    def sorting(x):
        return sorted([x, "a"])

    for f in (c_level, comprehension, sorting):
        e = caught(f, 2)
        message = e.info["error_comment"].rsplit("\n", 1)[1]
        assert message.startswith(e.data.split(" ")[0]) and "<---" in e.info["error_comment"]


def test_helpers_inside_code_parameters() -> None:
    @bundle(trainable=True)
    def f(x):
        return x

    f.parameter._data = "def h(x):\n    return x / 0\n\ndef f(x):\n    return h(x)\n"
    comment = caught(f, 1).info["error_comment"]
    assert "<---" in comment and comment.endswith("\n(ZeroDivisionError) division by zero.")


def test_code_that_runs_code() -> None:
    @bundle(trainable=True)
    def f(x):
        return x

    f.parameter._data = "def f(x):\n    a = 1\n    exec('1 / 0')\n    return a\n"
    comment = caught(f, 1).info["error_comment"]
    assert [line.startswith("    exec('1 / 0') <---") for line in comment.splitlines() if "<---" in line] == [True]


def test_exceptions_that_cannot_be_printed() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @bundle()
    def f(x):
        raise Mute(1)

    assert "Mute)" in caught(f, 1).data


def test_comments_of_methods_and_long_statements() -> None:
    class K:
        @bundle()
        def m(self, x):
            """Doc."""
            return [
                1,
                x / 0,
            ]

    comment = caught(K().m, 1).info["error_comment"]
    assert comment.startswith("def m(self, x):") and "x / 0, <--- (ZeroDivisionError) division by zero." in comment
    assert comment.count("<---") == 1


# --- broken code parameters -----------------------------------------------------------------------------------------


def broken(text: str) -> tuple[Any, ExceptionNode]:
    @bundle(trainable=True)
    def f(x):
        return x

    f.parameter._data = text
    return f.parameter, caught(f, node(1, trainable=True))


def test_syntax_error_vector() -> None:
    p, e = broken("def f(x):\n    return x +\n")
    assert e.name == "exception___code0:0" or e.name == f"exception_{p.py_name}:0"
    assert e.data == "(SyntaxError) invalid syntax (<string>, line 2)"
    assert e.inputs == {"code": p} and e.inputs["code"] is p
    lines = e.info["error_comment"].split("\n")
    assert lines[0] == "def f(x):"
    assert lines[1].startswith("    return x +") and "<---" in lines[1]
    assert lines[2] == "" and lines[-1] == "(SyntaxError) invalid syntax."
    assert "code" in e.info["traceback"] and "SyntaxError" in e.info["traceback"]


def test_missing_function_vector() -> None:
    p, e = broken("def other(x):\n    return x\n")
    assert e.data == "(KeyError) 'f'" and e.inputs["code"] is p and list(e.inputs) == ["code"]


def test_failure_while_defining() -> None:
    p, e = broken("import json\nLIMIT = 1 / 0\n\ndef f(x):\n    return x\n")
    assert e.data == "(ZeroDivisionError) division by zero" and e.inputs["code"] is p
    assert "LIMIT = 1 / 0 <---" in e.info["error_comment"]


def test_broken_code_gets_feedback() -> None:
    p, e = broken("def f(x)\n    return x\n")
    assert e.data.startswith("(SyntaxError)")
    e.backward(e.create_feedback("full"))
    assert len(p.feedback) == 1


def test_broken_code_heals() -> None:
    @bundle(trainable=True)
    def f(x):
        return x

    good = f.parameter.data
    for _ in range(2):
        f.parameter._data = "def f(x):\n    return x +\n"
        caught(f, 1)
        f.parameter._data = good
        assert f(1).data == 1


# --- nodes of errors ------------------------------------------------------------------------------------------------


def test_early_exception_in_a_sequence() -> None:
    p = node(1, name="p", trainable=True)
    e = caught(lambda: err(p * 2) + 1)
    e.backward(e.create_feedback())
    assert len(p.feedback) == 1
    graph = next(iter(p.feedback.values()))[0]
    assert graph.user_feedback == "(ZeroDivisionError) division by zero"
    assert {n.py_name for _, n in graph} >= {"p0", "multiply0", "exception_err0"}


def test_operators_on_error_nodes() -> None:
    e = caught(err, node(1, trainable=True))
    y = e.eq("(ZeroDivisionError) division by zero")
    assert y.data is True and y.parents[0] is e
    assert (e + "!").data.endswith("zero!")


def test_operator_errors() -> None:
    a, b = node(1, name="a"), node(0, name="b")
    e = caught(lambda: a / b)
    assert e.name == "exception_divide:0" and [p is q for p, q in zip(e.parents, (a, b), strict=True)] == [True, True]
    e2 = caught(lambda: node(1) / 0)
    assert e2.name == "exception_divide:1" and len(e2.parents) == 2
    assert e2.data == "(ZeroDivisionError) division by zero"
    assert "traceback" in e2.info and "error_comment" in e2.info


def test_inner_error_surfaces_as_the_outer_one() -> None:
    @bundle()
    def outer(x):
        return err(x) + 1

    x = node(1, name="x", trainable=True)
    e = caught(outer, x)
    assert e.name.startswith("exception_") and e.op_name == "exception" and "outer" in e.name
    assert contain(e.parents, x)
    assert "division by zero" in e.data


def test_operator_error_inside_a_body() -> None:
    @bundle()
    def outer(x):
        return node(x) / 0

    e = caught(outer, 1)
    assert "outer" in e.name and "division by zero" in e.data


def test_missing_inputs_error_is_not_wrapped() -> None:
    ext = node(1)

    @bundle()
    def inner(x):
        return ext.data

    with pytest.raises(TraceMissingInputsError):
        inner(1)
    error = TraceMissingInputsError("what is missing")
    assert error.message == str(error) == "what is missing"


def test_error_in_traceable_code() -> None:
    @bundle(traceable_code=True)
    def f(x):
        return x / 0

    x = node(1, trainable=True)
    e = caught(f, x)
    assert contain(e.parents, x) and "division by zero" in e.data


def test_cause_is_kept() -> None:
    with pytest.raises(ExecutionError) as info:
        err(1)
    assert isinstance(info.value.__cause__, ZeroDivisionError)
