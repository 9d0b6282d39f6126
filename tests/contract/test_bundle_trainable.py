"""Code as a parameter, recursion, coroutines, methods, copies."""

from __future__ import annotations

import asyncio
import copy
import functools
import math
import sys
import threading
from typing import Any

import pytest

from opto.trace import ExecutionError, bundle, node
from opto.trace.bundle import FunModule
from opto.trace.nodes import MessageNode, Node, ParameterNode
from opto.trace.projections import Projection

FACTOR = 3


class Same(Projection):
    def project(self, x: Any) -> Any:
        return x


def make_double() -> FunModule:
    @bundle(trainable=True)
    def double(x):
        """Twice."""
        return 2 * x

    return double


# --- code as a parameter --------------------------------------------------------------------------------------------


def test_parameter() -> None:
    f = make_double()
    p = f.parameter
    assert isinstance(p, ParameterNode) and p.name == "__code:0" and f.trainable is True
    assert p.data == f.info["source"] and p.data.startswith("def double(x):")
    assert f.parameters() == [p] and f.parameters()[0] is p
    assert list(f.parameters_dict()) == ["parameter"] and f.parameters_dict()["parameter"] is p
    assert f.overwrite_python_recursion is True


def test_projections_are_given_to_the_parameter() -> None:
    same = Same()

    @bundle(trainable=True, projections=[same])
    def g(x):
        return x

    assert g.parameter.projections == [same]


def test_output() -> None:
    f = make_double()
    y = f(4)
    assert y.data == 8 and y.name == "eval:0" and y.op_name == "eval"
    assert y.info["fun_name"] == "eval" and "__code" in y.description
    assert list(y.inputs) == ["x", "__code"] and y.inputs["__code"] is f.parameter
    assert y.inputs["x"].name == "x:0" and len(y.parents) == 2
    assert y.parameter_dependencies == {f.parameter}


def test_own_description_and_output_name_are_not_used() -> None:
    @bundle("[mine] words", trainable=True, output_name="result")
    def g(x):
        return x

    y = g(1)
    assert y.name == "eval:0" and y.op_name == "eval" and y.description != "words"


@pytest.mark.parametrize(
    ("source", "header"),
    [
        ("def fn(x, y=2):\n    return x + y", "def fn(x, y=2):"),
        ('def fn(x, y=2):\n    """Add them."""\n    return x + y', 'def fn(x, y=2):\n    """Add them."""'),
        (
            'def fn(x, y=2):\n    """Add\n    them.\n    """\n    return x + y',
            'def fn(x, y=2):\n    """Add\n    them.\n    """',
        ),
        ("def fn(\n    x,\n    y=2,\n):\n    return x + y", "def fn(\n    x,\n    y=2,\n):"),
        ("def fn(x, y=2):\n    '''Add them.'''\n    return x + y", "def fn(x, y=2):\n    '''Add them.'''"),
    ],
    ids=["plain", "docstring", "long docstring", "several lines", "single quotes"],
)
def test_description_of_code(tmp_path: Any, source: str, header: str) -> None:
    file = tmp_path / "generated_code_module.py"
    file.write_text(f"from opto.trace import bundle\n\n@bundle(trainable=True)\n{source}\n")
    namespace: dict[str, Any] = {"__name__": "generated_code_module"}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    f = namespace["fn"]
    assert f.parameter.description == "The code should start with:\n" + header
    assert f.parameter.data == source
    assert f(1).data == 3


def test_current_text_is_executed() -> None:
    f = make_double()
    f.parameter._data = "def double(x):\n    return 10 * x"
    assert f(4).data == 40
    f.parameter._data = (
        "import math\n\ndef helper(x):\n    return later(x)\n\ndef double(x):\n    return helper(x)\n\n"
        "def later(x):\n    return math.floor(x)"
    )
    assert f(4.5).data == 4
    f.parameter._data = "def double(x):\n    return 1 if x == 0 else x * double(x - 1)"
    assert f(5).data == 120


