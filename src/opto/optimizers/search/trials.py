"""The history of a run: values, scores, and whether the model or the search proposed them. Pure functions of it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

__all__ = [
    "MODEL",
    "SEARCH",
    "START",
    "Trial",
    "best_of",
    "comparable_scores",
    "model_has_rested",
    "read_score",
    "unsearched_values",
]

START, MODEL, SEARCH = "start", "model", "search"

_SHARE = re.compile(r"(?<![\w.])(\d+)\s*(?:/|of|out of)\s*(\d+)(?![\w.]*\d)")
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w])")


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate: plain values by name, its score (higher is better; -inf failed, None unknown), who proposed it.

    `asked`: the model was asked for this candidate, even if it had nothing to say and the search took over.
    """

    values: Mapping[str, Any]
    score: float | None
    feedback: str = ""
    by: str = START
    asked: bool = False

    @property
    def is_scored(self) -> bool:
        """Whether the candidate ran and its score is known."""
        return self.score is not None and math.isfinite(self.score)


def read_score(feedback: Any) -> float | None:
    """The score that a feedback is or holds: a number, "2 of 4", "2/4", or the only number in a text; else None.

    >>> read_score(0.5), read_score("2 of 4 are right"), read_score("delay: 35.5 s")
    (0.5, 0.5, 35.5)
    >>> read_score("between 3 and 4") is None
    True
    """
    if isinstance(feedback, Real):  # numpy's numbers are, too
        return float(feedback) if math.isfinite(feedback) else None
    if not isinstance(feedback, str):
        return None
    shares = {(int(part), int(whole)) for part, whole in _SHARE.findall(feedback)}
    if len(shares) == 1 and (share := shares.pop())[0] <= share[1] > 0:
        return share[0] / share[1]
    numbers = {float(text) for text in _NUMBER.findall(feedback)}
    return numbers.pop() if len(numbers) == 1 else None


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest score, the latest of several; None if none is scored."""
    scored = [trial for trial in trials if trial.is_scored]
    return max(reversed(scored), key=lambda trial: trial.score or 0, default=None)


def model_has_rested(trials: Sequence[Trial]) -> bool:
    """Whether the model is to be asked again: at once after a gain, else after 1, 2, then always 4 trials."""
    best, failures, since = -math.inf, 0, 0
    for trial in trials:
        gain = trial.score is not None and trial.score > best
        since = 1 if trial.asked else since + 1
        if trial.asked:
            failures = 0 if gain and trial.by == MODEL else failures + 1
        if gain and trial.score is not None:
            best = trial.score
    return since >= 1 << min(failures, 2)


def unsearched_values(trial: Trial, searched: Collection[str]) -> tuple[tuple[str, str], ...]:
    """The values of a trial that are not searched, in a form that can be compared."""
    return tuple(sorted((name, str(value)) for name, value in trial.values.items() if name not in searched))


def comparable_scores(trials: Sequence[Trial], searched: Collection[str]) -> list[float | None]:
    """The scores as they would be with the first texts, so that numbers tried with different texts can be compared.

    New texts are first tried with numbers that were tried before: the difference of the scores is due to the texts,
    and is taken off all scores with these texts.
    """
    first: dict[Any, float] = {}
    levels: dict[Any, float] = {}
    found: list[float | None] = []
    for trial in trials:
        texts = unsearched_values(trial, searched)
        numbers = tuple(trial.values.get(name) for name in searched)
        if trial.score is None or not trial.is_scored:
            found.append(trial.score)
            continue
        if texts not in levels:
            levels[texts] = trial.score - first.get(numbers, trial.score)
        found.append(trial.score - levels[texts])
        first.setdefault(numbers, trial.score - levels[texts])
    return found
