"""Stops calls in the program that last too long, as soon as they run Python. Imports leaves only."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
import types
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from opto.errors import SandboxTimeoutError
from opto.program import RUNNING

__all__ = ["awaitable", "too_long", "watched", "within"]

T = TypeVar("T")
_AGAIN_SECONDS, _SOONEST_SECONDS = 0.1, 0.001


class _Bark(BaseException):
    """Not an Exception, so that code which swallows those does not swallow this."""


def too_long(seconds: float) -> SandboxTimeoutError:
    """The error of a call that lasted longer than this."""
    return SandboxTimeoutError(f"The code took longer than {seconds:g} seconds.")


def within(seconds: float, act: Callable[[], T]) -> T:
    """What `act` gives; SandboxTimeoutError if it lasts longer, raised in it again and again until it ends."""
    thread, here = threading.get_ident(), sys._getframe()
    lock, over = threading.Lock(), threading.Event()

    def watch() -> None:
        patience, again = seconds, _AGAIN_SECONDS
        while not over.wait(patience):
            with lock:
                if not over.is_set() and _is_running(thread, here):
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Bark))
            patience, again = again, max(again / 2, _SOONEST_SECONDS)  # code may begin another loop each time

    def end() -> None:
        # A bark before the lock is ours is heard at the latest when this function calls the next one. It is never taken
        # back: Python 3.11 would go on looking for one at each instruction, under a tracer without end.
        with lock:
            over.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        try:
            return act()
        finally:
            end()
    except _Bark:  # it may have come in the midst of `end`; no other comes, as the code is not running any more
        end()
        raise too_long(seconds) from None


def _is_running(thread: int, since: types.FrameType) -> bool:
    """Whether code from a parameter runs in this thread, called from the frame `since`."""
    frame = sys._current_frames().get(thread)
    found = False
    while frame is not None and frame is not since:
        found = found or frame.f_code.co_filename == RUNNING
        frame = frame.f_back
    return found and frame is since


def watched(steps: Any, seconds: float) -> Generator[Any, Any, Any]:
    """A generator or coroutine as a generator, each of its steps `within` this time."""
    step = functools.partial(steps.send, None)
    while True:
        ended, value = within(seconds, functools.partial(_taken, step))
        if ended:
            return value
        try:
            step = functools.partial(steps.send, (yield value))
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it is the code's to see
            step = functools.partial(steps.throw, error)


awaitable = types.coroutine(watched)
"""The same of a coroutine, to be awaited."""


def _taken(step: Callable[[], Any]) -> tuple[bool, Any]:
    try:
        return False, step()
    except StopIteration as stop:
        return True, stop.value
