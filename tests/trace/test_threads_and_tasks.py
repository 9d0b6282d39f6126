"""Many threads and tasks on one set of parameters: nothing is lost, mixed or left switched."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opto.errors import ExecutionError
from opto.trace import GRAPH, bundle, model, node, stop_tracing
from opto.trace.nodes import MessageNode
from opto.trace.propagators.graph_propagator import accumulate

THREADS = 100


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What `work(k)` returns in each of so many threads that start together; an error of one is raised."""
    results: list[Any] = [None] * threads
    start = threading.Barrier(threads)

    def one(k: int) -> None:
        start.wait(30)
        try:
            results[k] = work(k)
        except BaseException as error:
            results[k] = error

    crowd = [threading.Thread(target=one, args=(k,)) for k in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@model
class Agent:
    def __init__(self) -> None:
        self.word = node("hello", trainable=True)

    @bundle(trainable=True)
    def shout(self, text):
        """Say it loud."""
        return text.upper()

    def __call__(self, name):
        return self.shout(self.word + name)


def test_the_first_feedback_of_many_threads() -> None:
    for _ in range(10):
        parameter = node(1, trainable=True)
        at_once(lambda k, p=parameter: (p + k).backward(f"feedback {k}"), 50)
        assert {graphs[0].user_feedback for graphs in parameter.feedback.values()} == {
            f"feedback {k}" for k in range(50)
        }


def test_methods_backward_and_stop_tracing_on_one_agent() -> None:
    agent = Agent()

    def work(k: int) -> Any:
        with stop_tracing():
            quiet = agent(f"-{k}")
        loud = agent(f"-{k}")
        loud.backward(f"feedback {k}")
        return quiet, loud

    results = at_once(work)
    for k, (quiet, loud) in enumerate(results):
        assert quiet.data == loud.data == f"HELLO-{k}"
        assert not quiet.parents and loud.parameter_dependencies == set(agent.parameters())
    assert len({n.name for pair in results for n in pair}) == 2 * THREADS
    for parameter in agent.parameters():
        total = accumulate([parameter])
        assert {(output.data, text) for output, text in total.outputs} == {
            (f"HELLO-{k}", f"feedback {k}") for k in range(THREADS)
        }


def test_children_of_one_parent_are_swept_while_others_come() -> None:
    parent = node([1, 2], trainable=True)

    @bundle()
    def first(x):
        return x[0]

    at_once(lambda k: [first(parent).data for _ in range(60)], 50)
    assert all(child.data == 1 for child in parent.children)


class Twofold:
    @bundle(trainable=True)
    def one(self, x):
        """One."""
        return x

    @bundle()
    def two(self, x):
        return x


def test_the_first_use_of_methods_of_one_object() -> None:
    for _ in range(20):
        both = Twofold()
        made = at_once(lambda k, both=both: (both.one if k % 2 else both.two)(k), 10)
        assert len({id(result.inputs["self"]) for result in made}) == 1
        assert {result.inputs.get("__code") for result in made[1::2]} == {both.one.parameter}


def test_code_is_rewritten_while_threads_call_it() -> None:
    agent = Agent()
    texts = [agent.shout.parameter.data, 'def shout(self, text):\n    return text.upper() + "!"']

    def work(k: int) -> str:
        if k % 10 == 0:
            agent.shout.parameter._set(texts[k // 10 % 2])
        return agent(f"-{k}").data

    assert all(said in (f"HELLO-{k}", f"HELLO-{k}!") for k, said in enumerate(at_once(work)))


def test_one_stop_tracing_entered_by_many_threads() -> None:
    shared = stop_tracing()

    def work(k: int) -> bool:
        good = True
        for _ in range(20):
            with shared, shared:
                good &= not (node(1) + 1).parents
            good &= bool((node(1) + 1).parents)
        return good

    assert all(at_once(work, 20))


def test_blocks_that_end_in_another_order_than_they_began() -> None:
    def steps() -> Iterator[None]:
        with stop_tracing():
            yield

    stepping = steps()
    next(stepping)
    with stop_tracing():
        for _ in stepping:
            pass
        assert not (node(1) + 1).parents
    assert GRAPH.TRACE and (node(1) + 1).parents


def test_a_block_closed_by_a_context_that_never_entered_it() -> None:
    async def steps() -> Any:
        with stop_tracing():
            yield

    async def main() -> bool:
        stepping = steps()
        await asyncio.create_task(anext(stepping))
        await stepping.aclose()
        return bool((node(1) + 1).parents)

    assert asyncio.run(main())


async def test_stop_tracing_decorates_coroutine_functions() -> None:
    @stop_tracing()
    async def quiet(x: Any) -> Any:
        await asyncio.sleep(0)
        return x + 1

    x = node(1)
    results = await asyncio.gather(quiet(x), *(asyncio.sleep(0) for _ in range(3)))
    assert results[0].data == 2 and not results[0].parents and (x + 1).parents


def test_a_decorated_generator_stops_tracing_in_its_steps_and_not_for_its_consumer() -> None:
    @stop_tracing()
    def steps(x: Any) -> Iterator[Any]:
        """Adds."""
        try:
            got = yield x + 1
            got = yield got + 1
        except KeyError:
            yield x + 10
        return (yield x + 2).parents, GRAPH.TRACE

    x, running = node(1), steps(node(1))
    quiet, loud = next(running), x + 1
    assert not quiet.parents and loud.parents and steps.__doc__ == "Adds."
    assert not running.send(loud).parents and (x + 1).parents
    assert running.throw(KeyError("k")).data == 11 and GRAPH.TRACE
    assert next(running).data == 3
    with pytest.raises(StopIteration) as end:
        running.send(loud)
    assert end.value.value == (loud.parents, False) and GRAPH.TRACE
    with pytest.raises(ZeroDivisionError):
        next(stop_tracing()(lambda: (yield 1 / 0))())
    assert GRAPH.TRACE


def test_a_decorated_generator_that_is_dropped_is_closed_stopped() -> None:
    seen = []

    @stop_tracing()
    def steps() -> Iterator[int]:
        try:
            yield 1
        finally:
            seen.append(GRAPH.TRACE)

    for _ in steps():
        break
    gc.collect()
    assert seen == [False] and GRAPH.TRACE


async def test_a_decorated_asynchronous_generator() -> None:
    seen = []

    @stop_tracing()
    async def steps(x: Any) -> Any:
        try:
            await asyncio.sleep(0)
            yield x + 1
            await asyncio.sleep(0)
            yield x + 2
        except KeyError:
            yield x + 10
        finally:
            seen.append(GRAPH.TRACE)

    x = node(1)
    async for made in steps(x):
        assert not made.parents and (x + 1).parents
    running = steps(x)
    await running.__anext__()
    assert (await running.athrow(KeyError("k"))).data == 11
    await running.aclose()
    assert seen == [False, False] and GRAPH.TRACE


async def test_what_threads_know_of_stop_tracing() -> None:
    """As its docstring says: threads start with recording on unless they are given the context."""

    def tracing() -> bool:
        return GRAPH.TRACE

    with stop_tracing():
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, tracing)
        assert not await loop.run_in_executor(None, contextvars.copy_context().run, tracing)
        assert not await asyncio.to_thread(tracing)
        assert not await asyncio.create_task(asyncio.to_thread(tracing))


async def test_trainable_coroutines_side_by_side() -> None:
    @bundle(trainable=True)
    async def double(x):
        """Twice."""
        await asyncio.sleep(0)
        if x == 13:
            raise ValueError("unlucky")
        return x * 2

    results = await asyncio.gather(*(double(node(k)) for k in range(50)), return_exceptions=True)
    failed = results.pop(13)
    assert isinstance(failed, ExecutionError) and failed.exception_node.data == "(ValueError) unlucky"
    assert [r.data for r in results] == [2 * k for k in range(50) if k != 13]
    for k, result in enumerate(results):
        result.backward(f"feedback {k}")
    failed.exception_node.backward("unlucky")
    assert len(accumulate([double.parameter]).outputs) == 50


async def test_a_coroutine_that_failed_is_traced_the_next_time() -> None:
    @bundle(overwrite_python_recursion=True)
    async def countdown(x):
        await asyncio.sleep(0)
        if x == 0:
            raise ValueError("too far")
        return x

    with pytest.raises(ExecutionError):
        await countdown(0)
    result = await countdown(1)
    assert isinstance(result, MessageNode) and result.inputs["x"].data == 1


async def test_a_coroutine_thrown_away_in_the_middle() -> None:
    @bundle(overwrite_python_recursion=True)
    async def waits(x):
        await asyncio.Event().wait()

    async def start() -> Any:
        call = waits(1)
        call.send(None)
        return call

    (await asyncio.create_task(start())).close()


def test_nothing_grows_over_ten_thousand_steps() -> None:
    agent = Agent()

    def steps(count: int) -> None:
        for k in range(count):
            agent(str(k % 7)).backward("louder")
            agent.word._set(agent.word.data)
            for parameter in agent.parameters():
                parameter.zero_feedback()

    steps(200)
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        steps(100)
        growth = []
        for _ in range(4):
            before = tracemalloc.get_traced_memory()[0]
            steps(500)
            growth.append(tracemalloc.get_traced_memory()[0] - before)
        tracemalloc.stop()
        steps(8_000)
        assert gc.collect() == 0
    finally:
        tracemalloc.stop()
        gc.enable()
    assert min(growth) < 500  # a byte a step would be too much; Python's own free lists may still fill in one round


def failing() -> None:
    @bundle()
    def inverse(x):
        return 1 / x

    x = node(0, trainable=True)
    try:
        inverse(x)
    except ExecutionError as error:
        error.exception_node.backward(error.exception_node.create_feedback("full"))
        str(error)
    x.zero_feedback()


def failing_operator() -> None:
    x = node(0, trainable=True)
    try:
        1 / x
    except ExecutionError as error:
        error.exception_node.backward("no")
    x.zero_feedback()


def traceable() -> None:
    @bundle(traceable_code=True)
    def inside(x):
        return x * 2 + 1

    x = node(1, trainable=True)
    y = inside(x)
    y.backward("more")
    assert y.info["output"].data == 3
    x.zero_feedback()


def pictured() -> None:
    x = node(1, trainable=True)
    (x + 1).backward("more", visualize=True)
    x.zero_feedback()


@pytest.mark.parametrize("program", [failing, failing_operator, traceable, pictured])
def test_no_cycles_are_left(program: Callable[[], None]) -> None:
    program()
    gc.collect()
    gc.disable()
    try:
        program()
        assert gc.collect() == 0
    finally:
        gc.enable()
