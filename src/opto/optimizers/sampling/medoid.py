"""The candidate that most others resemble, by their texts alone."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

__all__ = ["likeness", "majority"]

_ALIKE = 0.8
_COMPARED = 2000  # characters of a text that are compared; the comparison is quadratic


def likeness(a: str, b: str) -> float:
    """How alike two texts are, from 0 to 1."""
    return SequenceMatcher(None, a[:_COMPARED], b[:_COMPARED], autojunk=False).ratio()


def majority(texts: Sequence[str]) -> int:
    """The index of the medoid of the biggest cluster of similar texts; of the last text if all are similar.

    Two texts are in one cluster if a chain of similar ones connects them; of equal clusters the first wins.

    >>> majority(["make it blue", "make it blue!", "something else entirely"])
    0
    """
    alike = [[likeness(*sorted((a, b))) for b in texts] for a in texts]
    clusters = _clusters(alike)
    if len(clusters) == 1:
        return len(texts) - 1
    biggest = max(clusters, key=len)
    return max(biggest, key=lambda i: sum(alike[i][j] for j in biggest))


def _clusters(alike: list[list[float]]) -> list[list[int]]:
    left = list(range(len(alike)))
    clusters: list[list[int]] = []
    while left:
        cluster = [left.pop(0)]
        for i in cluster:  # grows while it is walked
            near = [j for j in left if alike[i][j] >= _ALIKE]
            left = [j for j in left if j not in near]
            cluster += near
        clusters.append(sorted(cluster))
    return clusters
