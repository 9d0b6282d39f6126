"""Digraphs of graphviz, and the pictures that need no program."""

from __future__ import annotations

import re
from typing import Any

import pytest

from opto.trace import GRAPH, bundle, node
from opto.trace.bundle import ExecutionError
from opto.trace.utils import sum_feedback

graphviz = pytest.importorskip("graphviz")


def program() -> tuple[Any, Any]:
    x = node(3, name="x", trainable=True, description="an input")
    return x, (x * 2) + 1


def test_returns_a_digraph() -> None:
    x, y = program()
    picture = y.backward("fb", visualize=True)
    assert isinstance(picture, graphviz.Digraph)
    source = picture.source
    for name in ("x0", "multiply0", "add0"):
        assert name in source
    assert "x0 -> multiply0" in source and "multiply0 -> add0" in source
    assert x.feedback


def test_labels() -> None:
    _, y = program()
    source = y.backward("fb", visualize=True).source
    assert "an input" in source
    assert "x0\\nan input\\n3" in source or "x0\nan input\n3" in source


def test_reverse() -> None:
    _, y = program()
    source = y.backward("fb", visualize=True, reverse_plot=True).source
    assert "multiply0 -> x0" in source and "x0 -> multiply0" not in source


def test_long_texts_are_cut() -> None:
    x = node("a" * 500, name="x", trainable=True, description="d" * 500)
    source = (x + "b").backward("fb", visualize=True, print_limit=20).source
    assert "a" * 20 + "..." in source and "a" * 21 not in source
    assert "d" * 20 + "..." in source and "d" * 21 not in source


def test_content_of_a_dict() -> None:
    x = node({"content": "the text", "role": "secret"}, name="x", trainable=True)
    source = x.clone().backward("fb", visualize=True, simple_visualization=False).source
    assert "the text" in source and "secret" not in source


def test_clones_are_bypassed() -> None:
    x = node(1, name="x", trainable=True)
    y = x.clone().clone() + 1
    source = y.backward("fb", visualize=True, retain_graph=True).source
    assert "x0 -> add0" in source and "clone" not in source
    x.zero_feedback()
    source = y.backward("fb", visualize=True, simple_visualization=False).source
    assert "x0 -> clone0" in source and "clone0 -> clone1" in source


def test_parameters_and_errors_look_different() -> None:
    x = node(1, name="x", trainable=True)
    with pytest.raises(ExecutionError) as e:
        x / 0
    source = e.value.exception_node.backward("fb", visualize=True).source
    parameter = re.search(r"\tx0 \[(.*?)\]\n", source, flags=re.DOTALL)
    assert parameter and "shape=box" in parameter[1] and "filled,solid" in source
    assert "exception_divide0" in source and "ellipse" in source


def test_no_parameters_is_an_empty_picture() -> None:
    picture = (node(1) + 1).backward("fb", visualize=True)
    assert isinstance(picture, graphviz.Digraph) and "->" not in picture.source


def test_skipped_branches_are_not_drawn() -> None:
    a, k = node(1, name="a", trainable=True), node(2, name="k")
    source = (a + (k * 3)).backward("fb", visualize=True).source
    assert "k0" not in source and "a0 -> add0" in source
    GRAPH.ALLOW_NESTED_GRAPHS = True
    b = node(1, name="b", trainable=True)
    source = (b + (k * 4)).backward("fb", visualize=True).source
    assert "k0 -> " in source


def test_trace_graph_picture() -> None:
    x, y = program()
    y.backward("fb")
    graph = sum_feedback([x])
    picture = graph.visualize()
    assert isinstance(picture, graphviz.Digraph)
    assert "x0 -> multiply0" in picture.source and "int0 -> multiply0" in picture.source
    turned = graph.visualize(simple_visualization=False, reverse_plot=True, print_limit=5).source
    assert "multiply0 -> x0" in turned


def test_awkward_texts() -> None:
    x = node('quote " back \\ <b> & \n {record|x}', name="x", trainable=True, description='say "hi" \\n')

    @bundle("[a/b.c] odd name")
    def f(q):
        return q

    y = f(x)
    picture = y.backward("fb", visualize=True)
    assert "x0" in picture.source


def test_notebook_pictures_need_nothing() -> None:
    x, y = program()
    y.backward("fb")
    graph = sum_feedback([x])
    svg = graph._repr_svg_() if hasattr(graph, "_repr_svg_") else graph._repr_html_()
    assert "<svg" in svg and "x0" in svg and "add0" in svg
