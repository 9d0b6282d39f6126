"""A damaged reply never crashes a step and never loses one in silence; the bench counts a thousand, this a few."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[3] / "bench" / "malformed_replies.py"


def bench() -> Any:
    spec = importlib.util.spec_from_file_location("malformed_replies", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCH = bench()


@pytest.mark.parametrize("kind", BENCH.OPTIMIZERS)
def test_no_reply_is_lost_in_silence(kind: str) -> None:
    ends = BENCH.count(kind, 40)
    assert ends["silent"] == ends["crashed"] == 0
    assert sum(ends[name] for name in ("parsed", "repaired", "re-asked", "refused")) == 40
    assert ends["parsed"] + ends["repaired"] > 5, "most damages leave something to believe"


@pytest.mark.parametrize("form", BENCH.VALID)
def test_what_is_damaged_was_valid(form: str) -> None:
    for kind in ("OptoPrime json_object", "OptoPrimeV1", "OptoPrimeV2"):
        end, differences = BENCH.fate(kind, BENCH.VALID[form])
        assert end in ("parsed", "repaired") and not differences
