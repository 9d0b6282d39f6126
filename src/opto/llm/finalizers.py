"""Finalizers that take locks: the collector of garbage may run one in a thread that holds those very locks."""

from __future__ import annotations

import _thread
import gc
from collections.abc import Callable
from contextlib import suppress

__all__ = ["outside_collections"]

_collecting: set[int] = set()  # the threads in which garbage is being collected


def outside_collections(work: Callable[[], object]) -> None:
    """Do `work` at once, or in another thread if this one collects garbage: it may do so inside any `with lock:`.

    Not a `threading.Thread`, whose start takes a lock of that module.
    """
    if _thread.get_ident() not in _collecting:
        work()
        return
    with suppress(RuntimeError):  # the interpreter ends, and with it whatever is held
        _thread.start_new_thread(work, ())


def _note(phase: str, _info: dict[str, int]) -> None:
    if phase == "start":
        _collecting.add(_thread.get_ident())
    else:
        _collecting.discard(_thread.get_ident())


gc.callbacks.append(_note)
