"""The gate: a candidate stays only if it does better on the examples at hand. Pure.

Better means a greater total score, or an equal one with fewer faults (parts that raise, give nothing or never
vary): so a part that was made right before its neighbour survives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opto.trainer.rollouts import Rollout
from opto.trainer.suspicion import faults

__all__ = ["Candidate", "Standing", "Verdict", "best_of", "judge_candidate", "standing"]

_ROUND = 9


class Standing(NamedTuple):
    """What candidates are compared by; the greater is better."""

    score: float
    soundness: int


def standing(rollouts: Sequence[Rollout]) -> Standing:
    """The standing of the values that these rollouts ran with.

    >>> standing([])
    Standing(score=0, soundness=0)
    """
    return Standing(round(sum(r.score for r in rollouts), _ROUND), -faults(rollouts))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate passes, why, and its rollouts in the order of the examples (empty if it was dropped)."""

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

    @property
    def size(self) -> int:
        """The length of the values as text: of equals, the shorter is kept."""
        return sum(len(str(value)) for value in self.values.values())


def judge_candidate(
    present: Sequence[Rollout], run: Callable[[Any], Rollout], *, perfect: float, hopeless_early: bool = True
) -> Verdict:
    """Run a candidate on the examples of `present` (the rollouts of the values in force) and compare.

    Examples that fail at present come first; a candidate that does no better on those is dropped
    without running the others.
    """
    failing = [i for i, r in enumerate(present) if r.score < perfect]
    passing = [i for i, r in enumerate(present) if r.score >= perfect]
    found: dict[int, Rollout] = {i: run(present[i].example) for i in failing}
    seen = tuple(found.values())
    if passing and hopeless_early and standing(seen) <= standing([present[i] for i in failing]):
        return Verdict(False, "no better on the failing examples", seen=seen)
    found.update((i, run(present[i].example)) for i in passing)
    rollouts = tuple(found[i] for i in range(len(present)))
    now, then = standing(rollouts), standing(present)
    if now > then:
        reason = "a greater score" if now.score > then.score else "fewer faults at the same score"
        return Verdict(True, reason, now, rollouts, rollouts)
    return Verdict(False, "a smaller score" if now.score < then.score else "no better", now, rollouts, rollouts)


def best_of(candidates: Sequence[Candidate]) -> Candidate | None:
    """The best candidate that passed; of equals the shorter, then the earlier."""
    passed = [c for c in candidates if c.verdict.better and c.verdict.standing is not None]
    return max(passed, key=lambda c: (c.verdict.standing or Standing(0, 0), -c.size), default=None)