def test_globals_at_call_time_and_locals_at_decoration(monkeypatch: pytest.MonkeyPatch) -> None:
    local = 10

    @bundle(trainable=True)
    def g(x):
        return FACTOR * x + local

    local = 99
    assert g(1).data == 13
    monkeypatch.setitem(globals(), "FACTOR", 5)
    assert g(1).data == 15


def test_every_call_executes_the_whole_text(monkeypatch: pytest.MonkeyPatch) -> None:
    f = make_double()
    f.parameter._data = "memo = []\n\ndef double(x):\n    memo.append(x)\n    return len(memo)"
    assert [f(0).data for _ in range(3)] == [1, 1, 1]
    f.parameter._data = "LIMIT = FACTOR * 10\n\ndef double(x):\n    return LIMIT"
    assert f(0).data == 30
    monkeypatch.setitem(globals(), "FACTOR", 5)
    assert f(0).data == 50
    f.parameter._data = "FACTOR = 100\n\ndef double(x):\n    return FACTOR"
    assert f(0).data == 100 and FACTOR == 5


def test_new_signature_gives_type_error() -> None:
    f = make_double()
    f.parameter._data = "def double(x, y):\n    return x"
    with pytest.raises(TypeError):
        f(1)


def test_two_functions_do_not_share_code() -> None:
    f, g = make_double(), make_double()
    f.parameter._data = "def double(x):\n    return 0"
    assert (f(1).data, g(1).data) == (0, 2)


def test_broken_code_still_has_parameters() -> None:
    f = make_double()
    f.parameter._data = "def double(x)\n  return"
    assert f.parameters()[0] is f.parameter


def test_a_node_argument_named_code_is_not_confused() -> None:
    f = make_double()
    x = node(3, name="x", trainable=True)
    y = f(x)
    assert y.inputs["x"] is x and y.parameter_dependencies == {x, f.parameter}


def plus_one(fun):
    @functools.wraps(fun)
    def inner(*args, **kwargs):
        return fun(*args, **kwargs) + 1

    return inner


def test_code_with_decorators_in_a_class() -> None:
    class K:
        @bundle(trainable=True)
        @plus_one
        # a comment
        def fn(self, q,
               r=2):  # fmt: skip
            """Change
            q."""
            return q + r

        @bundle(trainable=True)
        def text(
            self,
            q,
        ):
            words = """a
b"""
            return words + q

    k = K()
    assert k.fn(3).data == 6 and k.text("c").data == "a\nbc"
    assert k.fn.parameter.data.startswith("@plus_one\n")
    k.fn.parameter._data = "def fn(self, q, r=2):\n    return q - r"
    assert k.fn(3).data == 1


# --- recursion --------------------------------------------------------------------------------------------------

KINDS: list[type] = []


@bundle()
def fact(n):
    if n <= 1:
        return 1
    rest = fact(n - 1)
    KINDS.append(type(rest))
    return n * rest


@bundle(overwrite_python_recursion=True)
def fact_raw(n):
    if n <= 1:
        return 1
    rest = fact_raw(n - 1)
    KINDS.append(type(rest))
    return n * rest


def test_recursion_through_the_bundle() -> None:
    KINDS.clear()
    assert fact(5).data == 120 and set(KINDS) == {MessageNode}


def test_recursion_past_the_bundle() -> None:
    KINDS.clear()
    before, bundled = sys.gettrace(), fact_raw
    assert fact_raw(5).data == 120 and set(KINDS) == {int}
    assert sys.gettrace() is before and fact_raw is bundled and isinstance(fact_raw, FunModule)


def test_local_recursion_past_the_bundle() -> None:
    kinds = []

    @bundle(overwrite_python_recursion=True)
    def down(n):
        if n == 0:
            return 0
        rest = down(n - 1)
        kinds.append(type(rest))
        return rest + 1

    before = sys.gettrace()
    assert down(4).data == 4 and set(kinds) == {int}
    assert sys.gettrace() is before and isinstance(down, FunModule)


@bundle(overwrite_python_recursion=True)
def fails(n):
    if n == 0:
        raise ValueError("bottom")
    return fails(n - 1)


