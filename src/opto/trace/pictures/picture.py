"""The object that users hold: one graph, every rendering of it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from opto.trace.nodes import GRAPH, AbstractNode
from opto.trace.pictures.dot import dot_source, fill_digraph
from opto.trace.pictures.drawing import Drawable, Drawing, drawing_of
from opto.trace.pictures.fold import folded
from opto.trace.pictures.listing import listing
from opto.trace.pictures.mermaid import mermaid
from opto.trace.pictures.style import NodeVizStyleGuide
from opto.trace.pictures.svg import svg
from opto.trace.records import DEPENDS

if TYPE_CHECKING:
    from graphviz import Digraph

__all__ = ["Picture", "digraph", "draw", "draw_walk"]

LIMIT = 120
"""So many boxes can still be read; larger graphs are folded in every rendering but `source`."""


class Picture:
    """A graph to look at; it holds texts only, no nodes.

    Notebooks show it as it is. `print(picture)` is plain text; `save("graph.svg")` writes a file, its kind told by the
    suffix (.svg .html .mmd .txt .dot).
    """

    def __init__(self, drawing: Drawing, *, reverse: bool = False, limit: int = LIMIT) -> None:
        self.drawing = drawing
        self.reverse = reverse
        self.limit = limit

    @property
    def source(self) -> str:
        """The graph in graphviz' language, not folded, as `graphviz.Digraph.source` has it."""
        return dot_source(self.drawing, reverse=self.reverse)

    def svg(self) -> str:
        return svg(folded(self.drawing, self.limit), reverse=self.reverse)

    def mermaid(self) -> str:
        return mermaid(folded(self.drawing, self.limit), reverse=self.reverse)

    def text(self) -> str:
        return listing(folded(self.drawing, self.limit), reverse=self.reverse)

    def html(self) -> str:
        """The SVG in a frame that scrolls."""
        return f'<div style="overflow:auto;max-height:80vh">{self.svg()}</div>'

    def save(self, path: str | os.PathLike[str]) -> str:
        """Writes the rendering that the suffix names and returns the path; makes missing directories."""
        path = os.fspath(path)
        suffix = os.path.splitext(path)[1]
        renderings: dict[str, Callable[[], str]] = {
            ".svg": self.svg,
            ".html": self.html,
            ".mmd": self.mermaid,
            ".txt": self.text,
            ".dot": lambda: self.source,
            ".gv": lambda: self.source,
        }
        if suffix not in renderings:
            raise ValueError(f"no picture for the suffix {suffix!r} of {path}: use one of {', '.join(renderings)}")
        text = renderings[suffix]()
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        return path

    def __str__(self) -> str:
        return self.text()

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        return self.html()

    def __getattr__(self, name: str) -> Any:
        """Programs written for a Digraph call `render`, `view` …: the error names the way of a Picture."""
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"a Picture has no {name!r}: use save('graph.svg') or svg(); if you want graphviz' own Digraph, "
            "run  pip install 'opto-trace[graphviz]'"
        )


def draw(
    what: Drawable,
    *,
    simple: bool = True,
    reverse: bool = False,
    partial: bool = False,
    print_limit: int = 100,
    style: NodeVizStyleGuide | None = None,
) -> Picture:
    """Draws a node with its past, or pairs `(level, node)`.

    `simple` bypasses clones, `reverse` turns the arrows, `partial` draws edges also of nodes of which only some parents
    are there, `print_limit` cuts descriptions and values after so many characters.
    """
    drawing = drawing_of(what, style or NodeVizStyleGuide(print_limit=print_limit), simple=simple, partial=partial)
    return Picture(drawing, reverse=reverse)


def digraph(what: Drawable, **options: Any) -> Digraph | Picture:
    """The same as a `graphviz.Digraph`; without the package `graphviz` (extra `graphviz`) the `Picture` itself.

    Both have `source` and show themselves in notebooks; where graphviz' program `dot` is absent, the Digraph shows our
    SVG instead of failing.
    """
    picture = draw(what, **options)
    try:
        import graphviz
    except ImportError:
        _say_once()
        return picture
    graph: Any = graphviz.Digraph()
    fill_digraph(graph, picture.drawing, reverse=picture.reverse)
    if shutil.which("dot") is None:
        graph._repr_mimebundle_ = _Bundle(picture)
    return graph


@cache
def _say_once() -> None:
    """The picture is there all the same: one line in the log of a process is enough."""
    logging.getLogger(__name__).warning(
        "The package 'graphviz' is not installed, so opto draws the graph itself; "
        "for a graphviz.Digraph run  pip install 'opto-trace[graphviz]'"
    )


def draw_walk(
    output: AbstractNode[Any],
    visited: Iterable[AbstractNode[Any]],
    *,
    simple: bool = True,
    reverse: bool = False,
    limit: int = 100,
) -> Digraph | Picture:
    """A picture of a backward pass: the visited nodes and the parents to which it passed feedback.

    Without nested graphs that leaves out whatever depends on no parameter.
    """
    nodes = [(node.level, node) for child in visited for node in (*child.parents, child)] or [(0, output)]
    if not GRAPH.ALLOW_NESTED_GRAPHS:
        nodes = [(level, node) for level, node in nodes if node._flags & DEPENDS]
    return digraph(nodes, simple=simple, reverse=reverse, partial=True, print_limit=limit)


class _Bundle:
    """The content for a notebook of a Digraph that graphviz cannot lay out."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def __call__(self, *args: object, **kwargs: object) -> dict[str, str]:
        return {"image/svg+xml": self.picture.svg(), "text/plain": self.picture.text()}
