"""The look of a node: its label, shape and colours."""

from __future__ import annotations

from binascii import crc32
from enum import Enum
from typing import Any

from opto.show import cut_start, text_of
from opto.trace.nodes import ExceptionNode, ParameterNode

__all__ = ["NodeKind", "NodeVizStyleGuide", "NodeVizStyleGuideColorful", "kind_of"]


class NodeKind(Enum):
    """Kinds of nodes that a picture tells apart."""

    PARAMETER = "parameter"
    EXCEPTION = "exception"
    OTHER = "other"


_COLOURS = {  # kind → fill, border
    NodeKind.PARAMETER: ("#FFE5E5", "#FF7E79"),
    NodeKind.EXCEPTION: ("firebrick1", "black"),
    NodeKind.OTHER: ("#DEEBF6", "#5C9BD5"),
}
_PALETTE = ("#DEEBF6", "#E2F0D9", "#FFF2CC", "#EADCF4", "#D9F2F0", "#FCE4D6", "#E7E6E6", "#F4DCE8")


def kind_of(node: Any) -> NodeKind:
    """The kind of a node, by its class."""
    if isinstance(node, ExceptionNode):
        return NodeKind.EXCEPTION
    return NodeKind.PARAMETER if isinstance(node, ParameterNode) else NodeKind.OTHER


class NodeVizStyleGuide:
    """Graphviz attributes of a node: parameters are red boxes, exceptions red, the others blue ellipses.

    Override `get_label` or `get_colors` for a look of your own.
    """

    def __init__(self, style: str = "default", print_limit: int = 100) -> None:
        self.style = style
        self.print_limit = print_limit

    def get_attrs(self, node: Any) -> dict[str, str]:
        fill, border = self.get_colors(node)
        return {
            "label": self.get_label(node),
            "shape": "box" if kind_of(node) is NodeKind.PARAMETER else "ellipse",
            "fillcolor": fill,
            "color": border,
            "penwidth": "1.2",
            "style": "filled,solid",
        }

    def get_label(self, node: Any) -> str:
        """Name, description and value, a line each; a description that is None has no line."""
        return "\n".join(filter(None, (node.py_name, self.description(node), self.value(node))))

    def get_colors(self, node: Any) -> tuple[str, str]:
        """Fill and border."""
        return _COLOURS[kind_of(node)]

    def description(self, node: Any) -> str:
        return cut_start(node.description or "", self.print_limit)

    def value(self, node: Any) -> str:
        data = node._data_seen()  # the raw slot: looking at a picture must not count as using the node
        if isinstance(data, dict) and "content" in data:
            data = data["content"]
        return cut_start(text_of(data), self.print_limit)


class NodeVizStyleGuideColorful(NodeVizStyleGuide):
    """The same shapes, with one colour for each operator."""

    def __init__(self, style: str = "colorful", print_limit: int = 100) -> None:
        super().__init__(style, print_limit)

    def get_colors(self, node: Any) -> tuple[str, str]:
        fill, border = super().get_colors(node)
        if kind_of(node) is NodeKind.OTHER:
            fill = _PALETTE[crc32(node.op_name.encode()) % len(_PALETTE)]
        return fill, border
