"""Apply_op, projections and the small utilities."""

from __future__ import annotations

from typing import Any

import pytest

from opto.trace import apply_op, node
from opto.trace import operators as ops
from opto.trace.broadcast import recursive_conversion
from opto.trace.containers import NodeContainer
from opto.trace.iterators import DictIterable, SeqIterable, iterate
from opto.trace.nodes import MessageNode, Node
from opto.trace.projections import BlackCodeFormatter, DocstringProjection, Projection
from opto.trace.utils import (
    contain,
    dedent,
    escape_json_nested_quotes,
    for_all_methods,
    parse_eqs_to_dict,
    remove_non_ascii,
)


class Pair(NodeContainer):
    def __init__(self, a: Any, b: Any, note: str = "") -> None:
        self.a, self.b, self.note = a, b, note


# --- apply_op -------------------------------------------------------------------------------------------------------


def test_nodes_only() -> None:
    x, y = node(1), node(2)
    z = apply_op(ops.add, node(None), x, y)
    assert isinstance(z, MessageNode) and z.data == 3 and contain(z.parents, x)


def test_lists() -> None:
    left, right, out = [node(1), node(2)], [node(10), node(20)], [node(0), node(0)]
    z = apply_op(ops.add, out, left, right)
    assert z is out and [n.data for n in z] == [11, 22]
    assert contain(z[0].parents, left[0]) and contain(z[0].parents, right[0])


def test_a_node_is_broadcast() -> None:
    x = node(100)
    z = apply_op(ops.add, [None, None], [node(1), node(2)], x)
    assert [n.data for n in z] == [101, 102] and all(contain(n.parents, x) for n in z)


def test_dicts_and_depth() -> None:
    left = {"a": node(1), "b": [node(2), {"c": node(3)}]}
    right = {"a": node(10), "b": [node(20), {"c": node(30)}]}
    z = apply_op(ops.add, {"a": None, "b": [None, {"c": None}]}, left, right)
    assert z["a"].data == 11 and z["b"][0].data == 22 and z["b"][1]["c"].data == 33


def test_containers() -> None:
    z = apply_op(ops.add, Pair(None, None, "kept"), Pair(node(1), node(2), "x"), Pair(node(3), node(4), "y"))
    assert isinstance(z, Pair) and (z.a.data, z.b.data, z.note) == (4, 6, "kept")


def test_tuples() -> None:
    z = apply_op(ops.add, (None, None), (node(1), node(2)), (node(3), node(4)))
    assert isinstance(z, tuple) and [n.data for n in z] == [4, 6]


def test_keyword_inputs() -> None:
    z = apply_op(ops.add, [None], x=[node(1)], y=[node(2)])
    assert z[0].data == 3


def test_mismatches() -> None:
    with pytest.raises(AssertionError):
        apply_op(ops.add, [None], [node(1)], {"a": node(1)})
    with pytest.raises(AssertionError):
        apply_op(ops.add, [None, None], [node(1), node(2)], [node(1)])


def test_plain_leaves_stay() -> None:
    z = apply_op(ops.add, ["kept", None], ["left", node(1)], ["right", node(2)])
    assert z[0] == "kept" and z[1].data == 3


def test_iterators_are_exported() -> None:
    n, d = node([1, 2]), node({"a": 1})
    assert [e.data for e in iterate(n)] == [1, 2] and [e.data for e in SeqIterable(n)] == [1, 2]
    assert [(k.data, v.data) for k, v in DictIterable(d)] == [("a", 1)]
    assert callable(recursive_conversion)


# --- projections ----------------------------------------------------------------------------------------------------


class Clip(Projection):
    def project(self, x: Any) -> Any:
        return min(x, 3)


def test_projection() -> None:
    assert Clip("ignored", also=True)(5) == Clip().project(5) == 3
    with pytest.raises((NotImplementedError, TypeError)):
        Projection().project(1)


def test_black() -> None:
    pytest.importorskip("black")
    assert BlackCodeFormatter().project("def  f( x ):\n  return  x").strip() == "def f(x):\n    return x"
    assert BlackCodeFormatter().project("just  text") == "just  text"


def test_docstring_projection() -> None:
    out = DocstringProjection("new words").project('def f(x):\n    """old words"""\n    return """x"""')
    assert "new words" in out and "old words" not in out and out.endswith('return """x"""')


# --- utilities ------------------------------------------------------------------------------------------------------


def test_contain() -> None:
    a, b = node(1), node(1)
    assert contain([a], a) and not contain([a], b) and not contain([], a) and contain({a}, a)


def test_dedent_strips_both_sides() -> None:
    assert dedent("  a  \n\tb\n  c d ") == "a\nb\nc d"


def test_for_all_methods() -> None:
    def shout(fun: Any) -> Any:
        return lambda *a: f"{fun(*a)}!"

    @for_all_methods(shout)
    class T:
        constant = 3

        def __len__(self) -> int:
            return 1

        def say(self) -> str:
            return "hi"

    assert T().say() == "hi!" and len(T()) == 1 and T.constant == 3


def test_parse_eqs_to_dict() -> None:
    assert parse_eqs_to_dict("x0 = 1\ny = `two`") == {"x0": " 1", "y": " two"}
    out = parse_eqs_to_dict("a = first\nsecond line\nb = 3")
    assert list(out) == ["a", "b"] and out["a"].startswith(" first") and "second line" in out["a"]


def test_reply_repair() -> None:
    import json

    broken = '{"name": "code", "value": "print("hi")"}'
    assert json.loads(escape_json_nested_quotes(broken)) == {"name": "code", "value": 'print("hi")'}
    assert remove_non_ascii("naïve → text") == "nave  text"


class Recorder:
    """What render_opt_step needs of an optimizer."""

    def __init__(self) -> None:
        self.log = [{"response": '{"reasoning": "because so", "suggestion": {"x0": "next value"}}'}]
        summary = type("S", (), {"graph": [], "variables": {}, "user_feedback": "too low"})
        problem = type("P", (), {"feedback": "too low", "code": "y0 = add(x=x0)", "__str__": lambda s: "the problem"})()
        self.summary_log = [{"problem_instance": problem, "summary": summary}]


def test_render_opt_step(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    shown: list[Any] = []
    display = types.ModuleType("IPython.display")
    display.display = lambda *a, **k: shown.extend(a)  # type: ignore[attr-defined]
    display.HTML = lambda text: text  # type: ignore[attr-defined]
    package = types.ModuleType("IPython")
    package.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    from opto.trace.utils import render_opt_step

    html = " ".join(str(s) for s in [render_opt_step(0, Recorder()), *shown])
    assert "because so" in html and "next value" in html and "too low" in html and "the problem" in html
    shown.clear()
    html = " ".join(str(s) for s in [render_opt_step(0, Recorder(), no_trace_graph=True, no_improvement=True), *shown])
    assert "because so" in html and "next value" not in html and "the problem" not in html


def test_node_methods_on_results() -> None:
    assert isinstance(apply_op(ops.multiply, node(0), node(3), node(4)), Node)
