"""Blame from many runs: which part to change next, judged by how failing and successful runs used each. Pure.

A part is blamed for the share of failing runs in which its values never occur in successful ones; more so if it
raised, gave one value whatever it was given, or gave back what it was given. Each try that led nowhere lowers the
blame; of two equal parts the one nearer to the output comes first, because its effect can be judged at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Protocol, TypeVar

from opto.optimizers.blame.recorded_uses import RecordedUse

__all__ = ["Run", "blame_from_runs", "is_idle", "runs_to_show", "uses_in"]

_FLOOR = 0.5
_TRY = 0.5
_DEPTH = 0.01
_IDLE = 0.25


class Run(Protocol):
    """A run that was scored, and the uses of each part in it, by the part's name."""

    @property
    def score(self) -> float: ...
    @property
    def uses(self) -> Mapping[str, tuple[RecordedUse, ...]]: ...


R = TypeVar("R", bound=Run)


def blame_from_runs(runs: Sequence[Run], tries: Mapping[str, int], perfect: float) -> dict[str, float]:
    """Blame by name of the part, the largest first; only parts that a failing run used."""
    failing = [r for r in runs if r.score < perfect]
    passing = [r for r in runs if r.score >= perfect]
    names = dict.fromkeys(name for r in failing for name in r.uses)
    level = {name: max(use.level for use in uses_in(failing, name)) for name in names}
    depth = {value: i for i, value in enumerate(sorted(set(level.values())))}
    found: dict[str, float] = {}
    for name in names:
        good = {use.value for use in uses_in(passing, name)}
        odd = sum(any(use.broken or use.value not in good for use in r.uses.get(name, ())) for r in failing)
        share = _FLOOR + (1 - _FLOOR) * odd / len(failing)  # a wrong value may be right elsewhere
        uses = uses_in(runs, name)
        broken = sum(use.broken for use in uses)
        extra = broken / len(uses) if broken else _IDLE if is_idle(uses, 2) else 0.0
        found[name] = share * (1 + extra) + extra - _TRY * tries.get(name, 0) + _DEPTH * depth[level[name]]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def uses_in(runs: Iterable[Run], name: str) -> list[RecordedUse]:
    """All uses of a part, in the order of the runs."""
    return [use for r in runs for use in r.uses.get(name, ())]


def is_idle(uses: Sequence[RecordedUse], at_least: int) -> bool:
    """Whether a part did no work: it gave one value for `at_least` differing inputs, or only gave its input back."""
    inputs = len({use.inputs for use in uses})
    is_constant = inputs >= at_least and len({use.value for use in uses}) == 1
    return is_constant or (inputs > 1 and all(use.echo for use in uses))


def runs_to_show(runs: Sequence[R], part: str, *, failing: int, passing: int, perfect: float) -> list[R]:
    """The runs to show about a part: failing ones that differ, near misses first, then successful ones."""
    using = [r for r in runs if part in r.uses]
    good = [r for r in using if r.score >= perfect]
    known = {use.value for use in uses_in(good, part)}
    bad = sorted(
        (r for r in using if r.score < perfect),
        key=lambda r: (all(use.value in known and not use.broken for use in r.uses[part]), -r.score),
    )
    counts = Counter(chain.from_iterable(_inputs(r, part) for r in using))
    common = {given for given, count in counts.items() if count > 1}  # they name a kind of run, others one run
    return _diverse(bad, part, failing, common) + _diverse(good, part, passing, common)


def _diverse(runs: Sequence[R], part: str, count: int, common: set[str]) -> list[R]:
    """Up to `count` runs, each next one chosen for what it shows anew: common inputs first, then values made."""
    left, chosen = list(runs), list[R]()
    inputs, values = set[str](), set[str]()
    while left and len(chosen) < count:
        fresh = [(len((_inputs(r, part) & common) - inputs), len(_values(r, part) - values)) for r in left]
        best = left.pop(fresh.index(max(fresh)))
        chosen.append(best)
        inputs |= _inputs(best, part)
        values |= _values(best, part)
    return chosen


def _inputs(run: Run, part: str) -> set[str]:
    return {given for use in run.uses[part] for given in use.inputs}


def _values(run: Run, part: str) -> set[str]:
    return {use.value for use in run.uses[part]}
