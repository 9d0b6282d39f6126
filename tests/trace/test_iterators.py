"""Iterating over nodes: every element is a node that knows its container."""

from __future__ import annotations

import sys
from collections import ChainMap, UserDict
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import ExecutionError
from opto.trace import operators as ops
from opto.trace.iterators import DictIterable, SeqIterable, items, iterate
from opto.trace.nodes import node
from opto.trace.utils import contain


@given(st.one_of(st.lists(st.integers()), st.text(), st.lists(st.text()).map(tuple)))
def test_traced_elements_are_the_elements(data: Any) -> None:
    x = node(data)
    found = list(x)
    assert [e.data for e in found] == list(data)
    for position, element in enumerate(found):
        assert element.op_name == "getitem" and element.inputs["x"] is x and element.inputs["index"].data == position


def test_arrays_sets_and_dicts() -> None:
    array = np.arange(4).reshape(2, 2)
    assert [e.data.tolist() for e in node(array)] == [[0, 1], [2, 3]]
    s = node({3})
    [element] = s
    assert element.data == 3 and contain(element.parents[0].parents, s)
    d = node({"a": 1, "b": 2})
    assert [k.data for k in d] == ["a", "b"]
    for key, value in d.items():
        assert contain(key.parents[0].parents, d) and contain(value.parents, d) and d.data[key.data] == value.data


@pytest.mark.parametrize("kind", [dict, UserDict, MappingProxyType, ChainMap])
def test_mappings_of_any_kind_give_their_keys(kind: Any) -> None:
    x = node(kind({1: "b", 0: "a"}))
    found = list(x)
    assert [e.data for e in found] == [1, 0] and contain(found[0].parents[0].parents, x)


def test_functions() -> None:
    d = node({"a": 1})
    assert [(k.data, v.data) for k, v in DictIterable(d)] == [(k.data, v.data) for k, v in items(d)] == [("a", 1)]
    x = node([1, 2])
    assert [e.data for e in SeqIterable(x)] == [e.data for e in iterate(x)] == [1, 2]
    a, b = x
    assert (a.data, b.data) == (1, 2)
    with pytest.raises(ValueError):
        (_c,) = x


def test_what_cannot_be_walked() -> None:
    for data in (3, None, 2.5, len, dict, np.array(3)):
        x = node(data)
        with pytest.raises(ExecutionError) as error:
            list(x)
        assert error.value.exception_node.data.startswith("(TypeError)")
        assert contain(error.value.exception_node.parents, x)
    with pytest.raises(ExecutionError):
        _a, _b = node(None)
    with pytest.raises(AttributeError):
        node([1]).items()


def test_long_lists_need_no_copies() -> None:
    """Work grows with the length: each step looks at one element, however long the list."""
    steps = 0

    class Counted(list):  # type: ignore[type-arg]
        def __getitem__(self, index: Any) -> Any:
            nonlocal steps
            steps += 1
            return super().__getitem__(index)

    x = node(Counted(range(20_000)))
    frames = sys.getrecursionlimit()
    assert sum(1 for _ in x) == 20_000 and steps == 20_000 and frames == sys.getrecursionlimit()


def test_a_list_that_grows_meanwhile() -> None:
    x = node([1])
    seen = []
    for element in x:
        seen.append(element.data)
        if len(seen) < 3:
            x.data.append(len(seen) + 1)
    assert seen == [1, 2, 3]


def test_elements_take_part_in_traces() -> None:
    x = node([1, 2, 3], trainable=True)
    total = sum(e * 2 for e in x)
    assert total.data == 12 and total.parameter_dependencies == {x}  # type: ignore[union-attr]
    assert ops.join(", ", *node(["a", "b"])).data == "a, b"
