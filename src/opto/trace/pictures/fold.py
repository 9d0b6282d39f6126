"""Large drawings made small: calls of one kind become one box, the middle of a long run becomes one box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from opto.trace.pictures.drawing import Box, Drawing, children_of
from opto.trace.pictures.style import NodeKind

__all__ = ["folded"]

_MANY = 3  # so many equal calls on one level are still drawn one by one


def folded(drawing: Drawing, limit: int) -> Drawing:
    """A drawing of about `limit` boxes at most; parameters and exceptions are folded last.

    First calls of the same operator on the same level become one box, then everything but the first and the last
    levels, then the parameters beyond a third of the limit.
    """
    if len(drawing.boxes) <= limit:
        return drawing
    merged = _merge(drawing, _wide_groups(drawing))
    if len(merged.boxes) > limit:
        merged = _merge(merged, _middle_group(merged, limit))
    for kinds in ({NodeKind.PARAMETER}, {NodeKind.OTHER, NodeKind.EXCEPTION}):
        if len(merged.boxes) > limit:
            merged = _merge(merged, _rest_groups(merged, kinds, max(limit // 3, 1)))
    return merged


def _wide_groups(drawing: Drawing) -> list[Hashable]:
    keys = [(box.level, box.op) for box in drawing.boxes]
    common = Counter(key for key, box in zip(keys, drawing.boxes, strict=True) if box.kind is NodeKind.OTHER)
    return [
        key if box.kind is NodeKind.OTHER and common[key] > _MANY else position
        for position, (key, box) in enumerate(zip(keys, drawing.boxes, strict=True))
    ]


def _middle_group(drawing: Drawing, limit: int) -> list[Hashable]:
    """All levels but the first and last ones that fit, and the inputs that only those levels use."""
    size = Counter(box.level for box in drawing.boxes if box.level > 0)
    levels = sorted(size)
    last = _as_many(reversed(levels), size, limit * 4 // 10)
    first = _as_many((level for level in levels if level not in last), size, limit * 2 // 10)
    kept = last | first
    inside = [box.level > 0 and box.level not in kept and box.kind is NodeKind.OTHER for box in drawing.boxes]
    children = children_of(drawing.edges, len(drawing.boxes))
    for position, box in enumerate(drawing.boxes):
        if box.level == 0 and box.kind is NodeKind.OTHER and children[position]:
            inside[position] = all(inside[child] for child in children[position])
    return ["middle" if within else position for position, within in enumerate(inside)]


def _as_many(levels: Iterable[int], size: Counter[int], room: int) -> set[int]:
    taken: set[int] = set()
    for level in levels:
        room -= size[level]
        if room < 0:
            break
        taken.add(level)
    return taken


def _rest_groups(drawing: Drawing, kinds: set[NodeKind], room: int) -> list[Hashable]:
    """Of the boxes of each of `kinds` on each side (inputs, calls) all but the last `room` become one."""
    seen: Counter[tuple[NodeKind, bool]] = Counter()
    groups: list[Hashable] = list(range(len(drawing.boxes)))
    for position, box in reversed(list(enumerate(drawing.boxes))):
        key = (box.kind, box.level == 0)
        if box.kind in kinds and box.nodes == 1:
            seen[key] += 1
            if seen[key] > room:
                groups[position] = key
    return groups


def _merge(drawing: Drawing, groups: list[Hashable]) -> Drawing:
    members: dict[Hashable, list[Box]] = {}
    for box, group in zip(drawing.boxes, groups, strict=True):
        members.setdefault(group, []).append(box)
    boxes = {group: _summary(found) for group, found in members.items()}
    order = sorted(boxes, key=lambda group: boxes[group].level)
    index = {group: position for position, group in enumerate(order)}
    edges: dict[tuple[int, int], None] = {}
    for parent, child in drawing.edges:
        ends = index[groups[parent]], index[groups[child]]
        # A fold stands at the level of its first member; an edge back into it would be a cycle.
        if boxes[order[ends[0]]].level < boxes[order[ends[1]]].level:
            edges[ends] = None
    return Drawing(tuple(boxes[group] for group in order), tuple(edges))


def _summary(members: list[Box]) -> Box:
    first = members[0]
    if len(members) == 1:
        return first
    ops: Counter[str] = Counter()
    for box in members:
        ops[box.op] += box.nodes
    count = ops.total()
    common = ", ".join(f"{op} ×{number:,}" for op, number in ops.most_common(4)) + (", ..." if len(ops) > 4 else "")
    title = common if len(ops) == 1 else f"{count:,} {_noun(members)}"
    value = "" if len(ops) == 1 else common
    return first._replace(
        title=title,
        op=first.op if len(ops) == 1 else _noun(members),
        level=min((box.level for box in members if box.level > 0), default=0),
        description="folded",
        value=value,
        label="\n".join(filter(None, (title, "folded", value))),
        attributes=tuple((name, "filled,dashed" if name == "style" else text) for name, text in first.attributes),
        nodes=count,
    )


def _noun(members: list[Box]) -> str:
    if all(box.kind is NodeKind.PARAMETER for box in members):
        return "parameters"
    return "inputs" if all(box.level == 0 for box in members) else "calls"
