"""The four kinds of node, their members, equality, truth and iteration."""

# ruff: noqa: RUF005  (concatenation of nodes is what is tested)
from __future__ import annotations

import copy
import json
import math
import operator
from collections import defaultdict
from typing import Any

import pytest

from opto.trace import ExecutionError, node, operators, stop_tracing
from opto.trace.nodes import (
    AbstractNode,
    ExceptionNode,
    MessageNode,
    Node,
    ParameterNode,
    get_op_name,
)
from opto.trace.projections import Projection


class OddError(Exception):
    pass


class Cap(Projection):
    def project(self, x: Any) -> Any:
        return min(x, 3)


# --- node() -----------------------------------------------------------------------------------------------------


def test_plain_node() -> None:
    x = node(5, name="x", description="five")
    assert type(x) is Node and isinstance(x, AbstractNode)
    assert (x.data, x.name, x.description, x.trainable) == (5, "x:0", "five", False)


def test_node_of_a_node_is_that_node() -> None:
    x = node(5)
    assert node(x) is x


def test_name_of_an_existing_node_is_ignored_with_a_warning() -> None:
    x = node(5)
    with pytest.warns(Warning):
        assert node(x, name="other") is x
    assert x.name == "int:0"


def test_trainable_is_a_fresh_parameter_sharing_data() -> None:
    x = node([1], name="w", description="old")
    p = node(x, trainable=True)
    assert isinstance(p, ParameterNode) and p is not x
    assert p.data is x.data
    assert p.name == "w:1"
    assert p.description is None
    q = node(p, trainable=True)
    assert q is not p and q.data is p.data


@pytest.mark.parametrize("description", [3, b"x", ["a"]])
def test_description_must_be_text(description: Any) -> None:
    with pytest.raises(AssertionError):
        node(1, description=description)


def test_old_constraint_is_an_alias_of_description() -> None:
    p = node(1, trainable=True, constraint="stay small")
    assert "stay small" in (p.description or "")
    assert "stay small" in str(p._constraint)


# --- common members ---------------------------------------------------------------------------------------------


def test_constructors() -> None:
    n = Node(1, name="n", trainable=False, description="d", info={"k": 1})
    assert (n.name, n.description, n.info) == ("n:0", "d", {"k": 1})
    p = ParameterNode(1, name="p", description="d", projections=[Cap()], info=None)
    assert p.trainable and p.name == "p:0" and len(p.projections) == 1
    m = MessageNode(2, inputs={"a": n}, description="[op] does it", name="m", info={"i": 0})
    assert (m.name, m.op_name, m.description, m.info) == ("m:0", "op", "does it", {"i": 0})
    e = ExceptionNode(ValueError("x"), inputs={"a": n})
    assert isinstance(e, MessageNode) and e.info is None
    f = ExceptionNode(ValueError("x"), inputs={"a": n}, description="[exception] f", name="exception_step")
    assert (f.name, f.op_name, f.description) == ("exception_step:0", "exception", "f")


def test_message_name_defaults_to_the_type() -> None:
    assert MessageNode(2.5, inputs={"x": node(1)}, description="[myop] text").name == "float:0"


def test_node_of_node_shares_data_and_base() -> None:
    x = node([1], name="x")
    y = Node(x)
    assert y.data is x.data and y.name == "x:1"
    assert Node(x, name="z").name == "z:0"


def test_plain_node_with_flag_is_not_a_parameter() -> None:
    x = Node(1, trainable=True)
    assert x.trainable is True and not isinstance(x, ParameterNode)


def test_data_is_read_only_and_set_unwraps() -> None:
    p = node(1, trainable=True)
    with pytest.raises(AttributeError):
        p.data = 3  # type: ignore[misc]
    p._data = 4
    assert p.data == 4
    p._set(5)
    assert p.data == 5
    p._set(node(6))
    assert p.data == 6 and not isinstance(p._data, Node)


def test_relations() -> None:
    x, y = node(1, name="x"), node(2, name="y")
    a = x + y
    b = a * x
    assert [p is q for p, q in zip(a.parents, (x, y), strict=True)] == [True, True]
    assert [p is q for p, q in zip(b.parents, (a, x), strict=True)] == [True, True]
    assert [c is d for c, d in zip(x.children, (a, b), strict=True)] == [True, True]
    assert isinstance(x.children, list) and isinstance(a.parents, list)
    assert (x.level, a.level, b.level) == (0, 1, 2)
    assert x.is_root and not x.is_leaf
    assert not a.is_root and not a.is_leaf
    assert b.is_leaf and not b.is_root
    assert x.type is int and node("s").type is str


