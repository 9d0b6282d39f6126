"""Threads, tasks and nested switches never lose, mix or leak a trace."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from opto.trace import GRAPH, ExecutionError, bundle, model, node, stop_tracing
from opto.trace.bundle import TraceMissingInputsError
from opto.trace.utils import sum_feedback

WORKERS = 8


def in_threads(work: Any, count: int = WORKERS) -> list[Any]:
    """Run `work(k)` in `count` threads that start together."""
    gate = threading.Barrier(count)

    def start(k: int) -> Any:
        gate.wait()
        return work(k)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


@bundle()
def plus(a, b):
    """Add."""
    return a + b


@bundle(trainable=True)
def coded(x):
    """Code."""
    return x * 3


@model
class Agent:
    def __init__(self) -> None:
        self.bias = node(1, name="bias", trainable=True)

    def forward(self, x: Any) -> Any:
        return self.act(x) + self.bias

    @bundle(trainable=True)
    def act(self, x):
        """Act."""
        return x * 2


# --- threads --------------------------------------------------------------------------------------------------------


def test_traces_do_not_mix() -> None:
    def work(k: int) -> None:
        p = node(k, name="p", trainable=True)
        y: Any = p
        for step in range(40):
            y = plus(y, step)
        assert y.data == k + sum(range(40)) and y.parameter_dependencies == {p} and y.level == 40
        y.backward(f"fb {k}")
        graph = sum_feedback([p])
        assert graph.user_feedback == f"fb {k}" and len(graph) == 81

    in_threads(work)


def test_shared_parameter_gets_every_feedback() -> None:
    p = node(1, name="p", trainable=True)

    def work(k: int) -> None:
        for j in range(20):
            (p + j).backward(f"{k} {j}")

    in_threads(work)
    assert sum(len(v) for v in p.feedback.values()) == WORKERS * 20


def test_stop_tracing_is_of_the_thread() -> None:
    inside, done = threading.Event(), threading.Event()
    x = node(1)

    def stopper() -> None:
        with stop_tracing():
            inside.set()
            done.wait(10)

    t = threading.Thread(target=stopper)
    t.start()
    inside.wait(10)
    y = x + 1
    done.set()
    t.join()
    assert y.parents and y.parents[0] is x
    assert (x + 1).parents


def test_interleaved_stop_tracing() -> None:
    x = node(1)

    def work(k: int) -> list[bool]:
        out = []
        for j in range(30):
            with stop_tracing():
                with stop_tracing():
                    x + 1
                out.append((x + 1).parents == [])
            out.append(len((x + j).parents) == 2)
        return out

    assert all(all(row) for row in in_threads(work))
    assert GRAPH.TRACE is True and (x + 1).parents


def test_external_check_is_of_the_call() -> None:
    ext = node(5)

    @bundle()
    def reads(x):
        return x + ext.data

    @bundle()
    def clean(x):
        return x

    def work(k: int) -> int:
        caught = 0
        for _ in range(20):
            if k % 2:
                assert clean(k).data == k
            else:
                with pytest.raises(TraceMissingInputsError):
                    reads(k)
                caught += 1
        return caught

    assert sum(in_threads(work)) == WORKERS // 2 * 20


def test_threads_inside_a_body_start_empty() -> None:
    ext = node(5)

    @bundle()
    def starts(x):
        seen = []
        t = threading.Thread(target=lambda: seen.append(ext.data))
        t.start()
        t.join()
        return seen[0] + x

    assert starts(1).data == 6


def test_code_and_first_access_in_threads() -> None:
    agent = Agent()
    results = in_threads(lambda k: [agent(k).data for _ in range(10)])
    assert [r[0] for r in results] == [2 * k + 1 for k in range(WORKERS)]
    assert len(agent.parameters()) == 2
    acts = in_threads(lambda k: id(Agent.act))
    assert len(set(acts)) == 1
    fresh = Agent()
    assert len(set(in_threads(lambda k: id(fresh.act)))) == 1


def test_errors_in_threads() -> None:
    def work(k: int) -> str:
        with pytest.raises(ExecutionError) as e:
            coded(None)
        return e.value.exception_node.name

    assert len(set(in_threads(work))) == WORKERS


def test_overwritten_recursion_in_threads() -> None:
    @bundle(overwrite_python_recursion=True)
    def fact(n):
        return 1 if n <= 1 else n * fact(n - 1)

    assert in_threads(lambda k: [fact(6).data for _ in range(10)]) == [[720] * 10] * WORKERS


def test_names_stay_unique() -> None:
    names = in_threads(lambda k: [plus(k, j).name for j in range(100)])
    flat = [n for row in names for n in row]
    assert len(set(flat)) == WORKERS * 100


# --- tasks ----------------------------------------------------------------------------------------------------------


@bundle()
async def slow_plus(a, b):
    for _ in range(3):
        await asyncio.sleep(0)
    return a + b


async def test_tasks_do_not_mix() -> None:
    async def work(k: int) -> None:
        p = node(k, name="p", trainable=True)
        y: Any = p
        for step in range(5):
            y = await slow_plus(y, step)
        assert y.data == k + 10 and y.parameter_dependencies == {p}
        y.backward(f"fb {k}")
        assert sum_feedback([p]).user_feedback == f"fb {k}"

    await asyncio.gather(*(work(k) for k in range(50)))


async def test_stop_tracing_is_of_the_task() -> None:
    x = node(1)

    async def quiet() -> bool:
        with stop_tracing():
            for _ in range(5):
                await asyncio.sleep(0)
                if (x + 1).parents:
                    return False
        return bool((x + 1).parents)

    async def loud() -> bool:
        out = True
        for _ in range(10):
            await asyncio.sleep(0)
            out = out and bool((x + 1).parents)
        return out

    assert all(await asyncio.gather(quiet(), loud(), quiet(), loud()))


async def test_external_check_across_awaits() -> None:
    ext = node(5)

    @bundle()
    async def reads(x):
        await asyncio.sleep(0)
        return x + ext.data

    @bundle()
    async def clean(x):
        for _ in range(4):
            await asyncio.sleep(0)
        return x

    results = await asyncio.gather(reads(1), clean(2), reads(3), clean(4), return_exceptions=True)
    assert isinstance(results[0], TraceMissingInputsError) and isinstance(results[2], TraceMissingInputsError)
    assert (results[1].data, results[3].data) == (2, 4)


async def test_cancelled_task_leaves_no_switch() -> None:
    x = node(1)

    @bundle()
    async def forever(q):
        await asyncio.Event().wait()

    async def stopped() -> None:
        with stop_tracing():
            await forever(x)

    task = asyncio.create_task(stopped())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (x + 1).parents and GRAPH.TRACE is True
