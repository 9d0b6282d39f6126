"""`opto.llm` imports its names when they are used; the stub that type checkers read has the same names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import opto.llm


def test_the_stub_and_the_table_name_the_same() -> None:
    stub = ast.parse(Path(opto.llm.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = {
        alias.name: str(node.module) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(imported) == opto.llm.__all__
    for name, module in imported.items():
        assert module == f"opto.llm.{opto.llm._HOME[name]}" and getattr(opto.llm, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        opto.llm.nonsense