def test_one_node_twice_is_one_parent() -> None:
    x = node(2, name="x")
    y = x + x
    assert len(y.parents) == 1 and len(x.children) == 1
    assert list(y.inputs) == ["x", "y"]
    assert y.inputs["x"] is x and y.inputs["y"] is x


def test_children_do_not_hold_on() -> None:  # parameters do not remember the calls
    x = node(1, trainable=True)
    _ = x + 1
    del _
    assert x.children == []


def test_trainable_may_be_flipped() -> None:
    p = node(1, trainable=True)
    p.trainable = False
    assert p.trainable is False and isinstance(p, ParameterNode)
    n = node(1)
    n.trainable = True
    assert n.trainable is True


@pytest.mark.parametrize(
    ("text", "stored", "shown", "op"),
    [
        ("[op] hello", "[op] hello", "hello", "op"),
        ("hello", "[Node] hello", "hello", "Node"),
        ("", "[Node]", None, "Node"),
        (None, "[Node]", None, "Node"),
        ("[op]", "[op]", None, "op"),
        ("[a.b] x [c]", "[a.b] x [c]", "x [c]", "a.b"),
        ("text [op]", "[Node] text [op]", "text [op]", "Node"),
    ],
)
def test_description_rule(text: str | None, stored: str, shown: str | None, op: str) -> None:
    x = node(1, description=text)
    assert x._description.strip() == stored
    assert x.description == shown
    assert x.op_name == op


def test_description_of_a_parameter() -> None:
    p = node(1, description="x", trainable=True)
    assert p._description == "[ParameterNode] x"
    assert p.description == "x" and p.op_name == "ParameterNode"


def test_get_op_name() -> None:
    assert get_op_name("[add] The sum.") == "add"
    with pytest.raises(ValueError):
        get_op_name("no bracket")
    with pytest.raises(AssertionError):
        get_op_name(3)  # type: ignore[arg-type]


def test_str() -> None:
    x = node(1, name="x")
    assert str(x) == "Node: (x:0, dtype=<class 'int'>, data=1)"
    p = node("a", name="p", trainable=True)
    assert str(p) == "ParameterNode: (p:0, dtype=<class 'str'>, data=a)"
    assert str(x + 2) == "MessageNode: (add:0, dtype=<class 'int'>, data=3)"
    e = ExceptionNode(ValueError("no"), inputs={"x": x}, name="e")
    assert str(e) == "MessageNode: (e:0, dtype=<class 'str'>, data=(ValueError) no)"


def test_dependencies() -> None:
    p, q, k = node(1, trainable=True), node(2, trainable=True), node(3)
    assert p.parameter_dependencies == {p}
    assert k.parameter_dependencies == set()
    y = p + k
    z = y * q
    assert z.parameter_dependencies == {p, q}
    assert (k + 1).parameter_dependencies == set()
    assert z.expandable_dependencies == set()
    assert isinstance(z.parameter_dependencies, set)


def test_feedback_mapping() -> None:
    p = node(1, trainable=True)
    assert not p.feedback
    p.backward("a")
    assert len(p.feedback) == 1
    p.zero_feedback()
    assert isinstance(p.feedback, defaultdict) and p.feedback.default_factory is list
    assert len(p.feedback) == 0


def test_clone() -> None:
    x = node([[1]], name="x", trainable=True)
    y = x.clone()
    assert isinstance(y, MessageNode) and y.name == "clone:0" and y.op_name == "clone"
    assert y.parents[0] is x and len(y.parents) == 1
    assert y.data == [[1]] and y.data[0] is not x.data[0]
    z = operators.identity(x)
    assert z.data == [[1]] and z.parents[0] is x and z.op_name in ("clone", "identity")


@pytest.mark.parametrize("detach", [copy.deepcopy, lambda n: n.detach()])
def test_detach(detach: Any) -> None:
    x = node([[1]], name="x", trainable=True, description="hold")
    y = x + [2]
    x.backward("fb")
    c = detach(x)
    assert type(c) is ParameterNode and c.trainable and c.description == "hold"
    assert c.name == "x0_copy:0" and detach(x).name == "x0_copy:1"
    assert detach(c).name == "x0_copy0_copy:0"
    assert c.data == x.data and c.data[0] is not x.data[0]
    assert c.children == [] and c.parents == [] and not c.feedback
    m = detach(y)
    assert type(m) is MessageNode and m.name == "add0_copy:0" and m.data == [[1], 2]
    assert m.parents == [] and m.inputs == {} and m.level == 0
    assert not m.parameter_dependencies


def test_copies_are_named_after_the_copied() -> None:
    x = node(5, name="x")
    _, c2 = copy.deepcopy(x), copy.deepcopy(x)
    assert c2.name == "x0_copy:1"
    assert copy.deepcopy(c2).name == "x0_copy1_copy:0"


