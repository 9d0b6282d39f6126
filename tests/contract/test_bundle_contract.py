"""What the decorator promises for functions that are not trainable."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest

import opto.trace as trace
from opto.trace import ExecutionError, Module, bundle, node
from opto.trace.bundle import (
    FunModule,
    TraceMissingInputsError,
    disable_external_dependencies_check,
    to_data,
)
from opto.trace.containers import NodeContainer
from opto.trace.nodes import MessageNode, Node
from opto.trace.utils import contain, for_all_methods

EXT = node(7, name="ext")


def plus_one(fun):
    @functools.wraps(fun)
    def inner(*args, **kwargs):
        return fun(*args, **kwargs) + 1

    return inner


def names(n: Any) -> dict[str, str]:
    return {key: value.name.split(":")[0] for key, value in n.inputs.items()}


def same(left: Any, right: Any) -> bool:
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))


# --- the decorator --------------------------------------------------------------------------------------------------


@bundle()
def add_two(x):
    """Add two.

    Second line.
    """
    return x + 2


@trace.bundle("[fancy.cond] picks")
def pick(c, a, b):
    return a if c else b


def test_decorated_object() -> None:
    assert isinstance(add_two, FunModule) and isinstance(add_two, Module)
    assert add_two.parameter is None and add_two.trainable is False
    assert add_two.parameters() == [] and add_two.parameters_dict() == {}
    assert add_two.traceable_code is False and add_two.catch_execution_error is True
    assert add_two.allow_external_dependencies is False and add_two.overwrite_python_recursion is False
    assert add_two.output_name is None and callable(add_two.fun) and isinstance(add_two.info, dict)
    assert add_two.forward(1).data == 3 and add_two.fun(1) == 3


def test_signature_of_bundle() -> None:
    assert list(inspect.signature(bundle).parameters) == [
        "description", "traceable_code", "_process_inputs", "trainable", "catch_execution_error",
        "allow_external_dependencies", "overwrite_python_recursion", "projections", "output_name",
    ]  # fmt: skip


def test_inline_and_partial() -> None:
    def sub(x, y):
        return x - y

    f = bundle()(sub)
    assert f(5, 3).data == 2
    assert functools.partial(f, 5)(3).data == 2
    assert functools.partial(f, y=1)(node(5)).data == 4


@for_all_methods(bundle())
class Shop:
    def __init__(self):
        self.stock = 3

    def take(self, n):
        self.stock -= n
        return self.stock


def test_for_all_methods() -> None:
    shop = Shop()
    y = shop.take(1)
    assert isinstance(y, MessageNode) and y.data == 2 and shop.stock == 2 and y.name == "Shop.take:0"


# --- names ------------------------------------------------------------------------------------------------------


class Foo:
    @bundle()
    def add(self, x):
        """Add."""
        return x + 1


def test_names_and_descriptions() -> None:
    y = add_two(1)
    assert y.name == "add_two:0" and y.op_name == "add_two"
    assert y.description == "Add two.\n\nSecond line."
    assert Foo().add(1).name == "Foo.add:0" and Foo().add(1).description == "Add."
    assert pick(True, 1, 2).name == "fancy.cond:0" and pick(True, 1, 2).description == "picks"


def test_local_function_name() -> None:
    def outer():
        @bundle()
        def inner(x):
            return x

        return inner(1)

    y = outer()
    assert y.name == "test_local_function_name.outer.inner:0"
    assert y.info["fun_name"] == "test_local_function_name.outer.inner"
    assert y.info["_fun_name"] == "inner" and y.description is None


def test_description_needs_the_op() -> None:
    with pytest.raises(ValueError):

        @bundle("no bracket")
        def f(x):
            return x


def test_output_name() -> None:
    @bundle(output_name="result")
    def f(x):
        return x

    y = f(1)
    assert y.name == "result:0" and y.op_name.endswith("f")


# --- info -------------------------------------------------------------------------------------------------------

INFO = {
    "fun", "fun_name", "_fun_name", "doc", "signature", "source", "line_number", "file", "error_comment", "traceback",
    "output", "inputs", "external_dependencies",
}  # fmt: skip


def test_info_keys() -> None:
    x = node(1, name="x")
    info = add_two(x).info
    assert set(info) >= INFO
    assert info["fun_name"] == "add_two" and info["_fun_name"] == "add_two"
    assert info["source"].startswith("def add_two(x):") and info["source"].endswith("return x + 2")
    assert info["file"] == __file__ and info["doc"].startswith("Add two.")
    assert info["output"] == 3
    assert info["inputs"] == {"args": [1], "kwargs": {}}
    assert info["external_dependencies"] == []
    with open(__file__, encoding="utf-8") as f:
        assert f.read().splitlines()[info["line_number"] - 1] == "def add_two(x):"


def test_info_is_per_call() -> None:
    first, second = add_two(1), add_two(10)
    assert first.info["inputs"]["args"] == [1] and second.info["inputs"]["args"] == [10]
    assert (first.info["output"], second.info["output"]) == (3, 12)
    with pytest.raises(ExecutionError):
        add_two("a")
    third = add_two(5)
    assert not third.info["traceback"] and not third.info["error_comment"]
    assert first.info["output"] == 3


@plus_one
@bundle()
@plus_one
# a comment about bundle( that must not confuse
def below(x):
    # bundle() again
    return x


@bundle(
    description="[spread] arguments over lines",
    traceable_code=False,
)
@plus_one
def spread(x):
    return x


# fmt: off
@bundle\
()
def continued(x):
    return x
# fmt: on


def line_of(text: str) -> int:
    with open(__file__, encoding="utf-8") as f:
        return f.read().splitlines().index(text) + 1


def test_source_under_other_decorators() -> None:
    y = below(node(1))
    assert y.data == 3 and isinstance(y, MessageNode)
    info = y.parents[0].info
    assert info["source"] == (
        "@plus_one\n# a comment about bundle( that must not confuse\ndef below(x):\n    # bundle() again\n    return x"
    )
    assert info["line_number"] == line_of("def below(x):") - 2


def test_source_of_spread_arguments() -> None:
    info = spread(1).info
    assert info["source"] == "@plus_one\ndef spread(x):\n    return x"
    assert info["line_number"] == line_of("def spread(x):") - 1
    assert continued(1).info["source"] == "def continued(x):\n    return x"
    assert continued(1).info["line_number"] == line_of("def continued(x):")


def test_source_inline() -> None:
    def plain(x):
        return x

    info = bundle()(plain)(1).info
    assert inspect.cleandoc(info["source"]).startswith("def plain(x):")
    assert info["source"] == info["source"].strip()


def test_module_does_not_keep_big_results() -> None:
    import weakref

    class Big:
        pass

    @bundle()
    def make(x):
        return Big()

    y = make(1)
    ref = weakref.ref(y.data)
    del y
    assert ref() is None


# --- inputs -----------------------------------------------------------------------------------------------------


@bundle()
def f(a, b=2, *args, c, d=4, **kw):
    return a


def test_input_vectors() -> None:
    assert names(f(1, c=3)) == {"a": "a", "b": "b", "c": "c", "d": "d"}
    y = f(1, 20, 30, 40, c=3, e=5)
    assert names(y) == {"a": "a", "b": "b", "args_0": "int", "args_1": "int", "c": "c", "d": "d", "e": "e"}
    assert [y.inputs[k].data for k in ("a", "b", "args_0", "args_1", "c", "d", "e")] == [1, 20, 30, 40, 3, 4, 5]


def test_keywords_named_like_ours() -> None:
    @bundle()
    def g(x, **kw):
        return kw

    y = g(1, self=2, args=3, kwargs=4, fun=5)
    assert y.data == {"self": 2, "args": 3, "kwargs": 4, "fun": 5}
    assert list(y.inputs) == ["x", "self", "args", "kwargs", "fun"]


def test_one_node_everywhere() -> None:
    n = node(1, name="n")
    y = f(n, n, n, c=n, e=n)
    assert all(y.inputs[k] is n for k in ("a", "b", "args_0", "c", "e"))
    assert y.inputs["d"].name == "d:0"
    assert len(y.parents) == 2 and contain(y.parents, n) and contain(y.parents, y.inputs["d"])


def test_defaults_are_parents() -> None:
    @bundle()
    def g(x, y=2):
        return x + y

    assert len(g(1).parents) == 2


def test_star_name_does_not_matter() -> None:
    @bundle()
    def g(*things, **more):
        return len(things) + len(more)

    y = g(1, 2, k=3)
    assert list(y.inputs) == ["args_0", "args_1", "k"] and y.data == 3


def test_unused_inputs_are_parents() -> None:
    x, z = node(1), node(2)

    @bundle()
    def g(a, b):
        return 0

    assert same(g(x, z).parents, [x, z])


def test_binding_errors_are_type_errors() -> None:
    for call in (lambda: add_two(), lambda: add_two(1, 2), lambda: add_two(z=1), lambda: f(1)):
        with pytest.raises(TypeError):
            call()


def test_data_is_unwrapped_one_level() -> None:
    seen = []

    @bundle()
    def g(x, y):
        seen.extend([x, y])
        return 0

    inner = node(1)
    z = g(node([inner]), [inner, 2])
    assert seen[0][0] is inner and seen[1][0] is inner and seen[1][1] == 2
    assert names(z) == {"x": "list", "y": "y"} and len(z.parents) == 2


def test_trainable_fun_as_argument() -> None:
    @bundle(trainable=True)
    def code(x):
        """Same."""
        return x

    @bundle(allow_external_dependencies=True)
    def apply(fun, x):
        return fun(x)

    y = apply(code, 3)
    assert y.inputs["fun"] is code.parameter and y.data == 3
    assert y.parameter_dependencies == {code.parameter}


def test_unprocessed_inputs() -> None:
    seen = []

    @bundle(_process_inputs=False, allow_external_dependencies=True)
    def g(x, y, z=5):
        seen.extend([x, y, z])
        return 0

    n = node(1)
    y = g(n, 2)
    assert seen[0] is n and seen[1] == 2 and seen[2] == 5
    assert y.inputs["x"] is n and y.inputs["y"].data == 2


def test_to_data() -> None:
    box = NodeContainer()
    box.x = node(1)
    box.y = 2
    assert to_data(node(1)) == 1 and to_data(3) == 3
    assert to_data((node(1), [node(2)], {"k": node(3)})) == (1, [2], {"k": 3})
    assert to_data({4}) == {4}
    out = to_data(box)
    assert out.x == 1 and out.y == 2 and isinstance(box.x, Node)
    to_data({node(1): 2, "k": [node(3)]})


# --- output -----------------------------------------------------------------------------------------------------


def test_a_tuple_is_one_node() -> None:
    @bundle()
    def g(x):
        return x, x + 1

    y = g(1)
    assert isinstance(y, MessageNode) and y.data == (1, 2)
    a, b = y
    assert (a.data, b.data) == (1, 2) and a.op_name == "getitem" and a.parents[0] is y


def test_a_returned_node_gives_its_data() -> None:
    inner = node(5)

    @bundle()
    def g(x):
        return inner

    y = g(1)
    assert y.data == 5 and y.info["output"] is inner and not contain(y.parents, inner)


def test_values_are_not_copied() -> None:
    @bundle()
    def g(d):
        d["k"] = 1
        return d

    x = node({})
    y = g(x)
    assert x.data == {"k": 1} and y.data is x.data


def test_generators_and_none() -> None:
    @bundle()
    def gen(n):
        yield from range(n)

    @bundle()
    def nothing(x):
        pass

    assert list(gen(3).data) == [0, 1, 2]
    assert nothing(1).data is None


def test_a_returned_exception_counts_as_raised() -> None:
    @bundle()
    def g(x):
        return ValueError("no")

    with pytest.raises(ExecutionError) as caught:
        g(1)
    assert caught.value.exception_node.data == "(ValueError) no"


# --- external dependencies --------------------------------------------------------------------------------------


def test_reading_a_foreign_node_is_refused() -> None:
    @bundle()
    def g(x):
        return x + EXT.data

    with pytest.raises(TraceMissingInputsError) as caught:
        g(1)
    assert "ext:0" in str(caught.value) and "7" in str(caught.value)
    assert str(caught.value) == caught.value.message


def test_allowed_externals_are_listed() -> None:
    @bundle(allow_external_dependencies=True)
    def g(x):
        return x + EXT.data

    y = g(1)
    assert y.data == 8 and same(y.info["external_dependencies"], [EXT]) and not contain(y.parents, EXT)


def test_global_override() -> None:
    @bundle()
    def strict(x):
        return EXT.data

    @bundle(allow_external_dependencies=True)
    def loose(x):
        return EXT.data

    disable_external_dependencies_check(True)
    assert strict(1).data == 7
    disable_external_dependencies_check(False)
    with pytest.raises(TraceMissingInputsError):
        loose(1)
    disable_external_dependencies_check(None)
    assert loose(1).data == 7
    with pytest.raises(TraceMissingInputsError):
        strict(1)


def test_reads_that_are_not_tracked() -> None:
    @bundle()
    def g(x):
        EXT._data, bool(EXT), str(EXT), EXT == 7, EXT + x, add_two(EXT)
        return x

    assert g(1).data == 1
    L = node([1, 2])

    @bundle()
    def h(x):
        return len(L)

    assert h(1).data == 2


def test_right_operand_is_tracked() -> None:
    @bundle()
    def g(x):
        return node(7) == EXT

    with pytest.raises(TraceMissingInputsError):
        g(1)


def test_declared_inputs_may_be_read() -> None:
    x = node(3)

    @bundle()
    def g(a):
        return x.data + a

    assert g(x).data == 6


def test_failed_calls_leave_no_record() -> None:  # the record is per call
    @bundle()
    def g(x):
        EXT.data
        raise ValueError("no")

    with pytest.raises((ExecutionError, TraceMissingInputsError)):
        g(1)
    assert add_two(1).data == 3


# --- traceable code ---------------------------------------------------------------------------------------------


@bundle(traceable_code=True)
def tc(q):
    return q + 1


def test_traceable_vector() -> None:
    q = node(1, name="q")
    z = tc(q)
    assert z.name == "tc:0" and z.data == 2 and same(z.parents, [q])
    inner = z.info["output"]
    assert inner.name == "add:0" and [p.name.split(":")[0] for p in inner.parents] == ["q0_copy", "int"]
    assert inner.parents[0].name == "q0_copy:0"
    assert not contain(inner.parents, q)
    assert same(z.info["inputs"]["args"], [inner.parents[0]])


def test_reading_a_copy_is_refused() -> None:
    @bundle(traceable_code=True)
    def g(q):
        return q.data + 1

    with pytest.raises(TraceMissingInputsError):
        g(node(1))


def test_hidden_dependencies() -> None:
    hidden = node(10, name="hidden", trainable=True)
    x = node(1, name="x", trainable=True)

    @bundle(traceable_code=True)
    def g(q):
        return q + hidden

    z = g(x)
    assert z.data == 11 and same(z.parents, [x])
    assert z.hidden_dependencies == {hidden}
    assert z in z.expandable_dependencies
    w = z + 1
    assert z in w.expandable_dependencies
    assert not tc(x).hidden_dependencies and not tc(x).expandable_dependencies


def test_raw_value_has_no_inner_graph() -> None:
    @bundle(traceable_code=True)
    def g(q):
        return 3

    z = g(node(1))
    assert z.data == 3 and not isinstance(z.info["output"], Node)
