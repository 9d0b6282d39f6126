"""Pictures of graphs in every rendering, and what they are made of."""

from __future__ import annotations

import random
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import graphviz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import ExecutionError
from opto.show import cut_start
from opto.trace.nodes import GRAPH, node
from opto.trace.pictures.drawing import Box, Drawing, drawing_of
from opto.trace.pictures.fold import folded
from opto.trace.pictures.layout import arrange
from opto.trace.pictures.picture import LIMIT, Picture, digraph, draw, draw_walk
from opto.trace.pictures.style import NodeKind, NodeVizStyleGuide, NodeVizStyleGuideColorful, kind_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def names_from_zero() -> None:
    GRAPH.clear()


def program() -> tuple[Any, Any]:
    x = node(3, name="x", trainable=True, description="an input")
    return x, x.clone() * 2 + 1


def error() -> Any:
    with pytest.raises(ExecutionError) as caught:
        node(1, name="x", trainable=True) / 0
    return caught.value.exception_node


# --- drawings -----------------------------------------------------------------------------------


def test_a_node_is_drawn_with_its_past() -> None:
    _, y = program()
    picture = draw(y)
    titles = [box.title for box in picture.drawing.boxes]
    assert sorted(titles) == ["add0", "int0", "int1", "multiply0", "x0"]
    assert {(titles[a], titles[b]) for a, b in picture.drawing.edges} == {
        ("x0", "multiply0"),
        ("int0", "multiply0"),
        ("multiply0", "add0"),
        ("int1", "add0"),
    }
    assert "clone0" in [box.title for box in draw(y, simple=False).drawing.boxes]


def test_pairs_are_drawn_as_given() -> None:
    x, y = program()
    z = y + x
    pairs = [(n.level, n) for n in (x, y, z, z)]
    drawing = drawing_of(pairs, NodeVizStyleGuide())
    assert [(drawing.boxes[a].title, drawing.boxes[b].title) for a, b in drawing.edges] == [
        ("add0", "add1"),
        ("x0", "add1"),
    ]
    some = drawing_of([(0, x), (z.level, z)], NodeVizStyleGuide())
    assert some.edges == () and len(drawing_of([(0, x), (9, z)], NodeVizStyleGuide(), partial=True).edges) == 1


def test_names_may_repeat() -> None:
    a = node(1, name="a")
    GRAPH.clear()
    b = node(2, name="a") + a
    assert sorted(box.key for box in draw(b).drawing.boxes) == ["a0", "a0 (2)", "add0"]


def test_kinds() -> None:
    x, y = program()
    assert kind_of(x) is NodeKind.PARAMETER and kind_of(y) is NodeKind.OTHER and kind_of(error()) is NodeKind.EXCEPTION


def test_walks() -> None:
    a, k = node(1, name="a", trainable=True), node(2, name="k")
    inner = k * 3
    out = a + inner
    assert "k0" not in draw_walk(out, [out]).source and "a0 -> add0" in draw_walk(out, [out]).source
    assert "add0" not in draw_walk(inner, [inner]).source
    assert "a0" in draw_walk(a, []).source
    GRAPH.ALLOW_NESTED_GRAPHS = True
    try:
        assert "k0 -> multiply0" in draw_walk(out, [out, inner]).source
    finally:
        GRAPH.ALLOW_NESTED_GRAPHS = False


# --- styles -------------------------------------------------------------------------------------


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_attributes_of_the_default_style() -> None:
    x, y = program()
    guide = NodeVizStyleGuide(print_limit=5)
    assert guide.get_attrs(x) == {
        "label": "x0\nan in...\n3",
        "shape": "box",
        "fillcolor": "#FFE5E5",
        "color": "#FF7E79",
        "penwidth": "1.2",
        "style": "filled,solid",
    }
    assert guide.get_attrs(y)["shape"] == "ellipse" and guide.get_attrs(y)["fillcolor"] == "#DEEBF6"
    assert guide.get_attrs(error())["fillcolor"] == "firebrick1" and guide.get_attrs(error())["color"] == "black"
    assert guide.value(node({"content": "said", "role": "secret"})) == "said"
    assert NodeVizStyleGuide().value(node(Mute())).endswith("Mute>") and cut_start("abc", 3) == "abc"


def test_colourful_style_goes_by_operator() -> None:
    x, y = program()
    guide = NodeVizStyleGuideColorful()
    assert guide.get_colors(y) == guide.get_colors(x + 5) and guide.get_colors(x) == ("#FFE5E5", "#FF7E79")
    assert draw(y, style=guide).drawing.boxes[-1].fill == guide.get_colors(y)[0]


# --- renderings ---------------------------------------------------------------------------------

