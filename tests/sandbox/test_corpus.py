"""Every hostile function is contained: it ends as the corpus says, the canary stays silent, honest code goes on."""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple

import pytest
from campaign import attack, belongings, left_behind
from canary import watch_process
from hostile import KINDS, Hostile, load_corpus
from trial import Verdict, honest_answer

from opto.sandbox.process import ProcessExecutor

ENTRIES = load_corpus()
LANES = 4


class Result(NamedTuple):
    verdicts: dict[str, Verdict]
    left: dict[str, Any]


@pytest.fixture(scope="module")
def campaign() -> Result:
    if sys.platform != "linux":
        pytest.skip("the canary looks where Linux tells")
    watch_process()
    with ProcessExecutor(workers=1) as warm:  # loads all that this package loads when first needed
        honest_answer(warm)
    before = belongings()
    verdicts = attack(ENTRIES, lambda: ProcessExecutor(workers=2), LANES)
    return Result(verdicts, left_behind(before))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_hostile_function_is_contained(entry: Hostile, campaign: Result) -> None:
    verdict = campaign.verdicts[entry.name]
    assert verdict.contained, f"{entry.purpose}\n{verdict.kind}: {verdict.note}\n" + "\n".join(verdict.complaints)


def test_nothing_stays_behind(campaign: Result) -> None:
    assert campaign.left == {}, "descriptors, threads or processes outlive their executor"


def test_corpus_is_well_formed() -> None:
    assert len(ENTRIES) >= 80
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert entry.kinds <= KINDS, entry.name
        assert re.search(rf"\b{entry.name}\b", entry.text), f"{entry.name} does not name its function"
