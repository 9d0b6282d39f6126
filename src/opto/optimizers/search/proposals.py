"""The next numbers and choices to try: a pure function of what was tried, the spaces and a seed.

In this order: what agrees with all counts, where the feedback counts (`counting.py`); a few points drawn at random;
then mostly the neighbourhood of the best point by a model of the score (`surrogate.py`), and every few turns
wherever a sampler of `optuna` (extra `search`) wants to look. Nothing is tried twice.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from opto.errors import MissingExtraError
from opto.optimizers.counting import Count, consistent
from opto.optimizers.search.axes import Axis, ChoiceAxis
from opto.optimizers.search.surrogate import most_promising

__all__ = ["Explorer", "SamplerFactory", "Tried", "suggest"]

SamplerFactory = Callable[[int], Any]
"""From a seed to a sampler of `optuna`."""

_EXPLORE_EVERY = 5
_DRAWS = 200
_REACH = (2.0, 6.3)  # reaches are drawn from 2**-2 to 2**-6.3 of a range
_MOST_LISTED = 10_000
_MOST_KNOWN = 200


class Tried(NamedTuple):
    """Values by name, and their score, higher is better: -inf failed, None unknown; `told` if the feedback counts."""

    values: Mapping[str, Any]
    score: float | None
    told: Count | None = None


class Explorer:
    """Asks a sampler of `optuna`, made anew for each question: the answer depends on nothing but the arguments."""

    def __init__(self, make: SamplerFactory | None = None) -> None:
        self.make = make

    def ask(self, axes: Mapping[str, Axis], tried: Sequence[Tried], seed: int) -> dict[str, Any]:
        """Values by name."""
        optuna = _library()
        sampler = _tpe(optuna, seed, _startup(axes)) if self.make is None else self.make(seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        distributions = {name: axis.distribution(optuna) for name, axis in axes.items()}
        for trial in tried:
            if trial.score is not None:
                state = optuna.trial.TrialState.COMPLETE if math.isfinite(trial.score) else optuna.trial.TrialState.FAIL
                value = trial.score if math.isfinite(trial.score) else None
                facts = {"params": dict(trial.values), "distributions": distributions, "value": value, "state": state}
                study.add_trial(optuna.trial.create_trial(**facts))
        asked = study.ask(distributions).params
        return {name: axis.allowed(asked[name]) for name, axis in axes.items()}


def _tpe(optuna: Any, seed: int, startup: int) -> Any:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)


def _library() -> Any:
    """The sampler's library; MissingExtraError says how to install it."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", "search", "Searching numbers and choices") from error
    logging.getLogger("optuna.storages._in_memory").setLevel(logging.WARNING)  # it announces every study
    return optuna


def _startup(axes: Mapping[str, Axis]) -> int:
    """How many points are drawn before any is inferred."""
    return 4 + 2 * len(axes)


def suggest(
    axes: Mapping[str, Axis], tried: Sequence[Tried], *, seed: int, explorer: Explorer | None = None
) -> dict[str, Any] | None:
    """Values by name that were not tried; None if all were."""
    turn = len(tried)
    rng = random.Random(f"{seed}:{turn}")
    seen = {_key(trial.values) for trial in tried}
    counted = _by_count(axes, tried, rng)
    if counted is not None and _key(counted) not in seen:
        return counted
    scored = [trial for trial in tried if trial.score is not None]
    if any(math.isfinite(trial.score or 0) for trial in scored) and turn >= _startup(axes) and turn % _EXPLORE_EVERY:
        refined = _refined(axes, scored, seen, rng)
        if refined is not None:
            return refined
    explored = (explorer or Explorer()).ask(axes, tried, rng.randrange(2**31))
    if _key(explored) not in seen:
        return explored
    return _refined(axes, scored, seen, rng) or _untried(axes, seen, rng)


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))


def _by_count(axes: Mapping[str, Axis], tried: Sequence[Tried], rng: random.Random) -> dict[str, Any] | None:
    counts = [trial.told for trial in tried if trial.told is not None]
    if not counts or not all(isinstance(axis, ChoiceAxis) for axis in axes.values()):
        return None
    return consistent({name: axis.every() for name, axis in axes.items()}, counts, rng)


def _refined(
    axes: Mapping[str, Axis], scored: Sequence[Tried], seen: set[Any], rng: random.Random
) -> dict[str, Any] | None:
    """The most promising of points near the best one."""
    if not scored:
        return None
    import numpy

    scored = sorted(scored, key=_rating, reverse=True)[:_MOST_KNOWN]  # the model's cost grows with the cube
    best = scored[0].values
    fresh = {_key(point): point for _ in range(_DRAWS) if _key(point := _near(axes, best, rng)) not in seen}
    if not fresh:
        return None
    candidates = [fresh[key] for key in sorted(fresh, key=repr)]
    known = [_coordinates(axes, trial.values) for trial in scored]
    ahead = [_coordinates(axes, point) for point in candidates]
    return candidates[most_promising(known, [_rating(trial) for trial in scored], ahead, rng, numpy)]


def _rating(trial: Tried) -> float:
    return -math.inf if trial.score is None else trial.score


def _near(axes: Mapping[str, Axis], best: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    reach = 2.0 ** -rng.uniform(*_REACH)
    share = min(1.0, 4 / len(axes))  # in many dimensions a step moves along a few
    return {
        name: axis.near(best[name], reach, rng) if rng.random() < share else best[name] for name, axis in axes.items()
    }


def _coordinates(axes: Mapping[str, Axis], values: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(itertools.chain.from_iterable(axis.coordinates(values[name]) for name, axis in axes.items()))


def _untried(axes: Mapping[str, Axis], seen: set[Any], rng: random.Random) -> dict[str, Any] | None:
    """Any point that is left, where they can be listed."""
    if math.prod(axis.size for axis in axes.values()) > _MOST_LISTED:
        return None
    every = itertools.product(*(axis.every() for axis in axes.values()))
    left = [point for values in every if _key(point := dict(zip(axes, values, strict=True))) not in seen]
    return rng.choice(left) if left else None
