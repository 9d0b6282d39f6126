"""What one context remembers: which node gave which text, which nodes were printed. Imports `context`, `records`."""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import ref

from opto.trace.context import TRACING
from opto.trace.records import DEPENDS, DONE

try:
    from string.templatelib import Template  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # before Python 3.14
    Template = None

__all__ = [
    "ACTIVE",
    "LINKABLE",
    "SURE",
    "TEMPLATES",
    "Formatted",
    "candidates",
    "end_of_call",
    "forget_finished",
    "printed_in",
    "remember",
    "remember_printed",
    "squeezed",
    "warn_of_lost_texts",
]

log = logging.getLogger(__name__)

_KEPT = 256  # texts in one context
SURE = 12  # from this length on, a text may be found by its letters, or by one of its lines

TEMPLATES: set[type] = set() if Template is None else {Template}
"""The types of `t"..."`. Their parts are `str`, or have `value`, `conversion` and `format_spec`."""
LINKABLE: set[type] = {str, list, dict, tuple, *TEMPLATES}
ACTIVE: list[bool] = [True] if TEMPLATES else []
"""Not empty once a node was formatted or printed in this process; before that no argument is searched."""


@dataclass(slots=True, eq=False)
class Formatted:
    """A text that a node gave: `spec` is the format, `data` the value at that time, `call` counts the calls before."""

    node: Any
    data: Any
    text: str
    spec: str
    call: int
    squeezed: str
    lines: tuple[str, ...]
    found: bool = False


def _noted(node: Any, text: str, spec: str, call: int) -> Formatted:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip()) if "\n" in text else ()
    return Formatted(node, node._data, text, spec, call, squeezed(text), lines)


class _Memory(NamedTuple):
    """What one context remembers. Never changed in place: tasks start with a copy of their parent's context."""

    texts: dict[str, tuple[Formatted, ...]]
    call: int


_MEMORY: ContextVar[_Memory | None] = ContextVar("opto_formatted_texts", default=None)
_PARAMETERS: OrderedDict[str, tuple[ref[Any], str]] = OrderedDict()
"""Long texts of parameters from all contexts, for those that another thread formatted."""
_PRINTED: OrderedDict[str, str] = OrderedDict()
"""How the texts of printed nodes begin -> the name of the node."""
_WARNED: OrderedDict[int, ref[Any]] = OrderedDict()


def _keep(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memory[key] = value
    if len(memory) > _KEPT:
        memory.popitem(last=False)


def remember(node: Any, text: str, spec: str) -> None:
    """Note that `node` gave `text` in this context."""
    if not TRACING.get():
        return
    if not ACTIVE:
        ACTIVE.append(True)
    memory = _MEMORY.get() or _Memory({}, 0)
    texts = {}
    for known, entries in memory.texts.items():
        kept = tuple(e for e in entries if e.node is not node or (e.data is node._data and known != text))
        if kept:
            texts[known] = kept
    same = tuple(e for e in texts.pop(text, ()) if e.call == memory.call)
    texts[text] = (*same, _noted(node, text, spec, memory.call))
    if len(texts) > _KEPT:
        del texts[next(iter(texts))]
    _MEMORY.set(_Memory(texts, memory.call))
    if len(text) >= SURE and not node._inputs and node._flags & DEPENDS:
        _keep(_PARAMETERS, text, (ref(node), spec))


def remember_printed(name: str, beginning: str) -> None:
    """Note that a text which begins like this is a printed node, which no call may take."""
    if not ACTIVE:
        ACTIVE.append(True)
    _keep(_PRINTED, beginning, name)


def end_of_call() -> None:
    """Short texts formatted before this point are not linked any more."""
    memory = _MEMORY.get()
    if memory is not None:
        _MEMORY.set(_Memory(memory.texts, memory.call + 1))


def forget_finished() -> None:
    """Forget the texts of nodes through which feedback has gone, so that they can be freed."""
    memory = _MEMORY.get()
    if memory is not None:
        kept = ((text, _unfinished(entries)) for text, entries in memory.texts.items())
        _MEMORY.set(_Memory({text: entries for text, entries in kept if entries}, memory.call))


def _unfinished(entries: tuple[Formatted, ...]) -> tuple[Formatted, ...]:
    return tuple(entry for entry in entries if not entry.node._flags & DONE)


def warn_of_lost_texts() -> None:
    """Name, once, each parameter that was formatted, never found again, and that feedback did not reach."""
    memory = _MEMORY.get()
    for entry in () if memory is None else [e for entries in memory.texts.values() for e in entries]:
        node = entry.node
        reached = entry.found or node._inputs or not node._flags & DEPENDS or (node._rare and node._rare.feedback)
        known = _WARNED.get(id(node))
        if reached or (known is not None and known() is node):
            continue
        _keep(_WARNED, id(node), ref(node))
        log.warning(
            "The parameter %s was formatted into a text that no traced call got, so feedback does not reach it: give "
            "the call the f-string with the whole text of the parameter, or the node itself.",
            node.name,
        )


def candidates() -> tuple[list[tuple[Formatted, ...]], int]:
    """The texts that an argument may hold, longest first, each with those that gave it; and the number of this call."""
    memory = _MEMORY.get() if TRACING.get() else None
    if memory is None:
        memory = _Memory({}, -1)
    entries = [kept for found in memory.texts.values() if (kept := _unfinished(found))]
    if TRACING.get():
        for text, (of, spec) in list(_PARAMETERS.items()):
            if text not in memory.texts and (node := of()) is not None:
                entries.append((_noted(node, text, spec, -2),))
    return sorted(entries, key=lambda found: -len(found[0].text)), memory.call


def printed_in(text: str) -> tuple[str, str] | None:
    """How the text of a printed node in `text` begins, and the name of the node; None if there is none."""
    return next(((beginning, name) for beginning, name in list(_PRINTED.items()) if beginning in text), None)


def squeezed(text: str) -> str:
    """The text without white space and case."""
    return "".join(text.split()).casefold()
