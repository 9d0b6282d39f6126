"""Where to look next near the best point, by a cheap model of the score through all points so far.

After Regis and Shoemaker (2007, "A stochastic radial basis function method for the global optimization of expensive
functions", INFORMS J. on Computing 19): cubic radial basis functions with a linear tail; of random points around
the best one, that which promises most, weighed against its distance from what is known. The model is of ranks, so that
only the order of scores matters. Needs numpy, which comes with the sampler's library.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

__all__ = ["most_promising"]

_WEIGHTS = (0.5, 0.8, 0.95, 1.0)  # of the promise, against the distance
_SMOOTH = 1e-6


def most_promising(
    known: Sequence[tuple[float, ...]],
    scores: Sequence[float],
    candidates: Sequence[tuple[float, ...]],
    rng: random.Random,
    numpy: Any,
) -> int:
    """The index of the candidate to try next; higher scores are better."""
    points, ahead = numpy.asarray(known, float), numpy.asarray(candidates, float)
    order = sorted(set(scores))
    ranks = numpy.asarray([order.index(score) for score in scores], float) / max(len(order) - 1, 1)
    near = _distances(ahead, points, numpy)
    weights = _fitted(points, ranks, numpy)
    promise = near**3 @ weights[: len(points)] + _with_one(ahead, numpy) @ weights[len(points) :]
    weight = rng.choice(_WEIGHTS)
    return int(numpy.argmax(weight * _unit(promise, numpy) + (1 - weight) * _unit(near.min(axis=1), numpy)))


def _fitted(points: Any, values: Any, numpy: Any) -> Any:
    """Weights of the radial functions, then of the linear tail; least squares, as points may lie in a plane."""
    count, tail = len(points), _with_one(points, numpy)
    radial = _distances(points, points, numpy) ** 3 + _SMOOTH * numpy.eye(count)
    corner = numpy.zeros((tail.shape[1], tail.shape[1]))
    system = numpy.block([[radial, tail], [tail.T, corner]])
    return numpy.linalg.lstsq(system, numpy.concatenate([values, numpy.zeros(tail.shape[1])]), rcond=None)[0]


def _with_one(points: Any, numpy: Any) -> Any:
    return numpy.hstack([points, numpy.ones((len(points), 1))])


def _distances(a: Any, b: Any, numpy: Any) -> Any:
    return numpy.linalg.norm(a[:, None] - b[None], axis=2)


def _unit(values: Any, numpy: Any) -> Any:
    """Moved and stretched to run from 0 to 1."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else numpy.zeros(len(values))