AWKWARD = 'a "quoted" \\n <b>&amp; `code` | {x} #1 \x00\ud800 漢字 [1](2) %% end'


def test_svg_is_xml_whatever_the_texts() -> None:
    x = node(AWKWARD, name="a/b.c", trainable=True, description=AWKWARD)
    y = x + ("line one\n  line two\n\nthree\nfour\nfive" + "long " * 100)
    root = ElementTree.fromstring(draw(y).svg())
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "a/b.c0" in texts and "concat0" in texts and any("..." in str(text) for text in texts)
    assert any("<b>&amp;" in str(title.text) for title in root.iter(f"{SVG}title"))


def test_svg_shows_boxes_and_arrows() -> None:
    root = ElementTree.fromstring(draw(program()[1]).svg())
    assert len(list(root.iter(f"{SVG}rect"))) == 5
    assert len([path for path in root.iter(f"{SVG}path") if path.get("marker-end")]) == 4
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for box in root.iter(f"{SVG}rect"):
        x, y = float(box.get("x", "-1")), float(box.get("y", "-1"))
        assert 0 <= x <= x + float(box.get("width", "0")) <= width
        assert 0 <= y <= y + float(box.get("height", "0")) <= height
    assert "#FF3030" in draw(error()).svg() and "firebrick" not in draw(error()).svg()


def test_mermaid() -> None:
    text = draw(node(AWKWARD, name="x", trainable=True) + "end").mermaid()
    assert text.startswith("flowchart TD\n") and "--> n2" in text and "n2 --> n" in text.replace("n0 -->", "n2 -->")
    labels = re.findall(r'\["(.*)"\]', text)
    assert len(labels) == 3 and not any(set(label) & set('"`|{}<>') for label in map(unbroken, labels))
    assert ":::parameter" in text and "classDef exception" in text


def unbroken(label: str) -> str:
    return label.replace("<br/>", " ")


def test_plain_text() -> None:
    x, y = program()
    lines = str(draw(y)).splitlines()
    assert len(lines) == 5 and lines[-1].split() == ["3", "add0", "<-", "multiply0,", "int1", "7"]
    assert any(line.startswith("  0 *") and "x0" in line for line in lines)
    assert any("!" in line for line in draw(error()).text().splitlines())
    assert draw(y, reverse=True).text().splitlines() == lines[::-1]
    assert draw(x).text().split() == ["0", "*", "x0", "3"]


def test_arrows_can_be_turned() -> None:
    _, y = program()
    there, back = draw(y), draw(y, reverse=True)
    assert "multiply0 -> add0" in there.source and "add0 -> multiply0" in back.source
    arrows = [re.findall(r"n(\d+) --> n(\d+)", picture.mermaid()) for picture in (there, back)]
    assert arrows[1] == [(b, a) for a, b in arrows[0]]
    assert there.svg() != back.svg()


def test_dot_quotes_what_needs_it() -> None:
    x = node('say "hi" \\N', name="node")
    source = draw(x + "!").source
    assert '"node0"' in source or "node0 [" in source
    assert r"say \"hi\" \\N" in source
    assert '"a-b0"' in draw(node(1, name="a-b")).source


def test_files(tmp_path: Path) -> None:
    picture = draw(program()[1])
    for suffix, start in (
        (".svg", "<svg"),
        (".html", "<div"),
        (".mmd", "flowchart"),
        (".txt", "  0"),
        (".gv", "digraph"),
    ):
        path = picture.save(tmp_path / "deep" / f"graph{suffix}")
        assert Path(path).read_text(encoding="utf-8").startswith(start)
    assert Path(picture.save(str(tmp_path / "g.dot"))).read_text() == picture.source
    with pytest.raises(ValueError, match=r"'\.png'"):
        picture.save(tmp_path / "graph.png")


def test_notebooks_show_pictures() -> None:
    picture = draw(program()[1])
    assert picture._repr_svg_() == picture.svg() and picture.svg() in picture._repr_html_()


# --- graphviz -----------------------------------------------------------------------------------


def test_digraph(monkeypatch: pytest.MonkeyPatch) -> None:
    _, y = program()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    graph: Any = digraph(y, print_limit=7)
    assert isinstance(graph, graphviz.Digraph) and "x0 -> multiply0" in graph.source and "an inpu..." in graph.source
    shown = graph._repr_mimebundle_(include=None, exclude=None)
    assert shown["image/svg+xml"].startswith("<svg") and "x0" in shown["text/plain"]
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/dot")
    assert "_repr_mimebundle_" not in vars(digraph(y))


def test_without_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    picture = digraph(program()[1])
    assert isinstance(picture, Picture) and "x0 -> multiply0" in picture.source and picture._repr_svg_()


