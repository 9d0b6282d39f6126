"""All entries of the corpus against executors made by one recipe, a few at a time, each lane with its own canary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from queue import Empty, SimpleQueue
from threading import enumerate as all_threads
from typing import Any

from canary import Canary, children, descriptors
from hostile import Hostile
from trial import HONEST, Verdict, attempt, honest_answer

from opto.execution import Executor

Recipe = Callable[[], AbstractContextManager[Executor]]
PATIENCE_SECONDS = 5.0


def attack(
    entries: Iterable[Hostile], recipe: Recipe, lanes: int, *, text: str = HONEST, any_end: bool = False
) -> dict[str, Verdict]:
    """Tries every entry; each lane has an executor of its own, so that the honest call meets the same warm worker.

    `text` is that of the honest call; for `any_end` see `attempt`.
    """

    def lane(executor: Executor, canary: Canary, honest: Any) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        while True:
            try:
                entry = queue.get_nowait()
            except Empty:
                return verdicts
            verdicts[entry.name] = attempt(executor, entry, canary, honest, text, any_end=any_end)

    queue: SimpleQueue[Hostile] = SimpleQueue()
    for entry in entries:
        queue.put(entry)
    with ExitStack() as stack:
        places = [(stack.enter_context(recipe()), stack.enter_context(Canary())) for _ in range(lanes)]
        answers = [honest_answer(executor, text) for executor, _ in places]
        assert all(isinstance(answer, tuple) for answer in answers), f"the honest function fails: {answers[0]}"
        pool = stack.enter_context(ThreadPoolExecutor(lanes))
        found = [pool.submit(lane, *place, answer) for place, answer in zip(places, answers, strict=True)]
        return {name: verdict for lane in found for name, verdict in lane.result().items()}


def belongings() -> dict[str, Any]:
    """What this process has running and open."""
    return {"descriptors": descriptors(), "threads": set(all_threads()), "children": children()}


def left_behind(before: dict[str, Any]) -> dict[str, Any]:
    """What of `belongings` was not there before; waits a moment for the last to end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        now = belongings()
        left = {
            "descriptors": {k: v for k, v in now["descriptors"].items() if before["descriptors"].get(k) != v},
            "threads": now["threads"] - before["threads"],
            "children": now["children"] - before["children"],
        }
        left = {what: things for what, things in left.items() if things}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)