def test_recursion_restores_after_an_error() -> None:
    before = sys.gettrace()
    with pytest.raises(ExecutionError):
        fails(3)
    assert sys.gettrace() is before and isinstance(fails, FunModule)


# --- coroutines -------------------------------------------------------------------------------------------------


@bundle()
async def slow(x):
    await asyncio.sleep(0)
    return x + 1


@bundle()
async def slow_error(x):
    await asyncio.sleep(0)
    return x / 0


@bundle(trainable=True)
async def slow_code(x):
    """Async code."""
    await asyncio.sleep(0)
    return x * 2


class Agent:
    @bundle()
    async def act(self, x):
        await asyncio.sleep(0)
        return x + 10

    @bundle(trainable=True)
    async def think(self, x):
        """Think."""
        await asyncio.sleep(0)
        return x * 10


async def test_await() -> None:
    x = node(1, name="x")
    y = await slow(x)
    assert isinstance(y, MessageNode) and y.data == 2 and y.inputs["x"] is x
    with pytest.raises(ExecutionError) as caught:
        await slow_error(x)
    assert caught.value.exception_node.data == "(ZeroDivisionError) division by zero"


async def test_gather_keeps_inputs_apart() -> None:
    xs = [node(k, name="x") for k in range(20)]
    ys = await asyncio.gather(*(slow(x) for x in xs))
    assert [y.data for y in ys] == list(range(1, 21))
    assert all(y.inputs["x"] is x for x, y in zip(xs, ys, strict=True))
    assert len({y.name for y in ys}) == 20
    assert [y.info["inputs"]["args"] for y in ys] == [[k] for k in range(20)]


async def test_trainable_coroutines() -> None:
    y = await slow_code(4)
    assert y.data == 8 and y.inputs["__code"] is slow_code.parameter
    agent = Agent()
    assert (await agent.act(1)).data == 11
    z = await agent.think(2)
    assert z.data == 20 and len(z.parents) == 3
    agent.think.parameter._data = "async def think(self, x):\n    return x * 100"
    assert (await agent.think(2)).data == 200


async def test_coroutine_stays_awaitable() -> None:
    @bundle(trainable=True)
    async def g(x):
        """Async."""
        return x

    g.parameter._data = "def g(x):\n    return x + 1"
    assert (await g(1)).data == 2


async def test_broken_async_code() -> None:
    @bundle(trainable=True)
    async def g(x):
        """Async."""
        return x

    g.parameter._data = "async def g(x) return x"
    with pytest.raises(ExecutionError) as caught:
        await g(1)
    assert caught.value.exception_node.data.startswith("(SyntaxError)")


# --- methods ----------------------------------------------------------------------------------------------------


class C:
    """Two methods."""

    def __init__(self, k: int = 1) -> None:
        self.k = k

    @bundle()
    def m(self, x):
        self.seen = x
        return x + self.k

    @bundle(trainable=True)
    def t(self, x):
        """Times k."""
        return x * self.k

    @staticmethod
    @bundle()
    def s(x):
        return x - 1


class D(C):
    @bundle()
    def m(self, x):
        return super().m(x) + 100


def test_method_vector() -> None:
    c = C(2)
    y = c.m(1)
    assert y.name == "C.m:0" and y.data == 3 and c.seen == 1
    assert {k: v.name.split(":")[0] for k, v in y.inputs.items()} == {"self": "C", "x": "x"}
    assert y.inputs["self"].data is c


def test_descriptor() -> None:
    a, b = C(1), C(2)
    assert isinstance(C.t, FunModule) and C.t is C.t
    assert not any("__TRACE_RESERVED_" in k for k in vars(a))
    assert a.t is a.t and a.t is not C.t and a.t != b.t
    assert "__TRACE_RESERVED_bundle_C.t" in vars(a) and "__TRACE_RESERVED_self_node" in vars(a)
    assert a.t(3).data == 3 and b.t(3).data == 6
    assert a.t(3).inputs["self"] is a.m(3).inputs["self"]


