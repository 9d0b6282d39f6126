"""Promises that no other test asks for: what a user meets at the edges of nodes, operators and rewritten code."""

from __future__ import annotations

import ast
import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opto.errors import LoadError, TraceMissingInputsError
from opto.trace import bundle, node, nodes, operators, stop_tracing
from opto.trace.nodes import Node, ParameterNode
from opto.trace.operators.table import TABLE
from opto.trace.saving.safe_pickle import loads
from opto.trace.value_methods import ValueMethods


def test_stop_tracing_decorates_functions() -> None:
    @stop_tracing()
    def quiet(x: Any, *, by: int) -> Any:
        """Doc."""
        return x + by

    x = node(1)
    assert quiet(x, by=2).data == 3 and not quiet(x, by=2).parents
    assert quiet.__doc__ == "Doc." and (x + 1).parents


def test_operators_are_one_of_a_kind() -> None:
    add: Any = operators.add
    for twin in (copy.copy(add), copy.deepcopy([add])[0], pickle.loads(pickle.dumps(add))):
        assert twin is add
    assert repr(add) == "<operator add>"


class Noted(Node[Any]):
    """A node of a user, with attributes of its own."""


def test_copies_of_nodes_with_attributes() -> None:
    noted = Noted([1])
    noted.remark = ["why"]  # type: ignore[attr-defined]
    near, far, sent = copy.copy(noted), copy.deepcopy(noted), pickle.loads(pickle.dumps(noted))
    assert near.remark is noted.remark and near.data is noted.data
    assert far.remark == sent.remark == ["why"] and far.remark is not noted.remark
    assert {type(twin) for twin in (near, far, sent)} == {Noted}


def test_the_value_of_a_node_is_not_assigned() -> None:
    x = ParameterNode(1, name="x")
    with pytest.raises(AttributeError, match=r"x:0 is read-only.*make a new node.*_set\(value\)"):
        x.data = 2
    assert x.data == 1


def test_unpickled_nodes_share_what_made_them() -> None:
    end = node(0, name="x", trainable=True)
    for _ in range(3):
        end = end + 1
    last = pickle.loads(pickle.dumps(end))
    before = last.parents[0]
    assert last._op is before._op and last._op is not end._op
    before._description = "[add] Another."
    assert last.description == end.description and before.description == "Another."


def test_damaged_types_of_arrays_are_refused() -> None:
    dtype = b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02V8\x89\x88\x87R"
    for state in (b"K\x03", b"(K\x03\x8c\x01|NNNK\x04K\x01K\x00t"):
        with pytest.raises(LoadError, match="type"):
            loads(b"\x80\x04" + dtype + state + b"b.")
    assert np.dtype("V8").itemsize == 8


def declared(stub: str) -> list[ast.FunctionDef]:
    """The functions and methods that a `.pyi` of the tape declares."""
    path = Path(nodes.__file__).parent / stub
    return [item for item in ast.walk(ast.parse(path.read_text())) if isinstance(item, ast.FunctionDef)]


def test_types_are_declared_for_every_operator_with_the_names_of_its_arguments() -> None:
    found = {}
    for item in declared("operators/__init__.pyi"):
        given = item.args
        extra = [star for star in (given.vararg, given.kwarg) if star is not None]
        found[item.name] = tuple(argument.arg for argument in (*given.posonlyargs, *given.args, *extra))
    assert found == {name: operator.shape.keys for name, operator in TABLE.items()}


def test_types_are_declared_for_every_method_that_nodes_are_given() -> None:
    given = {name for name in vars(ValueMethods) if name not in vars(type("Empty", (), {"__slots__": ()}))}
    found = {item.name for item in declared("value_methods.pyi")}
    assert found <= given and not [name for name in given - found if not name.startswith("__")]


def test_a_template_may_name_its_fields_like_our_arguments() -> None:
    y = node(2, name="y")
    told = node("{x} {args_0} {}").format(0, x=1, args_0=y)
    assert told.data == "1 2 0" and y in told.parents and len(told.inputs) == 4
    assert node(lambda fun: fun + 1)(fun=y).data == 3


def test_indices_and_slices_that_hold_nodes() -> None:
    items, start, row = node([1, 2, 3, 4]), node(1, name="start"), node(1, name="row")
    part = items[start : node(3)]
    assert part.data == [2, 3] and part.inputs["index"].inputs["start"] is start
    assert items[1:].data == [2, 3, 4] and items[::-1].data == [4, 3, 2, 1]
    cell = node(np.array([[1, 2], [3, 4]]))[row, 0]
    assert cell.data == 3 and row in cell.inputs["index"].parents


def test_errors_say_whose_they_are_and_stay_short() -> None:
    @bundle()
    def reads(x: Any) -> Any:
        return hidden.data

    hidden = node("a" * 10_000, name="hidden")
    with pytest.raises(TypeError, match=r"reads.*unexpected keyword argument 'y'"):
        reads(1, y=2)
    with pytest.raises(TypeError, match="add: missing a required argument: 'y'"):
        operators.add(1)  # type: ignore[call-arg]
    with pytest.raises(TraceMissingInputsError, match="hidden:") as missing:
        reads(1)
    assert len(str(missing.value)) < 1_000
    with pytest.raises(TypeError, match="write x"):
        pow(node(2), 3, 5)
    with pytest.raises(AssertionError, match="A name is a string, not int"):
        node(1, name=5)  # type: ignore[arg-type]


def test_a_method_that_only_the_value_has_is_named_with_the_way_to_call_it() -> None:
    x = node("abc", name="x")
    with pytest.raises(AttributeError, match=r"x\.call\('startswith', \.\.\.\)"):
        x.startswith("a")
    with pytest.raises(AttributeError, match="no attribute 'extend'"):
        x.extend([1])
    assert x.call("startswith", "a").data is True and not hasattr(x, "startswith")
