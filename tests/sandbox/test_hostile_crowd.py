"""A hundred calls at once on one executor, half of them hostile: every honest one is right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import pytest
from hostile import load_corpus
from trial import PATIENT, SHORT

from opto.execution import Job, Outcome
from opto.sandbox.process import ProcessExecutor

CALLS = 100
HONEST = (
    "def honest(n):\n    print('call', n)\n    return {'square': n * n, 'text': str(n) * 3, 'length': len('abc')}\n"
)
CROWD = (
    "spin",
    "sleep",
    "hard_exit",
    "segfault",
    "patch_len",
    "grow_list",
    "forge_reply",
    "close_everything",
    "recursion",
)


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(workers=4) as executor:
        yield executor


def jobs() -> list[Job]:
    """Honest ones at even places, hostile ones between them."""
    corpus = {entry.name: entry for entry in load_corpus()}
    nowhere = {"home": "/nowhere", "secret": "/nowhere/secret"}
    hostile = [Job(corpus[name].text, name, (nowhere,)) for name in islice(cycle(CROWD), CALLS // 2)]
    return [job for n in range(CALLS // 2) for job in (Job(HONEST, "honest", (n,)), hostile[n])]


def check(outcomes: list[Outcome]) -> None:
    for n, outcome in enumerate(outcomes[::2]):
        assert outcome.result() == {"square": n * n, "text": str(n) * 3, "length": 3}
        assert outcome.stdout == f"call {n}\n"
    for job, outcome in zip(jobs()[1::2], outcomes[1::2], strict=True):
        assert outcome.error is not None or job.name == "patch_len", job.name


def test_threads(executor: ProcessExecutor) -> None:
    with ThreadPoolExecutor(CALLS) as threads:
        running = [threads.submit(executor.run, job, PATIENT if job.name == "honest" else SHORT) for job in jobs()]
        check([one.result() for one in running])


async def test_tasks(executor: ProcessExecutor) -> None:
    running = [executor.arun(job, PATIENT if job.name == "honest" else SHORT) for job in jobs()]
    check(list(await asyncio.gather(*running)))