def test_deepcopy_keeps_sharing() -> None:
    x = node([1])
    a, b = copy.deepcopy([x, x])
    assert a is b and a is not x


def test_projections_are_checked() -> None:
    assert ParameterNode(1).projections == []
    for bad in ("text", (Cap(),), [lambda v: v], Cap()):
        with pytest.raises(AssertionError):
            ParameterNode(1, projections=bad)  # type: ignore[arg-type]


def test_generic_subscript() -> None:
    assert Node[int] is not None and ParameterNode[str] is not None and MessageNode[list[int]] is not None


# --- equality, hashing, truth, iteration ------------------------------------------------------------------------


def test_equality_is_of_data() -> None:
    x = node(5, name="x")
    assert (x == 5) is True and (x == node(6)) is False and (x != 5) is False and (x == 5) is True
    assert (x != node(6)) is True
    assert (x == "5") is False


def test_equality_gives_what_the_data_gives() -> None:
    np = pytest.importorskip("numpy")
    x = node(np.array([1, 2]))
    assert (x == np.array([1, 3])).tolist() == [True, False]


def test_hash_is_identity() -> None:
    x, y = node([1]), node([1])
    assert y in [x] and y not in {x} and len({x, y}) == 2
    table = {x: "x", y: "y"}
    assert table[x] == "x" and table[y] == "y"


def test_truth() -> None:
    x, zero, no = node(3), node(0), node(False)
    assert bool(x) and not zero and not no and not node([])
    assert (x and True) is True
    assert (zero and True) is zero
    assert (no or x) is x
    assert (x or no) is x
    assert (not x) is False


def test_order_is_traced() -> None:
    x = node(5, name="x")
    y = x > 3
    assert isinstance(y, MessageNode) and y.name == "gt:0" and y.data is True
    middle = (1 < x < 10).name
    assert middle == "lt:0"
    for op, name in ((operator.lt, "lt"), (operator.le, "le"), (operator.gt, "gt"), (operator.ge, "ge")):
        r = op(x, node(5))
        assert r.op_name == name and r.data == op(5, 5)
    if x > 4:
        pass
    else:
        pytest.fail("a comparison must be usable in if")


def test_eq_and_neq_are_traced() -> None:
    x = node(5)
    y = x.eq(5)
    assert isinstance(y, MessageNode) and y.data is True and y.op_name == "eq" and y.parents[0] is x
    z = x.neq(node(5))
    assert z.data is False and isinstance(z, MessageNode)


def test_len_and_in() -> None:
    x = node([1, 2, 3])
    assert type(len(x)) is int and len(x) == 3
    n = x.len()
    assert isinstance(n, MessageNode) and n.data == 3 and n.parents[0] is x
    assert (2 in x) is True and (9 in x) is False and (node(2) in x) is True
    assert ("b" in node("abc")) is True and ("a" in node({"a": 1})) is True


@pytest.mark.parametrize("data", [[10, 20], (10, 20), "ab"])
def test_iterating_a_sequence(data: Any) -> None:
    n = node(data)
    items = list(n)
    assert [i.data for i in items] == list(data)
    for k, item in enumerate(items):
        assert item.op_name == "getitem"
        assert item.parents[0] is n and item.parents[1].data == k


def test_iterating_an_array() -> None:
    np = pytest.importorskip("numpy")
    n = node(np.array([1.5, 2.5]))
    assert [float(e.data) for e in n] == [1.5, 2.5]
    assert all(e.parents[0] is n for e in n)


def test_iterating_a_set() -> None:
    n = node({3, 1})
    items = list(n)
    assert sorted(i.data for i in items) == [1, 3]
    middle = items[0].parents[0]
    assert middle.op_name == "to_list" and middle.parents[0] is n


def test_iterating_a_dict() -> None:
    n = node({"a": 1, "b": 2})
    keys = list(n)
    assert [k.data for k in keys] == ["a", "b"]
    assert keys[0].parents[0].parents[0] is n


@pytest.mark.parametrize("data", [3, None, 1.5, object()])
def test_iterating_anything_else(data: Any) -> None:
    n = node(data)
    with pytest.raises(ExecutionError) as caught:
        list(n)
    e = caught.value.exception_node
    assert e.data.startswith("(TypeError)")
    assert any(p is n for p in e.parents)


def test_unpacking() -> None:
    a, b = node([1, 2])
    assert (a.data, b.data) == (1, 2) and isinstance(a, MessageNode)
    with pytest.raises(ExecutionError):
        a, b = node(None)
    with pytest.raises(ValueError):
        a, b = node([1, 2, 3])
    with pytest.raises(ValueError):
        a, b = node([1])


