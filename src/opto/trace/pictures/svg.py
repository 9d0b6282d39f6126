"""A drawing as SVG, complete in itself: no script, no font, no style sheet from elsewhere."""

from __future__ import annotations

import re
import textwrap
import unicodedata

from opto.show import cut_start
from opto.trace.pictures.drawing import Box, Drawing
from opto.trace.pictures.layout import Point, arrange
from opto.trace.pictures.style import NodeKind

__all__ = ["svg"]

_COLUMNS, _LINES = 34, 3  # of one text in a box; the rest is in the tooltip
_LETTER, _LINE, _PAD = 6.6, 15.0, 10.0
_UNPRINTABLE = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


def svg(drawing: Drawing, *, reverse: bool = False) -> str:
    """The text of an SVG file; `reverse` turns the arrows, from child to parent."""
    lines = [_lines(box) for box in drawing.boxes]
    sizes = [(max(_width(text) for text, _ in rows) + 2 * _PAD, len(rows) * _LINE + _PAD) for rows in lines]
    layout = arrange(sizes, [box.level for box in drawing.boxes], drawing.edges)
    parts = [_head(layout.width, layout.height)]
    parts += [_edge(path[::-1] if reverse else path) for path in layout.paths]
    for box, rows, size, centre in zip(drawing.boxes, lines, sizes, layout.centres, strict=True):
        parts.append(_box(box, rows, size, centre))
    return "\n".join([*parts, "</svg>"])


def _head(width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica,Arial,sans-serif" font-size="12">\n'
        '<defs><marker id="opto-arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L10 5L0 10z" fill="#7A8894"/></marker></defs>'
    )


def _edge(path: tuple[Point, ...]) -> str:
    x, y = path[0]
    steps = [f"M{x:.1f} {y:.1f}"]
    for u, v in path[1:]:
        middle = (y + v) / 2
        steps.append(f"C{x:.1f} {middle:.1f} {u:.1f} {middle:.1f} {u:.1f} {v:.1f}")
        x, y = u, v
    return f'<path d="{"".join(steps)}" fill="none" stroke="#7A8894" stroke-width="1.2" marker-end="url(#opto-arrow)"/>'


def _box(box: Box, rows: list[tuple[str, str]], size: tuple[float, float], centre: Point) -> str:
    (width, height), (x, y) = size, centre
    radius = 3 if box.kind is NodeKind.PARAMETER else 12
    dashes = ' stroke-dasharray="5 3"' if box.nodes > 1 else ""
    top = y - height / 2 + _PAD / 2 + _LINE * 0.75
    texts = "".join(
        f'<text x="{x:.1f}" y="{top + number * _LINE:.1f}" text-anchor="middle" {look}>{_xml(text)}</text>'
        for number, (text, look) in enumerate(rows)
    )
    return (
        f"<g><title>{_xml(box.label)}</title>"
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{radius}" fill="{_xml(_SVG_COLOURS.get(box.fill, box.fill))}" stroke="{_xml(box.border)}" '
        f'stroke-width="1.2"{dashes}/>{texts}</g>'
    )


_SVG_COLOURS = {"firebrick1": "#FF3030"}  # graphviz knows this name, SVG does not


def _lines(box: Box) -> list[tuple[str, str]]:
    """Text and look of each line in the box."""
    rows = [(cut_start(box.title, 2 * _COLUMNS), 'font-weight="bold" fill="#16202A"')]
    rows += [(text, 'font-size="10.5" font-style="italic" fill="#4A5864"') for text in _wrapped(box.description)]
    rows += [(text, 'fill="#16202A"') for text in _wrapped(box.value)]
    return rows


def _wrapped(text: str) -> list[str]:
    """Prose is wrapped; text of several lines, such as code, keeps its lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return textwrap.wrap(text, _COLUMNS, max_lines=_LINES, placeholder=" ...")
    return [cut_start(line, _COLUMNS) for line in lines[:_LINES]] + ["..."] * (len(lines) > _LINES)


def _width(text: str) -> float:
    return _LETTER * sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _xml(text: str) -> str:
    text = re.sub(_UNPRINTABLE, "\ufffd", text).replace("&", "&amp;")
    return text.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
