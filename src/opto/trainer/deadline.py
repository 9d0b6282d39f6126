"""A time limit for code that an optimizer wrote and that may never end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from opto.errors import RunTimeoutError

__all__ = ["deadline"]

_AGAIN = 1.0  # for code that swallows the first; a failed call must be recorded by then, on a busy machine too


@contextmanager
def deadline(seconds: float) -> Generator[None, None, None]:
    """Raise RunTimeoutError in the block after `seconds`; 0 sets no limit.

    (No TimeoutError: a library that waits for a server would take that for one of its own.)
    Works by a timer signal, so only in the main thread of a POSIX system; elsewhere, and where the program
    uses that signal itself, there is no limit.
    """
    if seconds <= 0 or not _possible():
        yield
        return

    def ring(_signal: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        raise RunTimeoutError(f"it took longer than {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _possible() -> bool:
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, signal.SIG_IGN)
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )
