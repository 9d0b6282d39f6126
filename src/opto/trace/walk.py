"""The one walk over the past of a node, iterative and linear. May import `nodes`."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from opto.trace.nodes import MessageNode, Node

__all__ = ["ancestors_by_level"]

_level = attrgetter("_level")


def ancestors_by_level(output: Node[Any], needed: int) -> list[MessageNode[Any]]:
    """`output` and the calls before it, each once, every one before its parents.

    Roots are left out; so are nodes without the flag `needed` (0 takes all), `output` excepted.
    O(V + E), plus a sort by level that is linear on chains.
    """
    if not isinstance(output, MessageNode):
        return []
    found = [output]
    seen = {output}
    see, find = seen.add, found.append
    for current in found:
        for parent in current._inputs:
            if parent._inputs and parent not in seen and parent._flags & needed == needed:
                see(parent)
                find(parent)
    found.sort(key=_level, reverse=True)
    return found
