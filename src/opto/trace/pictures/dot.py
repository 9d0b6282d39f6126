"""A drawing in graphviz' language: its text, and the `graphviz.Digraph` when that package is installed."""

from __future__ import annotations

from typing import Any

from opto.trace.pictures.drawing import Box, Drawing

__all__ = ["dot_edges", "dot_source", "fill_digraph"]


def dot_source(drawing: Drawing, *, reverse: bool = False) -> str:
    """The text of a .dot file."""
    lines = ["digraph {"]
    lines += [f"\t{_quoted(box.key)} [{_attributes(box)}]" for box in drawing.boxes]
    lines += [f"\t{_quoted(tail)} -> {_quoted(head)}" for tail, head in dot_edges(drawing, reverse=reverse)]
    return "\n".join([*lines, "}\n"])


def dot_edges(drawing: Drawing, *, reverse: bool = False) -> list[tuple[str, str]]:
    """Keys of the two ends of each arrow."""
    ends = [(drawing.boxes[parent].key, drawing.boxes[child].key) for parent, child in drawing.edges]
    return [(head, tail) for tail, head in ends] if reverse else ends


def fill_digraph(graph: Any, drawing: Drawing, *, reverse: bool = False) -> None:
    """Adds boxes and arrows to a `graphviz.Digraph`."""
    for box in drawing.boxes:
        graph.node(box.key, label=_escaped(box.label), **dict(box.attributes))
    for tail, head in dot_edges(drawing, reverse=reverse):
        graph.edge(tail, head)


def _escaped(label: str) -> str:
    r"""Backslashes doubled: graphviz would read `\n`, `\l`, `\N` in a label as commands."""
    return label.replace("\\", "\\\\")


_KEYWORDS = {"node", "edge", "graph", "digraph", "subgraph", "strict"}


def _quoted(text: str) -> str:
    if text.isascii() and text.isidentifier() and text.lower() not in _KEYWORDS:
        return text
    return '"' + text.replace('"', '\\"') + '"'


def _attributes(box: Box) -> str:
    pairs = [("label", _escaped(box.label)), *box.attributes]
    return " ".join(f"{name}={_quoted(value)}" for name, value in pairs)
