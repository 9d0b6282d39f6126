"""The gate: a candidate stays only if it does better on the examples at hand. Pure.

Better means a greater total score or, at the same score, clearly greater promise: fewer faults (parts that raise, give
nothing, never vary, or quote the examples) and a better fit to the feedback (values that sort the failing runs by what
is said about them, outputs nearer to the words of their feedback). So a part that was made right before its neighbour
survives.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice, pairwise
from typing import Any, NamedTuple

from opto.optimizers.blame.from_runs import is_idle, uses_in
from opto.show import text_of
from opto.trainer.rollouts import Rollout

__all__ = [
    "Candidate",
    "Standing",
    "Verdict",
    "alignment",
    "best_of",
    "closeness",
    "faults",
    "judge_candidate",
    "quoted",
    "standing",
]

_ROUND = 9
_CLEARLY = 0.08
_WORD = re.compile(r"\w+")
_PAIRS = 2_000
_LONG = 9
_LOOK = 3
_ENDLESS = 2


class Standing(NamedTuple):
    """What candidates are compared by, in this order; the greater is better."""

    score: float
    promise: float = 0.0

    def beats(self, other: Standing) -> bool:
        """Whether this one is better beyond chance: slightly more promise alone is not enough."""
        return self.score > other.score or (self.score == other.score and self.promise >= other.promise + _CLEARLY)


def standing(rollouts: Sequence[Rollout], values: Mapping[str, Any] | None = None, perfect: float = 1.0) -> Standing:
    """The standing of the values that these rollouts ran with; its promise is about the parts in `values`.

    Promise is the fit (the `alignment` of those parts, the `closeness` of outputs) less the faults for each run, where
    a quoted example counts as a fault.

    >>> standing([])
    Standing(score=0, promise=1.0)
    """
    values = values or {}
    faulty = faults(rollouts) + sum(quoted(rollouts, name, value) for name, value in values.items())
    fit = sum(alignment(rollouts, name, perfect) for name in values) + closeness(rollouts, perfect)
    promise = round(fit - faulty / max(1, len(rollouts)), _ROUND)
    return Standing(_total(rollouts), promise)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate passes, why, and its rollouts in the order of the examples (empty if it was dropped).

    `seen` holds the rollouts that were made, also of a candidate that was dropped.
    """

    better: bool
    reason: str
    standing: Standing | None = None
    rollouts: tuple[Rollout, ...] = ()
    seen: tuple[Rollout, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Proposed values by name of the part, and what the gate said of them."""

    values: Mapping[str, Any]
    verdict: Verdict


def judge_candidate(
    present: Sequence[Rollout],
    run: Callable[[Any], Rollout],
    *,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    perfect: float = 1.0,
    leader: Sequence[Rollout] = (),
) -> Verdict:
    """Run a candidate on the examples of `present` (the rollouts of the values in force) and compare.

    `old` and `new` are the values of the parts that the candidate changes. Examples that fail at present come first; a
    candidate that does no better on those is dropped without running the others. `leader` holds the rollouts of the
    best candidate so far: a candidate that is behind it after three examples is dropped at once. So is one whose code
    ran out of time on two of them.
    """
    failing = [i for i, r in enumerate(present) if r.score < perfect]
    passing = [i for i, r in enumerate(present) if r.score >= perfect]
    found: dict[int, Rollout] = {}
    for i in failing:
        found[i] = run(present[i].example)
        if len(found) <= _LOOK and sum(r.endless for r in found.values()) >= _ENDLESS:
            return Verdict(False, f"{_ENDLESS} of its first {len(found)} runs did not end in time")
        if leader and len(found) == _LOOK and _total(found.values()) < _total(leader[j] for j in found):
            return Verdict(False, "behind a better candidate")
    seen = tuple(found.values())
    here = standing([present[i] for i in failing], old, perfect)
    if passing and not standing(seen, new, perfect).beats(here):
        return Verdict(False, "no better on the failing examples", seen=seen)
    found.update((i, run(present[i].example)) for i in passing)
    rollouts = tuple(found[i] for i in range(len(present)))
    now, then = standing(rollouts, new, perfect), standing(present, old, perfect)
    return Verdict(now.beats(then), _reason(now, then), now, rollouts, rollouts)


def _total(rollouts: Iterable[Rollout]) -> float:
    return round(sum(r.score for r in rollouts), _ROUND)


def _reason(now: Standing, then: Standing) -> str:
    if now.score != then.score:
        return "a greater score" if now.score > then.score else "a smaller score"
    return "more promise at the same score" if now.beats(then) else "no better"


def best_of(candidates: Sequence[Candidate]) -> Candidate | None:
    """The best candidate that passed; of equals the shorter, then the earlier."""

    def rank(candidate: Candidate) -> tuple[Standing, int]:
        return candidate.verdict.standing or Standing(0), -sum(
            len(text_of(value)) for value in candidate.values.values()
        )

    return max((c for c in candidates if c.verdict.better), key=rank, default=None)


# --- the measures behind promise ---


def faults(rollouts: Sequence[Rollout]) -> int:
    """How often parts raised, gave nothing, gave one value whatever they were given, or only gave that back."""
    count = 0
    for name in {name for r in rollouts for name in r.uses}:
        uses = uses_in(rollouts, name)
        broken = sum(use.broken for use in uses)
        count += len(uses) if broken == 0 and is_idle(uses, 3) else broken
    return count


def quoted(rollouts: Iterable[Rollout], name: str, value: object) -> int:
    """How many of the longer inputs of a part its own text quotes: a rule quotes none, a list of examples does.

    >>> from opto.optimizers.blame.recorded_uses import RecordedUse
    >>> from opto.trace import node
    >>> runs = [Rollout(1, node(0), 0, "", {"f": (RecordedUse(("'The answer is no'",), "", False, 1),)})]
    >>> quoted(runs, "f", "def f(x): return x != 'The answer is no'"), quoted(runs, "f", "def f(x): return 'no' in x")
    (1, 0)
    """
    inputs = {given[1:-1] for use in uses_in(rollouts, name) for given in use.inputs}
    return sum(len(given) >= _LONG and given in text_of(value) for given in inputs)


def alignment(rollouts: Sequence[Rollout], name: str, perfect: float) -> float:
    """How well the values of a part sort runs by what was wanted of them, from -1 to 1.

    What was wanted stands in the feedback of a failing run and in the output of a successful one. Runs in which the
    part made the same value should share words of that, others should not: the correlation of both over all pairs of
    runs. 0 if all values are the same, or all differ.
    """
    using = [
        (
            tuple(use.value for use in r.uses[name]),
            frozenset(_WORD.findall((r.feedback if r.score < perfect else text_of(r.value)).lower())),
        )
        for r in rollouts
        if name in r.uses
    ]
    same: list[float] = []
    alike: list[float] = []
    for (value, words), (other, others) in islice(combinations(using, 2), _PAIRS):
        same.append(float(value == other))
        alike.append(len(words & others) / len(words | others) if words or others else 1.0)
    if len(set(same)) < 2 or len(set(alike)) < 2:
        return 0.0
    return round(statistics.correlation(same, alike), 3)


def closeness(rollouts: Sequence[Rollout], perfect: float) -> float:
    """How many words, and neighbours of words, outputs of failing runs share with their feedback: it often quotes
    what was wanted.

    The mean over the failing runs of Dice's coefficient; 1 if none fails. Neighbours tell the right order from a wrong.
    """
    shares: list[float] = []
    for r in rollouts:
        if r.score < perfect:
            said = _pieces(r.feedback)
            made = frozenset() if r.failed else _pieces(text_of(r.value))
            shares.append(2 * len(said & made) / max(1, len(said) + len(made)))
    return round(sum(shares) / len(shares), 3) if shares else 1.0


def _pieces(text: str) -> frozenset[tuple[str, ...]]:
    """The words of a text, alone and with the next."""
    words = _WORD.findall(text.lower())
    return frozenset([*((word,) for word in words), *pairwise(words)])
