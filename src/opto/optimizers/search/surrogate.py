"""Where to look next near the best point, by a cheap model of the score through all points so far.

After Regis and Shoemaker (2007, "A stochastic radial basis function method for the global optimization of expensive
functions", INFORMS J. on Computing 19): cubic radial basis functions with a linear tail; of random points around
the best one, the one that promises most, weighed against its distance from the known points. The model is of ranks,
so that only the order of scores matters. Needs numpy, which comes with the sampler's library.
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
) -> int:
    """The index of the candidate to try next; higher scores are better."""
    import numpy

    points, ahead = numpy.asarray(known, float), numpy.asarray(candidates, float)
    order = sorted(set(scores))
    ranks = numpy.asarray([order.index(score) for score in scores], float) / max(len(order) - 1, 1)
    distances = _distances(ahead, points)
    promise = numpy.hstack([distances**3, ahead, numpy.ones((len(ahead), 1))]) @ _fitted(points, ranks)
    weight = rng.choice(_WEIGHTS)
    return int(numpy.argmax(weight * _unit(promise) + (1 - weight) * _unit(distances.min(axis=1))))


def _fitted(points: Any, values: Any) -> Any:
    """Weights of the radial functions, then of the linear tail; least squares, as points may lie in a plane."""
    import numpy

    tail = numpy.hstack([points, numpy.ones((len(points), 1))])
    radial = _distances(points, points) ** 3 + _SMOOTH * numpy.eye(len(points))
    size = tail.shape[1]
    system = numpy.block([[radial, tail], [tail.T, numpy.zeros((size, size))]])
    return numpy.linalg.lstsq(system, numpy.concatenate([values, numpy.zeros(size)]), rcond=None)[0]


def _distances(a: Any, b: Any) -> Any:
    return ((a[:, None] - b[None]) ** 2).sum(axis=2) ** 0.5


def _unit(values: Any) -> Any:
    """Moved and stretched to run from 0 to 1."""
    spread = values.max() - values.min()
    return (values - values.min()) / (spread or 1)