def test_both_sources_agree() -> None:
    _, y = program()
    ours, theirs = draw(y).source, digraph(y).source
    assert sorted(re.findall(r"\w+ -> \w+", ours)) == sorted(re.findall(r"\w+ -> \w+", theirs))


# --- large graphs -------------------------------------------------------------------------------


def chain(length: int, inputs: Any) -> Any:
    y = node(0, name="x", trainable=True)
    for number in range(length):
        y = y + inputs(number)
    return y


@pytest.mark.parametrize("trainable", [False, True])
def test_long_chains_are_folded(trainable: bool) -> None:
    y = chain(4_000, lambda k: node(k, trainable=trainable))
    picture = draw(y)
    assert len(picture.drawing.boxes) == 8_001
    small = folded(picture.drawing, LIMIT)
    assert len(small.boxes) <= LIMIT and sum(box.nodes for box in small.boxes) == 8_001
    text = picture.text()
    assert y.py_name in text and "folded" in text
    ElementTree.fromstring(picture.svg())
    assert picture.mermaid().count("\n") < 4 * LIMIT and picture.source.count("->") == 8_000


def test_wide_graphs_are_folded() -> None:
    p = node(1, name="p", trainable=True)
    layer = [p * k for k in range(3_000)]
    total = sum(n + 1 for n in layer[:500]) + layer[600]
    small = folded(draw(total).drawing, 40)
    assert len(small.boxes) <= 44 and any(box.title.startswith("multiply ×") for box in small.boxes)
    assert "p0" in [box.title for box in small.boxes]


def test_thousands_of_kinds_are_folded() -> None:
    boxes = [
        Box(key=str(k), title=str(k), op=f"op{k}", level=k % 3, kind=kind, label=str(k))
        for k, kind in enumerate(random.Random(5).choices(list(NodeKind), k=4_000))
    ]
    boxes.sort(key=lambda box: box.level)
    edges = tuple((k, k + 1_400) for k in range(2_000))
    small = folded(Drawing(tuple(boxes), edges), 30)
    assert len(small.boxes) <= 60 and sum(box.nodes for box in small.boxes) == 4_000
    for parent, child in small.edges:
        assert small.boxes[parent].level < small.boxes[child].level


def test_small_drawings_stay() -> None:
    drawing = draw(program()[1]).drawing
    assert folded(drawing, 5) is drawing


# --- layout -------------------------------------------------------------------------------------

graphs = st.integers(1, 14).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30))
)


@settings(deadline=None)
@given(graphs)
def test_boxes_never_overlap_and_edges_go_down(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = graph
    edges = sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})
    levels = [0] * count
    for parent, child in edges:  # sorted by parent, so levels of parents are known
        levels[child] = max(levels[child], levels[parent] + 1)
    sizes = [(30.0 + 17 * (k % 4), 20.0 + 9 * (k % 3)) for k in range(count)]
    layout = arrange(sizes, levels, edges)
    boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(layout.centres, sizes, strict=True)]
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        assert x0 >= 0 and y0 >= 0 and x1 <= layout.width + 0.01 and y1 <= layout.height + 0.01
        for u0, v0, u1, v1 in boxes[:number]:
            assert x1 <= u0 + 0.01 or u1 <= x0 + 0.01 or y1 <= v0 + 0.01 or v1 <= y0 + 0.01
    for path in layout.paths:
        assert all(upper[1] < lower[1] for upper, lower in pairwise(path))


def test_crossings_are_undone() -> None:
    edges = [(0, 5), (1, 4), (2, 3)]
    layout = arrange([(30, 20)] * 6, [0, 0, 0, 1, 1, 1], edges)
    xs = [x for x, _ in layout.centres]
    order = sorted(range(3), key=lambda k: xs[k])
    assert sorted(range(3, 6), key=lambda k: xs[k]) == [5 - k for k in order]


def test_inputs_stand_above_their_first_use() -> None:
    layout = arrange([(30, 20)] * 4, [0, 1, 2, 0], [(0, 1), (1, 2), (3, 2)])
    assert layout.centres[3][1] == layout.centres[1][1]


def test_empty_pictures() -> None:
    empty = draw([])
    assert empty.text() == "" and empty.source == "digraph {\n}\n" and ElementTree.fromstring(empty.svg()) is not None


def test_a_picture_tells_programs_written_for_a_digraph_what_to_do() -> None:
    picture = draw(node(1) + 1)
    with pytest.raises(AttributeError, match=r"no 'render': use save\('graph.svg'\).*opto-trace\[graphviz\]"):
        picture.render("graph")
    assert not hasattr(picture, "_repr_png_")
