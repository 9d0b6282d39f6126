"""Binding: a bundled call accepts what Python accepts, returns what Python returns, and names its inputs."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.trace import GRAPH, node
from opto.trace.bundle import FunModule, bundle
from opto.trace.bundle.info import Binder, CallPlan
from opto.trace.nodes import NAME_SCOPES, Operation


def f(a, b=2, *args, c, d=4, **kw):
    return a, b, args, c, d, kw


def only(a, /, b, *, c=3):
    return a, b, c


def star(*rest, **named):
    return rest, named


def plain(x, y=1):
    return x, y


FUNCTIONS = {fun.__name__: fun for fun in (f, only, star, plain)}
BUNDLED = {name: bundle()(fun) for name, fun in FUNCTIONS.items()}
values = st.integers(0, 9) | st.text(max_size=2) | st.none()
names = st.sampled_from(["a", "b", "c", "d", "x", "y", "z"])


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(values, max_size=5), st.dictionaries(names, values, max_size=4))
def test_traced_is_untraced(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Law: same result or the same kind of error, with raw arguments and with nodes."""
    try:
        expected = FUNCTIONS[name](*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            BUNDLED[name](*args, **kwargs)
        return
    assert BUNDLED[name](*args, **kwargs).data == expected
    result = BUNDLED[name](*map(node, args), **{key: node(value) for key, value in kwargs.items()})
    assert result.data == expected
    assert len(result.inputs) >= len(args) + len(kwargs)


@given(st.lists(values, min_size=1, max_size=5), st.dictionaries(names, values, max_size=3))
def test_info_gives_back_the_call(args: list[Any], kwargs: dict[str, Any]) -> None:
    made = BUNDLED["star"](*args, **kwargs)
    assert made.info["inputs"] == {"args": args, "kwargs": kwargs}


def test_defaults_join_by_name() -> None:
    made = BUNDLED["plain"](5)
    assert made.info["inputs"] == {"args": [5], "kwargs": {"y": 1}}
    assert list(made.inputs) == ["x", "y"]


def test_positional_only_name_reused_as_keyword() -> None:
    @bundle()
    def g(a, /, **kw):
        return a, kw

    assert g(1, a=2).data == (1, {"a": 2})


def test_default_node_is_used_as_it_is() -> None:
    shared = node(7)

    @bundle()
    def g(x=shared):
        return x

    assert g().parents[0] is shared


def test_builtins_and_callables() -> None:
    class Doubled:
        """Twice as much."""

        def __call__(self, x):
            return 2 * x

    assert bundle()(len)([1, 2]).data == 2
    assert list(bundle()(max)(1, 2).inputs) == ["args_0", "args_1"]
    assert bundle()(lambda x: x + 1)(2).data == 3
    twice = bundle()(Doubled())(4)
    assert (twice.data, twice.description) == (8, "Twice as much.")


def test_plans_are_made_once_and_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[CallPlan] = []

    def operation(plan: CallPlan) -> Operation:
        made.append(plan)
        return Operation("op", "[op]")

    binder = Binder(star)
    assert binder.plan(2, (), operation) is binder.plan(2, (), operation)
    assert binder.plan(2, ("x",), operation) is binder.plan(2, ("x",), operation)
    assert len(made) == 2
    monkeypatch.setattr(importlib.import_module("opto.trace.bundle.info"), "_SHAPES_KEPT", 2)
    binder.plan(3, (), operation)
    assert list(binder.plans) == [3]


def test_name_scopes_reach_calls_but_do_not_stick() -> None:
    GRAPH.clear()
    fun = bundle()(plain)
    NAME_SCOPES.append("scope")
    try:
        inside = fun(1)
    finally:
        NAME_SCOPES.pop()
    outside = fun(1)
    assert [inside.name, inside.parents[0].name] == ["scope/plain:0", "scope/x:0"]
    assert [outside.name, outside.parents[0].name] == ["plain:0", "x:0"]


def test_bundle_needs_no_parentheses_but_a_function() -> None:
    @bundle
    def doubled(x: int) -> int:
        """Twice."""
        return 2 * x

    class Agent:
        @bundle
        def tripled(self, x: int) -> int:
            return 3 * x

    made = doubled(2)
    assert (made.data, made.name.endswith("doubled:0"), made.description) == (4, True, "Twice.")
    assert doubled.info["source"].startswith("def doubled") and bundle(plain)(1).data == plain(1)
    assert Agent().tripled(2).data == 6
    with pytest.raises(TypeError, match="decorates a function"):
        FunModule(3)  # type: ignore[arg-type]


def test_unprocessed_inputs_keep_defaults_and_nodes() -> None:
    @bundle(_process_inputs=False)
    def g(x, y=3):
        return x

    x = node(1)
    made = g(x)
    assert made.data == 1 and made.info["output"] is x
    assert made.info["inputs"]["args"][0] is x and made.info["inputs"]["kwargs"] == {"y": 3}


def test_vectors() -> None:
    GRAPH.clear()

    def bases(made: Any) -> dict[str, str]:
        return {key: value.name.split(":")[0] for key, value in made.inputs.items()}

    fun = BUNDLED["f"]
    assert bases(fun(1, c=3)) == {"a": "a", "b": "b", "c": "c", "d": "d"}
    many = {"a": "a", "b": "b", "args_0": "int", "args_1": "int", "c": "c", "d": "d", "e": "e"}
    assert bases(fun(1, 20, 30, 40, c=3, e=5)) == many
    n = node(1, name="n")
    made = fun(n, n, n, c=n, e=n)
    assert {key for key, value in made.inputs.items() if value is n} == {"a", "b", "args_0", "c", "e"}
    assert [p.name for p in made.parents] == ["n:0", made.inputs["d"].name]
    assert BUNDLED["only"](1, b=2).data == (1, 2, 3)


def test_builtins_that_hide_their_signature() -> None:
    made = bundle()(max)(1, 2, key=abs)
    assert made.data == 2 and list(made.inputs) == ["args_0", "args_1", "key"]


def test_positional_only_default_and_keyword_of_the_same_name() -> None:
    @bundle()
    def g(a=1, /, **kw):
        return a, kw

    assert g(a=5).data == (1, {"a": 5})
    assert g(2, a=5).data == (2, {"a": 5})
