"""Projections: the shipped ones, and what they leave alone."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.trace.nodes import ParameterNode
from opto.trace.projections import BlackCodeFormatter, DocstringProjection, Projection
from opto.trace.spaces import Code


def test_help_of_a_space_says_nothing_untrue_of_its_arguments() -> None:
    assert "ignored" not in (inspect.getdoc(Code.__init__) or "")


class Clip(Projection):
    def project(self, x: Any) -> Any:
        return min(x, 3)


def test_a_projection_is_a_function() -> None:
    assert Clip("any", arguments=1)(5) == 3
    assert ParameterNode(1, projections=[Clip()]).projections[0](7) == 3
    with pytest.raises(TypeError):
        Projection()  # type: ignore[abstract]


CODE = "def  f(x ):  # why\n  return {  'a':x }"


def test_black_formats_functions_only() -> None:
    pytest.importorskip("black")
    black = BlackCodeFormatter()
    assert black(CODE) == 'def f(x):  # why\n    return {"a": x}\n'
    for other in ("default", "the definition", "x = {  1 }", "a default def of f(", 3, None, ["def f(): pass"]):
        assert black(other) is other


def test_without_black_code_stays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "black", None)
    caplog.set_level("INFO")
    assert BlackCodeFormatter()(CODE) is CODE and "opto-trace[format]" in caplog.text


@given(st.text())
def test_docstring_is_replaced_and_the_code_still_parses(doc: str) -> None:
    code = 'def f(x):\n    """old"""\n    return """kept"""\n'
    new = DocstringProjection(doc)(code)
    assert "old" not in new.replace(doc, "") or "old" in doc
    assert new.endswith('return """kept"""\n')
    if doc.isalnum():
        assert ast.get_docstring(ast.parse(new).body[0], clean=False) == doc  # type: ignore[arg-type]


def test_docstring_needs_a_pair() -> None:
    project = DocstringProjection("new")
    for text in ("def f(): pass", 'x = """', 5):
        assert project(text) is text
    tricky = DocstringProjection('say """hi"""')('def f():\n    """old"""')
    assert ast.get_docstring(ast.parse(tricky).body[0]) == 'say """hi"""'  # type: ignore[arg-type]
