"""A drawing as plain text, one line a node, for terminals and logs."""

from __future__ import annotations

from opto.show import cut_start
from opto.trace.pictures.drawing import Box, Drawing
from opto.trace.pictures.style import NodeKind

__all__ = ["listing"]

_MARKS = {NodeKind.PARAMETER: "*", NodeKind.EXCEPTION: "!", NodeKind.OTHER: " "}
_WIDTH = 100


def listing(drawing: Drawing, *, reverse: bool = False) -> str:
    """Level, name, parents and value of each node, roots first (`reverse`: outputs first).

    `*` marks parameters, `!` exceptions.
    """
    parents: list[list[str]] = [[] for _ in drawing.boxes]
    for parent, child in drawing.edges:
        parents[child].append(drawing.boxes[parent].title)
    rows = [
        (f"{box.level:>3} {_MARKS[box.kind]}", _call(box, parents[position]), _value(box))
        for position, box in enumerate(drawing.boxes)
    ]
    column = min(max((len(call) for _, call, _ in rows), default=0), 44)
    lines = [f"{mark} {call:<{column}}  {value}".rstrip() for mark, call, value in rows]
    return "\n".join(reversed(lines) if reverse else lines)


def _call(box: Box, parents: list[str]) -> str:
    return f"{box.title} <- {', '.join(parents)}" if parents else box.title


def _value(box: Box) -> str:
    text = box.value if box.nodes == 1 else f"({box.description}) {box.value}"
    return cut_start(" ".join(text.split()), _WIDTH)
