"""Where the text of a function is found: decorators of every kind and spelling, files, heads."""

from __future__ import annotations

import functools
import importlib
import linecache
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opto import trace
from opto.trace.bundle import bundle
from opto.trace.bundle import bundle as other_name
from opto.trace.bundle.source import code_of, signature_text, source_of


def noted(fun: Any) -> Any:
    @functools.wraps(fun)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fun(*args, **kwargs)

    return wrapper


def configured(**options: Any) -> Any:
    return bundle(trainable=True, **options)


@noted
@trace.bundle(  # bundle(
    description="[f] with ) and @bundle() inside",  # a bundle(
)
# a comment about bundle
@noted  # bundle
def spread(
    x,
    y=1,
):  # head
    return x + y


@other_name(trainable=True)
def renamed(x):
    return x


@configured()
def through_a_helper(x):
    return x


class Holder:
    @bundle(trainable=True)
    @noted
    def method(self, x):
        """Adds."""
        return x + 1


def test_spread_over_lines() -> None:
    info = spread.__wrapped__.info
    assert info["source"].startswith("# a comment about bundle\n@noted  # bundle\ndef spread(\n    x,")
    assert info["source"].endswith("return x + y")
    lines = Path(__file__).read_text().splitlines()
    assert lines[info["line_number"] - 1] == "# a comment about bundle"
    assert info["file"] == __file__


def test_the_place_of_the_call_tells_the_bundle_not_its_name() -> None:
    assert renamed.info["source"].startswith("def renamed")
    assert renamed(1).data == 1


def test_a_helper_around_bundle() -> None:
    assert through_a_helper.info["source"].startswith("def through_a_helper")
    assert through_a_helper(2).data == 2


def test_method_below_other_decorators_runs_from_its_text() -> None:
    assert Holder.method.info["source"].splitlines()[0] == "@noted"
    assert Holder().method(1).data == 2


def test_inline_is_the_whole_source() -> None:
    def local(x):
        return x

    assert bundle()(local).info["source"].startswith("def local(x):")


@pytest.mark.parametrize("fun", [len, lambda x: x, functools.partial(int, base=2)])
def test_no_def_no_source(fun: Any) -> None:
    info = bundle()(fun).info
    assert info["source"] == "" and info["line_number"] is None and info["file"] is None


def test_code_of_looks_below_everything() -> None:
    def f(x: int) -> int:
        return x

    assert code_of(functools.partial(noted(f))) is f.__code__
    assert code_of(Holder().method.__call__) is not None
    assert code_of(len) is None


def load(path: Path, text: str, name: str) -> ModuleType:
    path.write_text(text)
    sys.modules.pop(name, None)
    return import_module(name)


def test_a_changed_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "changing_module.py"
    first = load(path, "def f(x):\n    return 1\n", "changing_module")
    assert source_of(first.f).text == "def f(x):\n    return 1"  # type: ignore[union-attr]
    linecache.clearcache()
    second = load(path, "\n\ndef f(x):\n    return 1000\n", "changing_module")
    found = source_of(second.f)
    assert found is not None and (found.text, found.line) == ("def f(x):\n    return 1000", 3)


def test_a_file_that_no_longer_parses_has_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = load(tmp_path / "breaking_module.py", "def f(x):\n    return 1\n", "breaking_module")
    (tmp_path / "breaking_module.py").write_text("def f(x\n")
    linecache.clearcache()
    assert source_of(module.f) is None
    with pytest.raises(OSError, match="cannot be found"):
        bundle(trainable=True)(module.f)


def test_only_a_number_of_files_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(importlib.import_module("opto.trace.bundle.source"), "_FILES_KEPT", 1)
    monkeypatch.setattr(importlib.import_module("opto.trace.bundle.source"), "_FILES", files := {})
    for name in ("first_of_two", "second_of_two"):
        source_of(load(tmp_path / f"{name}.py", "def f(x):\n    return 1\n", name).f)
    assert len(files) == 1


@pytest.mark.parametrize(
    ("source", "head"),
    [
        ("def f(x):\n    return x", "def f(x):"),
        ("def f(x): return x", "def f(x):"),
        (
            "@deco(a=lambda: 1)\ndef f(x=lambda y: {1: 2}) -> dict[str, int]:\n    pass",
            "def f(x=lambda y: {1: 2}) -> dict[str, int]:",
        ),
        ("def f(\n    x,  # the x:\n    y=2,\n):\n    return x", "def f(\n    x,  # the x:\n    y=2,\n):"),
        ('def f(x):\n    """One."""\n    return x', 'def f(x):\n    """One."""'),
        (
            "def f(x):\n\n    # why\n    '''Two\n    lines.'''\n    return x",
            "def f(x):\n\n    # why\n    '''Two\n    lines.'''",
        ),
        ("async def f(x):\n    return x", "async def f(x):"),
        ("def f(x):\n        return x\n  ]", "def f(x):"),
        ("def f(x", "def f(x"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_signature_text(source: str, head: str) -> None:
    assert signature_text(source) == head
