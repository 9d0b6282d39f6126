"""What was tried for each part and what came of it: to be shown, not to be repeated, and for second chances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opto.optimizers.problem.uses import PastValue
from opto.optimizers.replies.values import same_value
from opto.trainer.gate import Candidate
from opto.trainer.rollouts import Rollout

__all__ = ["Attempts", "is_ordered"]


class Attempts:
    """Remembers attempts by name of the part.

    `visits` counts the steps about a part since something it depends on changed; `shown` holds what the next
    question tells; `refused` the values, not in force, that get second chances, at most `kept` a part.
    """

    def __init__(self, kept: int, perfect: float) -> None:
        self.kept, self.perfect = kept, perfect
        self.visits: dict[str, int] = defaultdict(int)
        self.shown: dict[str, list[PastValue]] = defaultdict(list)
        self.refused: dict[str, dict[str, Any]] = defaultdict(dict)
        self._tested: set[str] = set()

    def test(self, values: Mapping[str, Any]) -> bool:
        """Note that these values are being tested; whether they were before, with the rest as it is now."""
        known = repr(values) in self._tested
        self._tested.add(repr(values))
        return known

    def remember(self, candidate: Candidate) -> None:
        """Note a candidate that is not in force."""
        if len(candidate.values) != 1 or not candidate.verdict.seen:
            return
        ((name, value),) = candidate.values.items()
        if not any(same_value(t.value, value) for t in self.shown[name]):
            self.shown[name].append(PastValue(value, _said(candidate.verdict.seen, self.perfect)))
        self._keep(name, value)

    def accept(self, values: Mapping[str, Any], before: Mapping[str, Any], rollouts: Iterable[Rollout]) -> None:
        """Note that `values` replace `before`, under which the rollouts were made: other parts have their turn."""
        feedback = _said(rollouts, self.perfect)
        for name, old in before.items():
            self.shown[name] = [PastValue(old, feedback), *self.shown[name]] if is_ordered(old) else []
            self.refused[name].pop(repr(values[name]), None)
            self._keep(name, old)
        for name in self.visits:
            self.visits[name] = 1 if name in values else max(0, self.visits[name] - 1)
        self._tested.clear()

    def renew(self) -> None:
        """Note that the examples changed: every part has a turn, every value a chance."""
        self.visits.clear()
        self._tested.clear()

    def singles(self) -> Iterator[dict[str, Any]]:
        """Every refused value by itself."""
        for name, values in self.refused.items():
            for value in values.values():
                yield {name: value}

    def pairs(self, name: str, value: Any) -> Iterator[dict[str, Any]]:
        """This value of a part with each refused value of another part, the latest first.

        Two parts that must agree, one that says what the other looks for, may each be right only with the other.
        """
        others = [(other, value) for other, pool in self.refused.items() if other != name for value in pool.values()]
        for other, partner in reversed(others):
            yield {name: value, other: partner}

    def _keep(self, name: str, value: Any) -> None:
        """Keep a value that is not in force; the oldest make room."""
        pool = self.refused[name]
        pool[repr(value)] = value
        while len(pool) > self.kept:
            del pool[next(iter(pool))]


def is_ordered(value: Any) -> bool:
    """Whether earlier values still say where better ones lie."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _said(rollouts: Iterable[Rollout], perfect: float) -> str:
    """The feedback that failing runs got most."""
    feedbacks = [r.feedback for r in rollouts if r.score < perfect]
    return max(feedbacks, key=feedbacks.count, default="")[:200]
