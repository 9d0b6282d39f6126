"""The next numbers and choices to try: a pure function of what was tried, the spaces and a seed.

In this order: a few points drawn at random; then mostly the neighbourhood of the best point, by a model of the score
(`surrogate.py`), and every few turns the point that a sampler of `optuna` (extra `search`) asks for. No point is
tried twice.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from opto.errors import MissingExtraError
from opto.optimizers.search.axes import Axis
from opto.optimizers.search.surrogate import most_promising

__all__ = ["SamplerFactory", "ScoredPoint", "ask_sampler", "suggest"]

SamplerFactory = Callable[[int], Any]
"""From a seed to a sampler of `optuna`."""

_EXPLORE_EVERY = 5
_DRAWS = 200
_REACH = (2.0, 6.3)  # reaches are drawn from 2**-2 to 2**-6.3 of a range
_MOST_LISTED = 10_000
_MOST_KNOWN = 200


class ScoredPoint(NamedTuple):
    """Values by name, and their score, higher is better: -inf if the run failed, None if the score is unknown."""

    values: Mapping[str, Any]
    score: float | None

    @property
    def rating(self) -> float:
        """The score as a number to sort by: an unknown score counts as a failure."""
        return -math.inf if self.score is None else self.score


def suggest(
    axes: Mapping[str, Axis], tried: Sequence[ScoredPoint], *, seed: int, sampler: SamplerFactory | None = None
) -> dict[str, Any] | None:
    """Values by name that were not tried; None if every combination was."""
    rng = random.Random(f"{seed}:{len(tried)}")
    seen = {_key(point.values) for point in tried}
    scored = [point for point in tried if point.score is not None]
    informed = len(tried) >= _first_draws(axes) and any(math.isfinite(point.rating) for point in scored)
    if informed and len(tried) % _EXPLORE_EVERY:
        refined = _refine(axes, scored, seen, rng)
        if refined is not None:
            return refined
    asked = ask_sampler(axes, tried, rng.randrange(2**31), sampler)
    if _key(asked) not in seen:
        return asked
    return _refine(axes, scored, seen, rng) or _any_untried(axes, seen, rng)


def ask_sampler(
    axes: Mapping[str, Axis], tried: Sequence[ScoredPoint], seed: int, make: SamplerFactory | None = None
) -> dict[str, Any]:
    """Values by name from a sampler (TPE, if `make` is not given), which is made anew for each question.

    So the answer depends on nothing but the arguments.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", "search", "Searching numbers and choices") from error
    logging.getLogger("optuna.storages._in_memory").setLevel(logging.WARNING)  # it announces every study
    sampler = make(seed) if make else optuna.samplers.TPESampler(seed=seed, n_startup_trials=_first_draws(axes))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {name: axis.distribution(optuna) for name, axis in axes.items()}
    for point in tried:
        if point.score is not None:
            done = math.isfinite(point.score)
            state = optuna.trial.TrialState.COMPLETE if done else optuna.trial.TrialState.FAIL
            study.add_trial(
                optuna.trial.create_trial(
                    params=dict(point.values),
                    distributions=distributions,
                    value=point.score if done else None,
                    state=state,
                )
            )
    asked = study.ask(distributions).params
    return {name: axis.nearest_allowed(asked[name]) for name, axis in axes.items()}


def _first_draws(axes: Mapping[str, Axis]) -> int:
    """How many points are drawn before any is inferred."""
    return 4 + 2 * len(axes)


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))


def _refine(
    axes: Mapping[str, Axis], scored: Sequence[ScoredPoint], seen: set[Any], rng: random.Random
) -> dict[str, Any] | None:
    """The most promising of random points near the best one; None if all of them were tried."""
    if not scored:
        return None
    scored = sorted(scored, key=lambda point: point.rating, reverse=True)[:_MOST_KNOWN]  # the fit's cost is cubic
    best = scored[0].values
    fresh = {_key(values): values for _ in range(_DRAWS) if _key(values := _near(axes, best, rng)) not in seen}
    if not fresh:
        return None

    def place(values: Mapping[str, Any]) -> tuple[float, ...]:
        return tuple(itertools.chain.from_iterable(axis.coordinates(values[name]) for name, axis in axes.items()))

    candidates = [fresh[key] for key in sorted(fresh, key=repr)]
    known = [place(point.values) for point in scored]
    ratings = [point.rating for point in scored]
    return candidates[most_promising(known, ratings, [place(values) for values in candidates], rng)]


def _near(axes: Mapping[str, Axis], best: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    reach = 2.0 ** -rng.uniform(*_REACH)
    share = min(1.0, 4 / len(axes))  # in many dimensions a step moves along a few
    return {
        name: axis.near(best[name], reach, rng) if rng.random() < share else best[name] for name, axis in axes.items()
    }


def _any_untried(axes: Mapping[str, Axis], seen: set[Any], rng: random.Random) -> dict[str, Any] | None:
    """Any point that is left, where all points can be listed."""
    if math.prod(axis.size for axis in axes.values()) > _MOST_LISTED:
        return None
    every = itertools.product(*(axis.all_values() for axis in axes.values()))
    left = [point for values in every if _key(point := dict(zip(axes, values, strict=True))) not in seen]
    return rng.choice(left) if left else None
