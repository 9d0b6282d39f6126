"""Where boxes go: layers from top to bottom, few crossings, children near their parents.

The steps of Sugiyama, Tagawa and Toda (1981): layers, virtual points on long edges, barycentre ordering by sweeps, then
coordinates; these by the least squares fit that keeps the order (isotonic regression, pool adjacent violators).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Layout", "arrange"]

_GAP_X, _GAP_Y, _BEND, _SWEEPS = 24.0, 46.0, 10.0, 8
Point = tuple[float, float]


class Layout(NamedTuple):
    """Centres of the boxes, for each edge its points from parent to child, and the size of it all, in pixels."""

    centres: tuple[Point, ...]
    paths: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def arrange(sizes: Sequence[tuple[float, float]], levels: Sequence[int], edges: Sequence[tuple[int, int]]) -> Layout:
    """Positions for boxes of the given sizes (width, height). Inputs stand right above their first use."""
    ranks = _ranks(levels, edges)
    widths = [width for width, _ in sizes]
    chains, ranks, links = _with_bends(ranks, edges)
    widths += [_BEND] * (len(ranks) - len(widths))
    layers = _ordered(ranks, links)
    xs = _coordinates(layers, links, widths)
    ys, height = _rows(layers, sizes)
    left = min((xs[v] - widths[v] / 2 for v in range(len(xs))), default=0.0) - _GAP_X
    right = max((xs[v] + widths[v] / 2 for v in range(len(xs))), default=0.0) + _GAP_X
    points = [(xs[v] - left, ys[ranks[v]]) for v in range(len(xs))]
    paths = tuple(_path(chain, points, sizes) for chain in chains)
    return Layout(tuple(points[: len(sizes)]), paths, right - left, height)


def _ranks(levels: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Levels without holes; a root moves down to the layer before its first child."""
    dense = {level: rank for rank, level in enumerate(sorted(set(levels)))}
    ranks = [dense[level] for level in levels]
    has_parent = {child for _, child in edges}
    first_child: dict[int, int] = {}
    for parent, child in edges:
        if parent not in has_parent:
            first_child[parent] = min(first_child.get(parent, ranks[child]), ranks[child])
    for root, rank in first_child.items():
        ranks[root] = max(rank - 1, 0)
    return ranks


def _with_bends(
    ranks: list[int], edges: Sequence[tuple[int, int]]
) -> tuple[list[list[int]], list[int], list[tuple[int, int]]]:
    """Long edges cut into links of one layer each, with virtual points between them."""
    ranks = list(ranks)
    chains: list[list[int]] = []
    links: list[tuple[int, int]] = []
    for parent, child in edges:
        chain = [parent]
        for rank in range(ranks[parent] + 1, ranks[child]):
            chain.append(len(ranks))
            ranks.append(rank)
        chain.append(child)
        chains.append(chain)
        links.extend(pairwise(chain))
    return chains, ranks, links


def _neighbours(links: Sequence[tuple[int, int]], count: int) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for upper, lower in links:
        above[lower].append(upper)
        below[upper].append(lower)
    return above, below


def _ordered(ranks: Sequence[int], links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Layers, each in the order that sweeps of barycentres arrive at."""
    layers: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for vertex, rank in enumerate(ranks):
        layers[rank].append(vertex)
    above, below = _neighbours(links, len(ranks))
    place = [0.0] * len(ranks)
    for layer in layers:
        _number(layer, place)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for layer in layers if down else reversed(layers):
            layer.sort(key=lambda v: _mean([place[u] for u in near[v]], place[v]))
            _number(layer, place)
    return layers


def _number(layer: Sequence[int], place: list[float]) -> None:
    """Places in (0, 1), so that layers of different length can be compared."""
    for position, vertex in enumerate(layer):
        place[vertex] = (position + 0.5) / len(layer)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _coordinates(
    layers: Sequence[Sequence[int]], links: Sequence[tuple[int, int]], widths: Sequence[float]
) -> list[float]:
    xs = [0.0] * len(widths)
    for layer in layers:
        _place(layer, [0.0] * len(layer), widths, xs)
    above, below = _neighbours(links, len(widths))
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for layer in layers if down else reversed(layers):
            _place(layer, [_mean([xs[u] for u in near[v]], xs[v]) for v in layer], widths, xs)
    return xs


def _place(layer: Sequence[int], wanted: Sequence[float], widths: Sequence[float], xs: list[float]) -> None:
    """Sets `xs` as near to `wanted` as the order of the layer and the gaps allow."""
    offsets = [0.0]
    for left, right in pairwise(layer):
        offsets.append(offsets[-1] + (widths[left] + widths[right]) / 2 + _GAP_X)
    blocks: list[tuple[float, int]] = []  # (mean, length): pool adjacent violators
    for want, offset in zip(wanted, offsets, strict=True):
        mean, length = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, length = (before * size + mean * length) / (size + length), size + length
        blocks.append((mean, length))
    fitted = [mean for mean, length in blocks for _ in range(length)]
    for vertex, base, offset in zip(layer, fitted, offsets, strict=True):
        xs[vertex] = base + offset


def _rows(layers: Sequence[Sequence[int]], sizes: Sequence[tuple[float, float]]) -> tuple[list[float], float]:
    centres: list[float] = []
    y = _GAP_X
    for layer in layers:
        height = max((sizes[v][1] for v in layer if v < len(sizes)), default=0.0)
        centres.append(y + height / 2)
        y += height + _GAP_Y
    return centres, max(y - _GAP_Y + _GAP_X, 0.0)


def _path(chain: Sequence[int], points: Sequence[Point], sizes: Sequence[tuple[float, float]]) -> tuple[Point, ...]:
    """From the lower edge of the parent to the upper edge of the child."""
    (x0, y0), (x1, y1) = points[chain[0]], points[chain[-1]]
    start, end = (x0, y0 + sizes[chain[0]][1] / 2), (x1, y1 - sizes[chain[-1]][1] / 2)
    return (start, *(points[v] for v in chain[1:-1]), end)
