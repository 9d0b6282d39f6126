"""Nodes → boxes and edges: the pure data that every rendering reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from opto.trace.nodes import IDENTITY_OPERATORS, AbstractNode, ParameterNode
from opto.trace.pictures.style import NodeKind, NodeVizStyleGuide, kind_of

__all__ = ["Box", "Drawable", "Drawing", "children_of", "drawing_of"]

Drawable: TypeAlias = "AbstractNode[Any] | Iterable[tuple[int, AbstractNode[Any]]]"
"""A node (drawn with its past) or pairs `(level, node)` such as `TraceGraph.graph`."""


class Box(NamedTuple):
    """One node, or several folded into one (`nodes` of them).

    `label` is graphviz' text, complete; the other renderings show `title`, `description` and `value`.
    """

    key: str
    title: str
    op: str
    level: int
    kind: NodeKind
    label: str
    description: str = ""
    value: str = ""
    shape: str = "ellipse"
    fill: str = "#DEEBF6"
    border: str = "#5C9BD5"
    attributes: tuple[tuple[str, str], ...] = ()
    nodes: int = 1


class Drawing(NamedTuple):
    """Boxes, and edges as pairs of their positions, each from parent to child; boxes are sorted by level."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]


def drawing_of(what: Drawable, style: NodeVizStyleGuide, *, simple: bool = True, partial: bool = False) -> Drawing:
    """Draws `what`, each node once.

    `simple` bypasses clones. A node whose parents are not all among the drawn gets no edges, unless `partial` asks for
    those that are there.
    """
    nodes = _past_of(what) if isinstance(what, AbstractNode) else [node for _, node in what]
    unique = sorted({id(node): node for node in nodes}.values(), key=lambda node: node.level)
    present = {id(node): node for node in unique}
    shown = [node for node in unique if not (simple and _bypassed(node, present))]
    index = {id(node): position for position, node in enumerate(shown)}
    edges: dict[tuple[int, int], None] = {}
    for node in shown:
        parents = [_stand_in(parent, present) if simple else parent for parent in node.parents]
        if partial or all(id(parent) in index for parent in parents):
            for parent in parents:
                if id(parent) in index:
                    edges[index[id(parent)], index[id(node)]] = None
    keys = _unique(node.py_name for node in shown)
    boxes = tuple(_box(node, key, style) for node, key in zip(shown, keys, strict=True))
    return Drawing(boxes, tuple(edges))


def _past_of(node: AbstractNode[Any]) -> list[AbstractNode[Any]]:
    found = {id(node): node}
    ahead = [node]
    while ahead:
        for parent in ahead.pop().parents:
            if id(parent) not in found:
                found[id(parent)] = parent
                ahead.append(parent)
    return list(reversed(found.values()))  # roughly in the order in which they were made


def _bypassed(node: Any, present: dict[int, Any]) -> bool:
    """A clone is left out when the node that it repeats is drawn."""
    return node.op_name in IDENTITY_OPERATORS and len(node.parents) == 1 and id(node.parents[0]) in present


def _stand_in(node: Any, present: dict[int, Any]) -> Any:
    while id(node) in present and _bypassed(node, present):
        node = node.parents[0]
    return node


def _unique(names: Iterable[str]) -> list[str]:
    """Names repeat after `GRAPH.clear()`; keys of boxes may not."""
    given: dict[str, int] = {}
    keys: list[str] = []
    for name in names:
        given[name] = given.get(name, 0) + 1
        keys.append(name if given[name] == 1 else f"{name} ({given[name]})")
    return keys


def _box(node: Any, key: str, style: NodeVizStyleGuide) -> Box:
    attributes = style.get_attrs(node)
    described = not node.level and not (isinstance(node, ParameterNode) and node.is_code)  # an operator's name tells
    return Box(
        key=key,
        title=node.py_name,
        op=node.name.rsplit(":", 1)[0],
        level=node.level,
        kind=kind_of(node),
        label=attributes.pop("label"),
        description=style.description(node) if described else "",
        value=style.value(node),
        shape=attributes.get("shape", "ellipse"),
        fill=attributes.get("fillcolor", "#DEEBF6"),
        border=attributes.get("color", "#5C9BD5"),
        attributes=tuple(attributes.items()),
    )


def children_of(edges: Sequence[tuple[int, int]], count: int) -> list[list[int]]:
    """For each box the positions of its children."""
    children: list[list[int]] = [[] for _ in range(count)]
    for parent, child in edges:
        children[parent].append(child)
    return children
