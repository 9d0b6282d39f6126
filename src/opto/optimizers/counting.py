"""Use feedback that counts: "2 of 4 are right" excludes far more than a score does.

Taken at its word it says that one assignment is right in all choices, and that each trial agrees with it in as many
choices as were counted (plus what the texts and code of that trial contribute, the same for all trials with the same
texts). Whoever proposes only assignments that agree with every count so far finds it in few trials. Where counts
contradict each other no assignment is left, and the caller goes on by other means.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Count", "consistent"]

_MOST_STEPS = 20_000


class Count(NamedTuple):
    """A trial: its choices by name, how many of `total` things were right, and which texts were in force."""

    values: Mapping[str, Any]
    right: int
    total: int
    texts: Any = None


def consistent(
    options: Mapping[str, Sequence[Any]], counts: Sequence[Count], rng: random.Random
) -> dict[str, Any] | None:
    """An assignment that agrees with all counts, drawn at random; None if there is none, or none was found soon.

    >>> seen = [Count({"a": 0, "b": 0}, 1, 2), Count({"a": 0, "b": 1}, 2, 2)]
    >>> consistent({"a": [0, 1], "b": [0, 1]}, seen, random.Random(0))
    {'a': 0, 'b': 1}
    """
    if not counts or any(count.total < len(options) for count in counts):
        return None
    return _Walk(options, counts, rng).found()


class _Walk:
    """A depth-first walk over assignments, in random order, that leaves a branch as soon as a count forbids it."""

    def __init__(self, options: Mapping[str, Sequence[Any]], counts: Sequence[Count], rng: random.Random) -> None:
        self.names = list(options)
        rng.shuffle(self.names)
        self.options, self.counts, self.rng = options, counts, rng
        self.steps = 0

    def found(self) -> dict[str, Any] | None:
        assignment: dict[str, Any] = {}
        ahead = [self._shuffled(0)]
        while ahead:
            depth = len(ahead) - 1
            if not ahead[-1] or self.steps >= _MOST_STEPS:
                ahead.pop()
                assignment.pop(self.names[depth - 1] if depth else "", None)
                continue
            self.steps += 1
            assignment[self.names[depth]] = ahead[-1].pop()
            if not self._possible(assignment):
                del assignment[self.names[depth]]
            elif depth + 1 == len(self.names):
                return {name: assignment[name] for name in self.options}
            else:
                ahead.append(self._shuffled(depth + 1))
        return None

    def _shuffled(self, depth: int) -> list[Any]:
        values = list(self.options[self.names[depth]])
        self.rng.shuffle(values)
        return values

    def _possible(self, assignment: Mapping[str, Any]) -> bool:
        """Whether each text version can contribute the same to all its counts, whatever is still open."""
        least: dict[Any, int] = {}
        most: dict[Any, int] = {}
        left = len(self.names) - len(assignment)
        for count in self.counts:
            agree = sum(count.values[name] == value for name, value in assignment.items())
            rest = count.total - len(self.names)  # what texts can contribute
            low, high = max(count.right - agree - left, 0), min(count.right - agree, rest)
            least[count.texts] = max(least.get(count.texts, 0), low)
            most[count.texts] = min(most.get(count.texts, rest), high)
        return all(least[texts] <= most[texts] for texts in least)
