"""The operator functions, the node methods, and the law that tracing changes no result."""

# ruff: noqa: RUF005  (concatenation of nodes is what is tested)
from __future__ import annotations

import math
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.trace import ExecutionError, node
from opto.trace import operators as ops
from opto.trace.nodes import MessageNode, Node

ONE = {
    "clone": ([1], [1]), "pos": (3, 3), "neg": (3, -3), "abs": (-3, 3), "invert": (5, -6), "floor": (2.7, 2),
    "ceil": (2.1, 3), "trunc": (-2.7, -2), "not_": (0, True), "ord_": ("a", 97), "chr_": (97, "a"),
    "lower": ("Ab", "ab"), "upper": ("Ab", "AB"), "title": ("ab cd", "Ab Cd"), "swapcase": ("Ab", "aB"),
    "capitalize": ("ab", "Ab"), "len_": ([1, 2], 2), "to_list": ((1, 2), [1, 2]), "to_dict": ([("a", 1)], {"a": 1}),
    "to_set": ([1, 1], {1}), "to_tuple": ([1, 2], (1, 2)), "keys": ({"a": 1}, ["a"]), "values": ({"a": 1}, [1]),
}  # fmt: skip
TWO = {
    "add": (3, 2, 5), "subtract": (3, 2, 1), "multiply": (3, 2, 6), "floor_divide": (7, 2, 3), "divide": (7, 2, 3.5),
    "mod": (7, 2, 1), "node_divmod": (7, 2, (3, 1)), "power": (2, 3, 8), "lshift": (1, 3, 8), "rshift": (8, 2, 2),
    "and_": (6, 3, 2), "or_": (6, 3, 7), "xor": (6, 3, 5), "lt": (1, 2, True), "le": (2, 2, True), "eq": (2, 2, True),
    "neq": (2, 2, False), "ne": (2, 3, True), "ge": (1, 2, False), "gt": (1, 2, False), "is_": (None, None, True),
    "is_not": (None, 1, True), "not_in": (3, [1, 2], True), "concat": ("a", "b", "ab"), "round": (3.777, 2, 3.78),
    "getitem": ([1, 2], 1, 2), "split": ("a,b", ",", ["a", "b"]), "node_getattr": (3 + 4j, "real", 3.0),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_unary(name: str) -> None:
    arg, want = ONE[name]
    x = node(arg, name="a")
    y = getattr(ops, name)(x)
    assert isinstance(y, MessageNode) and y.data == want and type(y.data) is type(want)
    assert y.name == f"{name}:0" and y.op_name == name
    assert list(y.inputs) == ["x"] and y.inputs["x"] is x


@pytest.mark.parametrize("name", TWO)
def test_binary(name: str) -> None:
    left, right, want = TWO[name]
    a, b = node(left, name="a"), node(right, name="b")
    y = getattr(ops, name)(a, b)
    keys = {
        "round": ["x", "n"],
        "getitem": ["x", "index"],
        "node_getattr": ["obj", "attr"],
        "split": ["x", "y", "maxsplit"],
    }
    assert y.data == want and y.name == f"{name}:0"
    assert list(y.inputs) == keys.get(name, ["x", "y"])
    assert next(iter(y.inputs.values())) is a and list(y.inputs.values())[1] is b


def test_in() -> None:  # nobody promises the order of the two, but the result of `in` is
    assert (2 in node([1, 2])) is True
    assert {ops.in_(node(2), node([1, 2])).op_name} == {"in_"}


def test_raw_arguments_become_nodes() -> None:
    y = ops.add(1, 2)
    assert y.data == 3 and {k: v.name for k, v in y.inputs.items()} == {"x": "x:0", "y": "y:0"}


def test_cond_get_pop() -> None:
    assert ops.cond(node(True), 1, 2).data == 1 and ops.cond(False, 1, 2).data == 2
    assert list(ops.cond(True, 1, 2).inputs) == ["condition", "x", "y"]
    assert ops.get({"a": 1}, "a").data == 1
    assert ops.get({"a": 1}, "b").data is None and ops.get({"a": 1}, "b", 3).data == 3
    with pytest.raises(ExecutionError) as caught:
        ops.get(3, "b")
    assert caught.value.exception_node.data.startswith("(AttributeError)")
    assert ops.pop([1, 2, 3], 1).data == 2 and list(ops.pop([1, 2], 0).inputs) == ["x", "index"]


def test_text_operators() -> None:
    assert ops.split("a b c", " ", 1).data == ["a", "b c"]
    assert ops.strip("  a ").data == "a" and ops.strip(node("--a-"), "-").data == "a"  # noqa: B005
    assert ops.replace("aaa", "a", "b").data == "bbb" and ops.replace("aaa", "a", "b", 2).data == "bba"
    assert list(ops.replace("aaa", "a", "b", 2).inputs) == ["x", "old", "new", "count"]
    assert ops.format("{}-{k}", 1, k=2).data == "1-2"
    assert list(ops.format("{}-{k}", 1, k=2).inputs) == ["x", "args_0", "k"]
    assert ops.join(", ", "a", "b").data == "a, b"
    assert list(ops.join(", ", "a", "b").inputs) == ["x", "args_0", "args_1"]


def test_builders() -> None:
    a = node(1, name="a")
    assert ops.make_list(a, 2).data == [1, 2] and ops.make_tuple(a, 2).data == (1, 2)
    assert ops.make_set(a, 1).data == {1} and ops.make_dict(u=a, v=2).data == {"u": 1, "v": 2}
    assert ops.make_dict(u=a, v=2).inputs["u"] is a
    assert ops.make_list(a, 2).inputs["args_0"] is a


MODIFY = [
    ("dict_update", {"a": 1}, ({"b": 2},), {"a": 1, "b": 2}),
    ("dict_pop", {"a": 1, "b": 2}, ("a",), {"b": 2}),
    ("dict_popitem", {"a": 1, "b": 2}, (), {"a": 1}),
    ("list_append", [1], (2,), [1, 2]),
    ("list_clear", [1], (), []),
    ("list_extend", [1], ([2, 3],), [1, 2, 3]),
    ("list_insert", [1, 3], (1, 2), [1, 2, 3]),
    ("list_pop", [1, 2, 3], (1,), [1, 3]),
    ("list_remove", [1, 2, 1], (1,), [2, 1]),
    ("list_reverse", [1, 2], (), [2, 1]),
    ("list_sort", [2, 1], (), [1, 2]),
    ("set_add", {1}, (2,), {1, 2}),
    ("set_clear", {1}, (), set()),
    ("set_discard", {1, 2}, (2,), {1}),
    ("set_intersection_update", {1, 2}, ({2, 3},), {2}),
    ("set_pop", {1}, (), set()),
    ("set_remove", {1, 2}, (2,), {1}),
    ("set_symmetric_difference_update", {1, 2}, ({2, 3},), {1, 3}),
    ("set_update", {1}, ({2},), {1, 2}),
]


@pytest.mark.parametrize(("name", "data", "args", "want"), MODIFY, ids=[m[0] for m in MODIFY])
def test_copy_then_modify(name: str, data: Any, args: tuple[Any, ...], want: Any) -> None:
    before = type(data)(data)
    x = node(data)
    y = getattr(ops, name)(x, *args)
    assert y.data == want and y.data is not x.data
    assert x.data == before
    assert y.name == f"{name}:0" and y.inputs["x"] is x


def test_list_sort_options() -> None:
    assert ops.list_sort([1, 3, 2], None, True).data == [3, 2, 1]
    assert ops.list_sort([1, -3, 2], key=abs).data == [1, 2, -3]


def test_shallow_copy_only() -> None:
    inner = [1]
    y = ops.list_append([inner], 2)
    assert y.data[0] is inner


def test_keys_and_values_of_others_fail() -> None:
    for op in (ops.keys, ops.values):
        with pytest.raises(ExecutionError):
            op([1])


# --- call, call_llm -------------------------------------------------------------------------------------------------


def test_call_operator() -> None:
    f = node(lambda a, b=1: a + b, name="f")
    y = ops.call(f, 2, b=3)
    assert y.data == 5 and y.op_name == "call"
    assert y.inputs["fun"] is f
    assert node(max)(1, 5).data == 5
    x = node(4, name="x", trainable=True)
    z = f(x)
    assert z.data == 5 and isinstance(z, MessageNode) and z.parameter_dependencies == {x}


def test_call_of_a_function_returning_a_node() -> None:
    y = node(lambda: node(3))()
    assert isinstance(y, MessageNode) and y.data == 3


def test_call_may_read_foreign_nodes() -> None:
    ext = node(10)
    assert node(lambda a: ext.data)(1).data == 10


def test_call_of_a_non_callable_fails() -> None:
    with pytest.raises(ExecutionError):
        node(3)(1)


class Echo:
    """A tiny model: remembers its calls, answers with the number of messages."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        messages = kwargs.get("messages", args[0] if args else None)
        self.calls.append({**kwargs, "messages": messages})
        message = type("M", (), {"content": f"{len(messages)} messages"})
        return type("R", (), {"choices": [type("C", (), {"message": message})]})


def test_call_llm() -> None:
    llm = Echo()
    system, user = node("be kind", name="system", trainable=True), node("hi", name="user")
    y = ops.call_llm(llm, system, user, "more", max_tokens=7)
    assert y.data == "3 messages" and y.op_name == "call_llm"
    assert llm.calls[0]["messages"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {"role": "user", "content": "more"},
    ]
    assert llm.calls[0]["max_tokens"] == 7
    assert y.parameter_dependencies == {system}
    ops.call_llm(llm, None, "hi")
    assert llm.calls[1]["messages"] == [{"role": "user", "content": "hi"}]


def test_call_llm_errors_pass() -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("nobody")

    with pytest.raises(ConnectionError):
        ops.call_llm(broken, "system", "user")


def test_call_llm_the_old_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import opto.utils.llm as llm_module

    llm = Echo()
    monkeypatch.setattr(llm_module, "LLM", lambda *a, **k: llm)
    y = ops.call_llm(node("be kind"), "hi", "more")
    assert y.data == "3 messages"
    assert llm.calls[0]["messages"][0] == {"role": "system", "content": "be kind"}


# --- node methods -----------------------------------------------------------------------------------------------

SYMBOLS = [
    (operator.add, "add"), (operator.sub, "subtract"), (operator.mul, "multiply"), (operator.truediv, "divide"),
    (operator.floordiv, "floor_divide"), (operator.mod, "mod"), (operator.pow, "power"), (operator.lshift, "lshift"),
    (operator.rshift, "rshift"), (operator.and_, "and_"), (operator.or_, "or_"), (operator.xor, "xor"),
    (divmod, "node_divmod"),
]  # fmt: skip


@pytest.mark.parametrize(("fun", "name"), SYMBOLS, ids=[s[1] for s in SYMBOLS])
def test_symbols(fun: Any, name: str) -> None:
    x, y = node(7, name="x"), node(2, name="y")
    for out in (fun(x, y), fun(x, 2), fun(7, y)):
        assert isinstance(out, MessageNode) and out.op_name == name and out.data == fun(7, 2)
        assert list(out.inputs) == ["x", "y"]
        assert [p.data for p in out.parents] == [7, 2]
    assert fun(7, y).parents[1] is y and fun(x, 2).parents[0] is x


def test_reflected_vectors() -> None:
    assert divmod(7, node(2)).data == (3, 1) and divmod(7, node(2)).op_name == "node_divmod"
    assert (2 ** node(3)).data == 8
    y = "a" + node("b")
    assert y.data == "ab" and y.op_name == "concat"
    z = node("a") * 3
    assert z.data == "aaa" and z.op_name == "multiply"
    assert (node("a") + "b").op_name == "concat"
    assert (node([1]) + [2]).op_name == "add" and ([1] + node([2])).data == [1, 2]


def test_unary_symbols() -> None:
    x = node(-3.6, name="x")
    table = {
        "neg": -x, "pos": +x, "abs": abs(x), "floor": math.floor(x), "ceil": math.ceil(x), "trunc": math.trunc(x),
    }  # fmt: skip
    assert {k: v.data for k, v in table.items()} == {
        "neg": 3.6, "pos": -3.6, "abs": 3.6, "floor": -4, "ceil": -3, "trunc": -3,
    }  # fmt: skip
    assert all(v.op_name == k and v.parents[0] is x for k, v in table.items())
    assert (~node(5)).data == -6
    assert abs(node(-3)).data == 3 and round(node(3.777), 2).data == 3.78
    assert ops.abs(-3).data == 3 and ops.round(3.777, 2).data == 3.78
    assert round(node(2.7)).data == 3 and type(round(node(2.7)).data) is int


def test_getitem() -> None:
    x, k = node([1, 2, 3], name="x"), node(1, name="k")
    y = x[k]
    assert y.data == 2 and y.inputs["x"] is x and y.inputs["index"] is k and y.op_name == "getitem"
    assert x[0].data == 1 and x[1:].data == [2, 3] and x[-1].data == 3
    assert node({"a": 1})["a"].data == 1
    assert node([node(1), 2])[0].data == 1
    with pytest.raises(ExecutionError):
        x[7]


def test_text_methods() -> None:
    s = node("  Hello World ", name="s")
    for name in ("capitalize", "lower", "upper", "swapcase", "title", "strip", "split"):
        y = getattr(s, name)()
        assert y.data == getattr("  Hello World ", name)() and y.op_name == name and y.parents[0] is s
    assert node("a,b,c").split(",", 1).data == ["a", "b,c"]
    assert node("xax").strip("x").data == "a"
    assert node("aaa").replace("a", "b", 1).data == "baa"
    assert node("{} {k}").format(node(1), k=node(2)).data == "1 2"
    assert node(",").join(["a", "b"]).data == "a,b"
    assert node(",").join([node("a"), "b"]).data == "a,b"
    assert node(",").join(node(["a", "b"])).data == "a,b"
    assert node(",").join(("a", "b")).op_name == "join"
    with pytest.raises(TypeError):
        node(",").join(3)


TEXT_METHODS = [
    ("format", ()), ("capitalize", ()), ("lower", ()), ("upper", ()), ("swapcase", ()), ("title", ()),
    ("split", ()), ("strip", ()), ("replace", ("a", "b")), ("join", (["a"],)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), TEXT_METHODS, ids=[t[0] for t in TEXT_METHODS])
def test_text_methods_need_text(name: str, args: tuple[Any, ...]) -> None:
    class Text(str):
        pass

    for data in (3, ["a"], Text("a")):
        with pytest.raises(AttributeError):
            getattr(node(data), name)(*args)


def test_dict_methods() -> None:
    d = node({"a": 1, "b": 2}, name="d")
    pairs = list(d.items())
    assert [(k.data, v.data) for k, v in pairs] == [("a", 1), ("b", 2)]
    for k, v in d.items():
        assert any(p is d for p in k.parents[0].parents)
        assert any(p is d for p in v.parents)
    keys = d.keys()
    assert (keys.data if isinstance(keys, Node) else [k.data for k in keys]) == ["a", "b"]
    values = d.values()
    assert (values.data if isinstance(values, Node) else [v.data for v in values]) == [1, 2]
    got = d.get("b", 3)
    assert isinstance(got, Node) and got.data == 2
    assert node({"a": 1}).get("b", 3).data == 3 and node({"a": 1}).get("b").data is None
    with pytest.raises(AttributeError):
        node([1]).items()
    with pytest.raises(AttributeError):
        node([1]).keys()


def test_pop_is_in_place() -> None:
    n = node([1, 2, 3])
    assert n.pop().data == 3 and n.data == [1, 2]
    assert n.pop(0).data == 1 and n.data == [2]


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def bump(self, by: int = 1) -> int:
        self.count += by
        return self.count


def test_getattr_and_call() -> None:
    c = node(Counter(), name="c")
    y = c.getattr("count")
    assert y.data == 0 and y.op_name == "node_getattr" and y.inputs["obj"] is c
    z = c.call("bump", 5)
    assert z.data == 5 and isinstance(z, MessageNode)
    assert c.data.count == 5
    assert node([3, 1]).call("index", 1).data == 1


def test_append() -> None:
    n = node([1])
    y = n.append(2)
    assert y.data is None and len(n) == 2
    last = n.data[1]
    assert (last.data if isinstance(last, Node) else last) == 2


# --- laws -----------------------------------------------------------------------------------------------------------

ints = st.integers(-50, 50)
floats = st.floats(-1e6, 1e6, allow_nan=False)
texts = st.text(max_size=8)
lists = st.lists(ints, max_size=5)


def both(fun: Any, left: Any, right: Any) -> None:
    """`fun` on nodes gives the data, or the error, that it gives on raw values."""
    try:
        want = fun(left, right)
    except Exception as error:
        with pytest.raises(ExecutionError) as caught:
            fun(node(left), node(right))
        assert caught.value.exception_node.data.startswith(f"({type(error).__name__})")
        return
    for out in (fun(node(left), node(right)), fun(node(left), right), fun(left, node(right))):
        got = out.data if isinstance(out, Node) else out
        assert got == want and type(got) is type(want)


ARITHMETIC = [f for f, n in SYMBOLS if n not in ("power", "lshift", "rshift")]
ORDER = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@given(st.sampled_from(ARITHMETIC + ORDER), ints, ints)
def test_law_ints(fun: Any, left: int, right: int) -> None:
    both(fun, left, right)


@given(st.sampled_from([operator.pow, operator.lshift, operator.rshift]), ints, st.integers(-3, 6))
def test_law_powers_and_shifts(fun: Any, left: int, right: int) -> None:
    both(fun, left, right)


@given(st.sampled_from([operator.add, operator.sub, operator.mul, operator.truediv, *ORDER]), floats, floats)
def test_law_floats(fun: Any, left: float, right: float) -> None:
    both(fun, left, right)


@given(st.sampled_from([operator.add, *ORDER]), texts, texts)
def test_law_texts(fun: Any, left: str, right: str) -> None:
    both(fun, left, right)


@given(st.sampled_from([operator.add, *ORDER]), lists, lists)
def test_law_lists(fun: Any, left: list[int], right: list[int]) -> None:
    both(fun, left, right)


@given(st.one_of(lists, texts), st.integers(-6, 6))
def test_law_indexing(data: Any, index: int) -> None:
    try:
        want = data[index]
    except IndexError:
        with pytest.raises(ExecutionError):
            node(data)[index]
        return
    assert node(data)[index].data == node(data)[node(index)].data == want


@given(st.sampled_from([operator.neg, operator.pos, abs, round, math.floor, math.ceil, math.trunc]), floats)
def test_law_unary(fun: Any, value: float) -> None:
    assert fun(node(value)).data == fun(value)


@given(lists)
def test_law_iteration(data: list[int]) -> None:
    assert [e.data for e in node(data)] == data
    assert sorted(e.data for e in node(set(data))) == sorted(set(data))
