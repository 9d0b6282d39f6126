"""`opto doctor` tells what holds."""

from __future__ import annotations

import io
import sys

import pytest

from opto.cli import main
from opto.sandbox.layers.confinement import LAYERS


def test_every_layer_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) in (0, 1)
    told = capsys.readouterr().out
    assert all(f" {layer} " in told for layer in LAYERS) and "A call in the sandbox works" in told
    assert "A call in the executor 'monty' works." in told


def test_an_absent_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    main(["doctor"])
    assert "pip install 'opto-trace[monty]'" in capsys.readouterr().out


def test_lines_reach_a_pipe_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(pipe))
    main(["doctor"])
    assert b"A call in the sandbox" in pipe.getvalue()
