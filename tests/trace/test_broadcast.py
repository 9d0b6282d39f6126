"""apply_op and recursive_conversion on every kind of structure."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.trace import operators as ops
from opto.trace.broadcast import apply_op, recursive_conversion
from opto.trace.bundle import bundle
from opto.trace.containers import NodeContainer, Seq
from opto.trace.nodes import Node, node

Point = namedtuple("Point", "x y")


class Pair(NodeContainer):
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    @bundle()
    def method(self):
        return 1


shapes = st.recursive(
    st.integers(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_leaves=8,
)


def mapped(structure: Any, change: Any) -> Any:
    if isinstance(structure, list | tuple):
        return type(structure)(mapped(item, change) for item in structure)
    if isinstance(structure, dict):
        return {key: mapped(item, change) for key, item in structure.items()}
    return change(structure)


@given(shapes)
def test_every_place_is_computed(shape: Any) -> None:
    left, right = mapped(shape, node), mapped(shape, lambda x: node(2 * x))
    result = apply_op(ops.add, mapped(shape, lambda x: None), left, right)
    assert mapped(result, lambda n: n.data) == mapped(shape, lambda x: 3 * x)


@given(shapes)
def test_conversion_of_nodes_only(shape: Any) -> None:
    nodes = mapped(shape, node)
    assert recursive_conversion(lambda n: n.data)(nodes) == shape
    assert recursive_conversion(lambda n: n.data, str)(shape) == mapped(shape, str)


def test_output_is_filled_in_place_and_tuples_are_new() -> None:
    out = [(None, None), Point(None, None)]
    result = apply_op(ops.add, out, [(node(1), node(2)), Point(node(3), node(4))], node(10))
    assert result is out and [n.data for n in out[0]] == [11, 12]
    assert isinstance(out[1], Point) and out[1].y.data == 14


def test_containers_are_filled_by_attribute() -> None:
    left, right, out = Pair(node(1), [node(2)]), Pair(node(3), [node(4)]), Pair(None, [None])
    left.method()  # leaves the tape's own attributes on it
    assert apply_op(ops.add, out, left, y=right) is out
    assert (out.a.data, out.b[0].data) == (4, 6)
    seq = apply_op(ops.add, Seq(None, None), Seq(node(1), node(2)), node(1))
    assert [n.data for n in seq] == [2, 3]


def test_leaves_stay() -> None:
    assert apply_op(ops.add, ["kept", len], ["left", len], ["right", len]) == ["kept", len]
    assert apply_op(ops.add, Pair.method) is Pair.method


def test_mismatches_are_named() -> None:
    with pytest.raises(AssertionError, match="output is a list"):
        apply_op(ops.add, [None], (node(1),))
    with pytest.raises(AssertionError, match="output has 2 items, an input 1"):
        apply_op(ops.add, [None, None], [node(1)])


def test_conversion_makes_new_structures() -> None:
    old: Any = [node(1), {"k": node(2)}, (node(3),), {node(4)}, Point(node(5), 6)]
    new = recursive_conversion(lambda n: n.data)(old)
    assert new == [1, {"k": 2}, (3,), {4}, Point(5, 6)] and isinstance(old[0], Node) and isinstance(old[1]["k"], Node)
    pair = Pair(node(1), 2)
    assert recursive_conversion(lambda n: n.data)(pair) is pair and pair.a == 1
