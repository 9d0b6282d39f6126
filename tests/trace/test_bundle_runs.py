"""Running: recursion, coroutines, threads, traceable bodies, foreign nodes, and what remains afterwards (nothing)."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from opto.errors import TraceMissingInputsError
from opto.trace import ExecutionError, bundle, node, stop_tracing
from opto.trace.bundle import detach_inputs, disable_external_dependencies_check, to_data, trace_nodes, wrap_node
from opto.trace.context import USED_NODES
from opto.trace.modules import Module
from opto.trace.nodes import MessageNode


@bundle(overwrite_python_recursion=True)
def is_even(n):
    return True if n == 0 else is_odd(n - 1)


@bundle(overwrite_python_recursion=True)
def is_odd(n):
    return False if n == 0 else is_even(n - 1)


@bundle(overwrite_python_recursion=True)
async def countdown(n):
    await asyncio.sleep(0)
    return [n] if n == 0 else [n, *await countdown(n - 1)]


@bundle(trainable=True)
def trained_factorial(n):
    return 1 if n <= 1 else n * trained_factorial(n - 1)


@bundle()
def identity(x):
    return x


@bundle(trainable=True)
def trained_identity(x):
    return x


@bundle()
async def later(x, steps=3):
    for _ in range(steps):
        await asyncio.sleep(0)
    return x


@bundle(traceable_code=True)
def plus_one(x):
    return x + 1


@bundle()
def err(x):
    return 1 / x


# ---- recursion ----


def test_recursion_past_the_bundle_makes_one_node() -> None:
    made = is_even(10)
    assert made.data is True and len(made.parents) == 1
    assert asyncio.run(countdown(3)).data == [3, 2, 1, 0]


def test_recursive_methods() -> None:
    class Walker:
        @bundle(overwrite_python_recursion=True)
        def walk(self, n):
            return 0 if n == 0 else 1 + self.walk(n - 1)

    made = Walker().walk(node(4))
    assert made.data == 4 and list(made.inputs) == ["self", "n"]


def test_after_an_error_calls_are_traced_again() -> None:
    @bundle(overwrite_python_recursion=True)
    def fails(n):
        return 1 / n if n < 1 else fails(n - 1)

    tracer = sys.gettrace()
    with pytest.raises(ExecutionError):
        fails(2)
    assert sys.gettrace() is tracer
    with pytest.raises(ExecutionError):
        fails(0)


def test_threads_do_not_see_each_other() -> None:
    results: list[Any] = []

    def work() -> None:
        for _ in range(50):
            results.append((is_even(8), trained_factorial(5)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 200
    assert all(isinstance(a, MessageNode) and a.data is True and b.data == 120 for a, b in results)
    assert len({a.name for a, _ in results}) == 200


# ---- coroutines ----


async def test_tasks_keep_their_inputs_and_names_apart() -> None:
    made = await asyncio.gather(*[later(i, steps=i % 3) for i in range(30)])
    assert [m.data for m in made] == list(range(30))
    assert [m.inputs["x"].data for m in made] == list(range(30))
    assert len({m.name for m in made}) == 30


async def test_coroutines_fail_with_a_node() -> None:
    @bundle()
    async def fails(x):
        await asyncio.sleep(0)
        return 1 / x

    with pytest.raises(ExecutionError) as caught:
        await fails(node(0))
    assert "return 1 / x <---" in caught.value.exception_node.info["error_comment"]
    assert USED_NODES.get() is None


async def test_coroutines_watch_foreign_nodes() -> None:
    foreign = node(1)

    @bundle(allow_external_dependencies=True)
    async def reads(x):
        await asyncio.sleep(0)
        return foreign.data

    assert (await reads(1)).info["external_dependencies"] == [foreign]


async def test_coroutines_without_catching_and_cancelled() -> None:
    @bundle(catch_execution_error=False)
    async def fails(x):
        return 1 / x

    with pytest.raises(ZeroDivisionError):
        await fails(0)
    task = asyncio.create_task(later(1, steps=1000))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_coroutines_without_tracing() -> None:
    with stop_tracing():
        made = await later(node(1))
    assert made.data == 1 and made.parents == []


def test_coroutines_may_be_thrown_away() -> None:
    running = later(1)
    running.send(None)
    running.close()
    assert USED_NODES.get() is None


async def test_coroutine_functions_stay_awaitable() -> None:
    @bundle(trainable=True)
    async def act(x):
        return x

    act.parameter._data = "def act(x):\n    return x + 1"
    assert (await act(1)).data == 2
    act.parameter._data = "def act(x):\n    return x / 0"
    running = act(1)
    with pytest.raises(ExecutionError):
        await running
    act.parameter._data = "def act(x) return"
    results = await asyncio.gather(act(1), act(2), return_exceptions=True)
    assert [type(r) for r in results] == [ExecutionError, ExecutionError]
    assert results[0].exception_node.data.startswith("(SyntaxError)")


async def test_plain_functions_must_not_become_coroutine_functions() -> None:
    trained_identity.parameter._data = "async def trained_identity(x):\n    return x"
    with pytest.raises(ExecutionError, match="begin it with def"):
        trained_identity(1)
    trained_identity.parameter._data = trained_identity.info["source"]


async def test_functions_that_return_coroutines() -> None:
    made = await bundle()(lambda x: later.fun(x))(3)
    assert made.data == 3 and list(made.inputs) == ["x"]


def test_errors_of_coroutines_leave_no_cycles() -> None:
    gc.collect()
    with pytest.raises(TypeError):
        later()
    assert asyncio.run(later(1)).data == 1


# ---- traceable bodies ----


def test_inner_graph_hangs_off_copies() -> None:
    x = node(1, name="q")
    made = plus_one(x)
    inner = made.info["output"]
    assert inner.parents[0].name.startswith("q0_copy") and not any(p is x for p in inner.parents)
    assert made.info["inputs"]["args"] == [inner.parents[0]]


def test_traceable_methods_see_themselves() -> None:
    class Agent(Module):
        def __init__(self) -> None:
            self.bias = node(5, trainable=True)

        @bundle(traceable_code=True)
        def act(self, x):
            return self.bias + x

    one = Agent()
    made = one.act(2)
    assert made.data == 7 and made.hidden_dependencies == {one.bias}
    assert made in made.expandable_dependencies


def test_hidden_parameters_are_not_those_passed() -> None:
    p, q = node(1, trainable=True), node(2, trainable=True)

    @bundle(traceable_code=True)
    def mixes(x):
        return x + p + q

    assert mixes(node(0)).hidden_dependencies == {p, q}
    assert mixes(p + 1).hidden_dependencies == {q}
    assert plus_one(p).hidden_dependencies == frozenset()


def test_returned_nodes_of_ordinary_bodies_have_hidden_parameters_too() -> None:
    p = node(1, trainable=True)

    @bundle()
    def uses(x):
        return p + x

    assert uses(1).hidden_dependencies == {p}
    assert identity([p]).hidden_dependencies == frozenset()


def test_functions_are_handed_through_traceable_bodies() -> None:
    @bundle(traceable_code=True)
    def applies(f, x):
        return f(x)

    made = applies(trained_factorial, 4)
    assert made.data == 24 and made.inputs["f"] is trained_factorial.parameter


def test_traceable_without_tracing() -> None:
    with stop_tracing():
        made = plus_one(1)
    assert made.data == 2 and made.parents == []


# ---- foreign nodes ----


def test_override_of_the_check() -> None:
    foreign = node(1)
    strict = bundle()(lambda x: foreign.data)
    lenient = bundle(allow_external_dependencies=True)(lambda x: foreign.data)
    try:
        disable_external_dependencies_check(True)
        assert strict(1).info["external_dependencies"] == [foreign]
        disable_external_dependencies_check(False)
        with pytest.raises(Exception, match="not among its inputs"):
            lenient(1)
    finally:
        disable_external_dependencies_check(None)
    assert lenient(1).data == 1


def test_trace_nodes_collects_reads() -> None:
    a, b = node(1), node(2)
    with trace_nodes() as used:
        assert a.data + b._data == 3
    assert used == {a} and USED_NODES.get() is None


def test_inside_stop_tracing_reads_are_free() -> None:
    foreign = node(1)
    reads = bundle()(lambda x: foreign.data)

    @bundle()
    def outer(x):
        with stop_tracing():
            return reads(x)._data

    assert outer(1).data == 1


# ---- containers ----


def test_conversions_reach_into_containers() -> None:
    class Box(Module):
        def __init__(self, inside: Any) -> None:
            self.inside = inside

    key = node("k")
    box = Box(node(3))
    raw = to_data([node(1), (node(2),), {key: node(4)}, {5}, box, identity])
    assert raw[:4] == [1, (2,), {key: 4}, {5}]
    assert raw[4].inside == 3 and raw[5] is identity and box.inside.data == 3
    x = node([1])
    copied = detach_inputs((x, 2))
    assert copied[0].data == [1] and copied[0].data is not x.data and copied[1] == 2
    assert wrap_node(x) is x and wrap_node(1).data == 1


def test_named_tuples_stay_named() -> None:
    from collections import namedtuple

    Pair = namedtuple("Pair", "a b")
    assert to_data(Pair(node(1), 2)) == Pair(1, 2)


# ---- memory ----


def caught(fun: Any, *args: Any) -> None:
    try:
        fun(*args)
    except ExecutionError as error:
        assert str(error) and error.exception_node.info


@bundle()
def outer_err(x):
    return err(x)


def local_bundle() -> None:
    made = bundle()(lambda x: x)(1)
    assert made.info


P = node(1, trainable=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda: identity(P),
        lambda: identity(1),
        lambda: trained_factorial(P),
        lambda: is_even(4),
        lambda: plus_one(P),
        lambda: caught(err, 0),
        lambda: caught(outer_err, 0),
        lambda: caught(trained_factorial, "a"),
        local_bundle,
    ],
)
def test_calls_leave_no_cyclic_garbage(call: Callable[[], Any]) -> None:
    call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            call()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_results_and_arguments_are_not_kept() -> None:
    class Big:
        pass

    big = Big()
    alive = weakref.ref(big)
    identity(big)
    trained_identity(big)
    del big
    assert alive() is None
    assert P.children == []


def test_failed_calls_do_not_keep_their_frames() -> None:
    class Big:
        def __rtruediv__(self, other: Any) -> Any:
            raise ValueError("no")

    big = Big()
    alive = weakref.ref(big)
    with pytest.raises(ExecutionError) as caught_error:
        err(node(big))
    made = caught_error.value.exception_node
    del caught_error, big
    made._inputs = ()
    gc.collect()
    assert alive() is None
    assert "return 1 / x <---" in made.info["error_comment"]


@pytest.mark.parametrize("before", [True, False])
def test_reads_of_a_function_that_returns_a_coroutine_count(before: bool) -> None:
    hidden = node(10)

    @bundle()
    def read(x: Any) -> Any:
        early = hidden.data if before else 0

        async def later() -> Any:
            return x + early + (0 if before else hidden.data)

        return later()

    with pytest.raises(TraceMissingInputsError, match="int:"):
        asyncio.run(read(1))
    disable_external_dependencies_check(True)
    try:
        made = asyncio.run(read(1))
    finally:
        disable_external_dependencies_check(None)
    assert made.data == 11 and made.info["external_dependencies"] == [hidden]