def test_instance_code() -> None:
    class E:
        @bundle(trainable=True)
        def t(self, x):
            """Same."""
            return x

    a, b = E(), E()
    assert E.t.parameter.name == "__code:0"
    assert a.t.parameter.name == "__code0_copy:0" and b.t.parameter.name == "__code0_copy:1"
    assert a.t.parameter == E.t.parameter and a.t.parameter is not E.t.parameter
    y = a.t(1)
    assert len(y.parents) == 3 and list(y.inputs) == ["self", "x", "__code"]
    assert y.inputs["__code"] is a.t.parameter
    a.t.parameter._data = "def t(self, x):\n    return -x"
    assert (a.t(1).data, b.t(1).data) == (-1, 1)
    E.t.parameter._data = "def t(self, x):\n    return x + 50"
    assert E().t(1).data == 51 and b.t(1).data == 1


def test_unbound_call() -> None:
    c = C(4)
    y = C.t(c, 2)
    assert y.data == 8 and y.inputs["__code"] is C.t.parameter
    assert C.m(c, 2).data == 6


def test_static_and_super() -> None:
    assert C.s(3).data == 2 and C().s(3).data == 2
    d = D(1)
    y = d.m(1)
    assert y.data == 102 and y.name == "D.m:0"


def test_parameters_of_a_method() -> None:
    c = C()
    assert len(c.t.parameters()) == 1 and c.t.parameters()[0] is c.t.parameter


def test_classmethod_leaves_the_class_alone() -> None:
    class K:
        @classmethod
        @bundle()
        def make(cls, x):
            return x + 1

        @bundle()
        def m(self, x):
            return x

    assert K.make(1).data == 2 and K().make(1).data == 2
    assert "__TRACE_RESERVED_self_node" not in vars(K)
    a = K()
    assert a.m(3).inputs["self"].data is a


def test_same_op_on_two_methods() -> None:
    class K:
        @bundle("[op] one")
        def one(self, x):
            return x + 1

        @bundle("[op] two")
        def two(self, x):
            return x + 2

    k = K()
    assert (k.one(0).data, k.two(0).data, k.one(0).data) == (1, 2, 1)


# --- copies -----------------------------------------------------------------------------------------------------


def test_copies_of_a_function() -> None:
    f = make_double()
    f.parameter._data = "def double(x):\n    return 7"
    for dup in (copy.copy(f), f.copy()):
        assert dup.parameter is f.parameter and dup(1).data == 7
    for dup in (copy.deepcopy(f), f.detach()):
        assert dup.parameter is not f.parameter and dup(1).data == 7
        dup.parameter._data = "def double(x):\n    return 8"
        assert (dup(1).data, f(1).data) == (8, 7)


def test_copies_next_to_modules_and_locks() -> None:
    lock, module = threading.Lock(), math
    f = make_double()

    @bundle(trainable=True)
    def g(x):
        with lock:
            return f.fun(module.floor(x))

    dup = copy.deepcopy(g)
    assert dup(2.5).data == 4
    assert dup.parameter.name == f"{g.parameter.py_name}_copy:0"


def test_copies_of_objects_with_methods() -> None:
    c = C(3)
    c.t.parameter._data = "def t(self, x):\n    return -x"
    deep, shallow = copy.deepcopy(c), copy.copy(c)
    assert deep.t(2).data == -2 and deep.t.parameter is not c.t.parameter
    assert deep.t(2).inputs["self"].data is deep
    deep.k = 50
    assert deep.m(1).data == 51 and c.m(1).data == 4
    assert shallow.t(2).data == -2


def test_untouched_object_deepcopies() -> None:
    c = copy.deepcopy(C(3))
    assert c.t(2).data == 6 and isinstance(c.t(2), Node)


def test_save_and_load(tmp_path: Any) -> None:
    f = make_double()
    text = f.parameter.data
    path = str(tmp_path / "deep" / "er" / "code.pkl")
    f.save(path)
    f.parameter._data = "def double(x):\n    return 0"
    parameter = f.parameter
    f.load(path)
    assert f.parameter is parameter and f.parameter.data == text and f(2).data == 4