def test_builtins_that_work() -> None:
    a, b = node(2, name="a"), node(1, name="b")
    total = sum([a, b])
    assert total.data == 3 and total.op_name == "add"
    assert max(a, b) is a and sorted([a, b])[0] is b


@pytest.mark.parametrize("convert", [int, float, complex, math.sqrt, range, ",".join])
def test_conversions_are_type_errors(convert: Any) -> None:
    n = node(2)
    with pytest.raises(TypeError):
        convert([n]) if convert == ",".join else convert(n)
    with pytest.raises(TypeError):
        [1, 2, 3][n]
    with pytest.raises(TypeError):
        json.dumps({"x": n})


@pytest.mark.parametrize("convert", [int, float, math.sqrt, range])
def test_the_type_error_says_what_to_write(convert: Any) -> None:
    with pytest.raises(TypeError, match=r"data|bundle"):
        convert(node(2))


def test_f_strings_write_the_value_and_str_prints_the_node() -> None:
    n = node(2, name="n")
    assert f"{n}" == "2" and f"{n:>4}" == "   2" and f"{n!s}" == str(n) == "Node: (n:0, dtype=<class 'int'>, data=2)"


@pytest.mark.parametrize("name", ["sqrt", "exp", "negative"])
def test_numpy_functions_are_right_or_refused(name: str) -> None:
    np = pytest.importorskip("numpy")
    fun = getattr(np, name)
    n = node(4.0, name="n", trainable=True)
    try:
        out = fun(n)
    except TypeError:
        return
    assert isinstance(out, Node) and out.data == fun(4.0) and out.parameter_dependencies == {n}


def test_numpy_on_the_left_is_right_or_refused() -> None:
    np = pytest.importorskip("numpy")
    n = node(np.array([1.0, 2.0]), trainable=True)
    for make in (lambda: np.array([1.0, 1.0]) + n, lambda: np.float64(2.0) * n, lambda: np.add(n, 1.0)):
        try:
            out = make()
        except TypeError:
            continue
        assert isinstance(out, Node) and out.parameter_dependencies == {n}
        assert np.asarray(out.data).dtype == float


def test_unknown_attributes_and_statements() -> None:
    n = node([1, 2])
    with pytest.raises(AttributeError):
        n.no_such_thing  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        n[0] = 3  # type: ignore[index]
    with pytest.raises(TypeError):
        n @ n  # type: ignore[operator]


def test_augmented_assignment_rebinds() -> None:
    x = before = node(1)
    x += 1
    assert x is not before and before.data == 1 and x.data == 2 and x.op_name == "add"


# --- MessageNode, ExceptionNode ---------------------------------------------------------------------------------


def test_inputs_is_a_copy() -> None:
    x = node(1)
    y = x + 1
    y.inputs.clear()
    assert list(y.inputs) == ["x", "y"]


def test_inputs_as_a_list_are_keyed_by_name() -> None:
    a, b = node(1, name="a"), node(2, name="b")
    m = MessageNode(3, inputs=[a, b], description="[op]")
    assert list(m.inputs) == ["a:0", "b:0"] and m.inputs["b:0"] is b


@pytest.mark.parametrize("inputs", [3, "ab", {"a": 3}, [1, 2], (1,)])
def test_other_inputs_are_refused(inputs: Any) -> None:
    with pytest.raises(AssertionError):
        MessageNode(3, inputs=inputs, description="[op]")


def test_inputs_need_tracing() -> None:
    x = node(1)
    with stop_tracing(), pytest.raises(AssertionError):
        MessageNode(3, inputs={"x": x}, description="[op]")
    with stop_tracing():
        assert MessageNode(3, inputs={}, description="[op]").inputs == {}


def test_exception_node_data() -> None:
    x = node(1)
    assert ExceptionNode(ValueError("bad", 2), inputs={"x": x}).data == "(ValueError) ('bad', 2)"
    assert ExceptionNode(OddError("text"), inputs={"x": x}).data == f"({OddError.__module__}.OddError) text"


def test_exception_feedback() -> None:
    x = node(1)
    plain = ExceptionNode(ValueError("no"), inputs={"x": x}, description="[exception] f", name="exception_step")
    assert plain.create_feedback() == plain.create_feedback(style="simple") == "(ValueError) no"
    assert plain.create_feedback("full") == "(ValueError) no"
    rich = ExceptionNode(ValueError("no"), inputs={"x": x}, info={"error_comment": "line <--- no"})
    assert rich.create_feedback("full") == "line <--- no"
    assert rich.create_feedback("simple") == "(ValueError) no"
    with pytest.raises(AssertionError):
        plain.create_feedback("loud")
    error = ExecutionError(plain)
    assert error.exception_node is plain and error.args == ("(ValueError) no",)
    assert "(ValueError) no" in str(error)
