"""At most so many calls at a time."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from concurrent.futures import Future
from typing import Any

from opto.errors import LLMConfigError
from opto.llm.base import LLM, Messages, Response
from opto.llm.flow import Effect, Flow, Wrapper, ask, running_loop
from opto.llm.shared import Shared
from opto.llm.stream import Stream

__all__ = ["Limited", "Slots"]


class Slots(Shared):
    """So many calls may be under way; others wait in the order in which they came, threads and tasks alike."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise LLMConfigError(f"Slots({count}): at least one call must be allowed.")
        super().__init__()
        self._restore({"count": count})

    def take(self) -> Effect:
        """Wait for a slot."""
        return Effect(self._take_now, self._take_later)

    def give(self, loop: object) -> None:
        """Give back the slot that was taken inside `loop`; the next in the line has it."""
        with self._lock:
            self._holders[loop] -= 1
            if not self._holders[loop]:
                del self._holders[loop]
            while self._line:
                waiting, its_loop = self._line.popleft()
                if waiting.set_running_or_notify_cancel():
                    self._holders[its_loop] += 1
                    waiting.set_result(None)
                    return
            self._free += 1

    def _stand(self, loop: object) -> Future[None] | None:
        """Take a free slot (None), or a place in the line."""
        with self._lock:
            if self._free and not self._line:
                self._free -= 1
                self._holders[loop] += 1
                return None
            waiting: Future[None] = Future()
            self._line.append((waiting, loop))
            return waiting

    def _take_now(self) -> None:
        loop = running_loop()
        waiting = self._stand(loop)
        if waiting is None:
            return
        try:
            if loop is not None and self._holders.get(loop):
                raise LLMConfigError(
                    "All slots are taken by calls of this event loop, which a blocking call would stop: await acall()."
                )
            waiting.result()
        except BaseException:
            self._give_up(waiting, loop)
            raise

    async def _take_later(self) -> None:
        loop = running_loop()
        waiting = self._stand(loop)
        if waiting is None:
            return
        try:
            await asyncio.wrap_future(waiting)
        except BaseException:
            self._give_up(waiting, loop)
            raise

    def _give_up(self, waiting: Future[None], loop: object) -> None:
        if not waiting.cancel():  # granted in the same moment
            self.give(loop)

    def _state(self) -> dict[str, Any]:
        return {"count": self.count}

    def _restore(self, state: dict[str, Any]) -> None:
        self.count: int = state["count"]
        self._free = self.count
        self._holders: Counter[object] = Counter()
        self._line: deque[tuple[Future[None], object]] = deque()
        self._lock = threading.Lock()


class Limited(Wrapper):
    """Wrap a model so that at most `slots` calls are under way; several models may share one `Slots`.

    A stream holds its slot until it has ended.

    >>> from opto.llm.fakes import ScriptedLLM
    >>> slots = Slots(8)
    >>> agent, judge = Limited(ScriptedLLM(["a"]), slots), Limited(ScriptedLLM(["b"]), slots)
    >>> agent([]).text + judge([]).text
    'ab'
    """

    def __init__(self, llm: LLM, slots: Slots | int) -> None:
        super().__init__(llm)
        self.slots = slots if isinstance(slots, Slots) else Slots(slots)

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        yield self.slots.take()
        loop = running_loop()
        try:
            response: Response = yield ask(self.llm, messages, options)
        except BaseException:
            self.slots.give(loop)
            raise
        if isinstance(response, Stream):
            return response.when_done(lambda whole: self.slots.give(loop), lambda error: self.slots.give(loop))
        self.slots.give(loop)
        return response
