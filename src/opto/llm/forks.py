"""What begins anew in a forked child: locks that another thread held, calls under way, which only the parent ends."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["Forked", "begins_anew"]


class Forked(Protocol):
    """Something that lives on in a forked child."""

    def begin_anew(self) -> None:
        """Forget, in a child, what threads of the parent hold or wait for."""
        ...


_alive: WeakSet[Forked] = WeakSet()


def begins_anew(thing: Forked) -> None:
    """Let `thing` know of each fork, in the child."""
    _alive.add(thing)


def _in_child() -> None:
    for thing in list(_alive):
        thing.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
