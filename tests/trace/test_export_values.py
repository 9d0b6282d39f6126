"""Exported files hold the values of parameters of every type that prompts can ask for."""

from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pytest

from opto.trace import Module, node
from opto.values import register_value_type


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Cfg:
    k: int
    colour: Colour = Colour.RED


class Point(NamedTuple):
    x: int
    y: int


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __repr__(self) -> str:
        return f"{self.cents} cents"


register_value_type(
    Money,
    plain=lambda money: money.cents,
    read=lambda said: Money(int(said)),
    words="an amount in cents",
)

VALUES = {
    "date": dt.date(2025, 1, 2),
    "datetime": dt.datetime(2025, 1, 2, 3, tzinfo=dt.UTC),
    "timedelta": dt.timedelta(seconds=90),
    "Decimal": Decimal("0.10"),
    "Fraction": Fraction(1, 3),
    "path": PurePosixPath("a/b"),
    "enum": Colour.BLUE,
    "dataclass": Cfg(2, Colour.BLUE),
    "named tuple": Point(1, 2),
    "deque": deque([1, 2], maxlen=3),
    "defaultdict": defaultdict(list, a=[1]),
    "Counter": Counter("aab"),
    "keys": {(1, 2): {dt.date(2025, 1, 2): {0.5, 1.5}}},
    "array": np.array([[0.1, 2.0]], dtype=np.float32),
    "numpy number": np.float32(0.1),
    "odd numbers": [float("inf"), 1j, b"\x00", frozenset({1})],
}


class Holder(Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = node("first", trainable=True)

    def forward(self, x: Any) -> Any:
        return self.value


@pytest.mark.parametrize("name", VALUES)
def test_the_file_holds_the_present_value(name: str, tmp_path: Path) -> None:
    agent = Holder()
    agent.value._data = VALUES[name]
    agent.export(tmp_path / "exported.py")
    program = "import exported; print(repr(exported.Holder()(1)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == repr(VALUES[name]), (done.stderr, (tmp_path / "exported.py").read_text())


def test_a_value_that_cannot_be_written_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for value in (Money(5), [[object()]], defaultdict(lambda: 1)):
        agent = Holder()
        agent.value._data = value
        caplog.clear()
        agent.export(tmp_path / "exported.py")
        assert "Holder.value" in caplog.text
