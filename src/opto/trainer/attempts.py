"""The values that were tried for each part: shown in the next question, not tried twice, kept for a second chance."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opto.optimizers.problem.uses import PastValue
from opto.optimizers.replies.values import same_value
from opto.show import text_of
from opto.trainer.gate import Candidate
from opto.trainer.rollouts import Rollout

__all__ = ["Attempts", "is_number"]


class Attempts:
    """The attempts so far, by name of the part.

    `visits` counts the steps about a part since another part or the examples changed; `shown` holds the values, with
    their feedback, that the next question tells of; `refused` holds the values that get a second chance, at most
    `kept` a part.
    """

    def __init__(self, kept: int, perfect: float) -> None:
        self.kept, self.perfect = kept, perfect
        self.visits: dict[str, int] = defaultdict(int)
        self.shown: dict[str, list[PastValue]] = defaultdict(list)
        self.refused: dict[str, dict[str, Any]] = defaultdict(dict)
        self._tested: set[str] = set()

    def test(self, values: Mapping[str, Any]) -> bool:
        """Note a test of these values; True if they were tested before while all other values were the same."""
        known = _text(values) in self._tested
        self._tested.add(_text(values))
        return known

    def remember(self, candidate: Candidate) -> None:
        """Note a candidate that was not kept."""
        if len(candidate.values) != 1 or not candidate.verdict.seen:
            return
        ((name, value),) = candidate.values.items()
        if not any(same_value(t.value, value) for t in self.shown[name]):
            self.shown[name].append(PastValue(value, _most_frequent_feedback(candidate.verdict.seen, self.perfect)))
        self._keep_refused(name, value)

    def accept(self, values: Mapping[str, Any], before: Mapping[str, Any], rollouts: Iterable[Rollout]) -> None:
        """Note that `values` replace `before`, with which the rollouts ran: other parts have their turn."""
        feedback = _most_frequent_feedback(rollouts, self.perfect)
        for name, old in before.items():
            self.shown[name] = [PastValue(old, feedback), *self.shown[name]] if is_number(old) else []
            self.refused[name].pop(_text(values[name]), None)
            self._keep_refused(name, old)
        for name in self.visits:
            self.visits[name] = 1 if name in values else max(0, self.visits[name] - 1)
        self._tested.clear()

    def renew(self) -> None:
        """Note that the examples changed: every part may be visited, every value tested again."""
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

    def _keep_refused(self, name: str, value: Any) -> None:
        """Keep a refused value; the oldest make room."""
        pool = self.refused[name]
        pool[_text(value)] = value
        while len(pool) > self.kept:
            del pool[next(iter(pool))]


def is_number(value: Any) -> bool:
    """Whether the value is a number: the feedback on earlier numbers says where better ones lie."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _most_frequent_feedback(rollouts: Iterable[Rollout], perfect: float) -> str:
    feedbacks = [r.feedback for r in rollouts if r.score < perfect]
    return max(feedbacks, key=feedbacks.count, default="")[:200]


def _text(value: Any) -> str:
    """A text by which values are told apart, of whatever length."""
    return text_of([value], sys.maxsize)
