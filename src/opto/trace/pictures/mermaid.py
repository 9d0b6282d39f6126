"""A drawing as a Mermaid flowchart, which GitHub and many wikis render."""

from __future__ import annotations

import re

from opto.trace.pictures.drawing import Box, Drawing
from opto.trace.pictures.style import NodeKind

__all__ = ["mermaid"]

_SPECIAL = r"[^\w \-.,:=+*/()\n]"
_CLASSES = (
    "  classDef parameter fill:#FFE5E5,stroke:#FF7E79,color:#16202A\n"
    "  classDef exception fill:#FF3030,stroke:#000000,color:#16202A\n"
    "  classDef other fill:#DEEBF6,stroke:#5C9BD5,color:#16202A"
)


def mermaid(drawing: Drawing, *, reverse: bool = False) -> str:
    """The text of a flowchart; whatever Mermaid could read as markup is written as a character code."""
    lines = ["flowchart TD"]
    lines += [f"  n{number}{_shape(box)}:::{box.kind.value}" for number, box in enumerate(drawing.boxes)]
    for parent, child in drawing.edges:
        lines.append(f"  n{child} --> n{parent}" if reverse else f"  n{parent} --> n{child}")
    return "\n".join([*lines, _CLASSES])


def _shape(box: Box) -> str:
    label = "\n".join(filter(None, (box.title, box.description, box.value)))
    text = re.sub(_SPECIAL, lambda match: f"#{ord(match[0])};", label).replace("\n", "<br/>")
    return f'["{text}"]' if box.kind is NodeKind.PARAMETER else f'(["{text}"])'
