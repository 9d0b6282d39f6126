"""Texts that nodes gave to f-strings, and how they are found again in the arguments of traced calls.

`format(node)` gives the text of the node's value and remembers, in the current context, which node gave it. An argument
that holds a remembered text is then linked to the node (`recognised`; `nodes.make_constant` makes the link). Nothing is
hidden in the text: how surely a text is found again is written down in docs/decisions/0018-texts-made-of-nodes.md.
Imports `context` and `records` only.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
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
    "TEMPLATES",
    "Recognised",
    "end_of_call",
    "forget_finished",
    "plain_values",
    "recognised",
    "remember",
    "remember_printed",
    "warn_of_lost_texts",
]

log = logging.getLogger(__name__)

_KEPT = 256  # texts in one context
_SHORT = 4  # shorter texts are linked only in the first call after they were formatted
_SURE = 12  # from this length on, a text may be found by its letters, or by one of its lines
_LONGEST = 100_000  # characters of an argument that are searched for changed texts
_MOST_ITEMS, _DEEPEST = 10_000, 6  # of a list, dict or tuple that is searched

TEMPLATES: set[type] = set() if Template is None else {Template}
"""The types of `t"..."`. Their parts are `str`, or have `value`, `conversion` and `format_spec`."""
LINKABLE: set[type] = {str, list, dict, tuple, *TEMPLATES}
ACTIVE: list[bool] = [True] if TEMPLATES else []
"""Not empty once a node was formatted or printed in this process; before that no argument is searched."""


@dataclass(slots=True, eq=False)
class _Formatted:
    """A text that a node gave: `spec` is the format, `data` the value at that time, `call` counts the calls before."""

    node: Any
    data: Any
    text: str
    spec: str
    call: int
    squeezed: str
    lines: tuple[str, ...]
    found: bool = False


def _formatted(node: Any, text: str, spec: str, call: int) -> _Formatted:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip()) if "\n" in text else ()
    return _Formatted(node, node._data, text, spec, call, _squeezed(text), lines)


class _Memory(NamedTuple):
    """What one context remembers. Never changed in place: tasks start with a copy of their parent's context."""

    texts: dict[str, tuple[_Formatted, ...]]
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
    texts[text] = (*same, _formatted(node, text, spec, memory.call))
    if len(texts) > _KEPT:
        del texts[next(iter(texts))]
    _MEMORY.set(_Memory(texts, memory.call))
    if len(text) >= _SURE and not node._inputs and node._flags & DEPENDS:
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


def _unfinished(entries: tuple[_Formatted, ...]) -> tuple[_Formatted, ...]:
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


# --- finding texts again ------------------------------------------------------------------------


@dataclass(slots=True)
class Recognised:
    """A value made of nodes: `value` is the plain value, `template` has `{name}` where the text of a node stood."""

    value: Any
    template: Any
    nodes: dict[str, Any]


@dataclass(slots=True)
class _Search:
    """One search through an argument. `names` holds what was found, `entries` what may be, longest first."""

    entries: list[tuple[_Formatted, ...]]
    call: int
    names: dict[str, Any] = field(default_factory=dict)
    items: int = 0

    def name_of(self, node: Any) -> str:
        """The name of the field of a node, which `str.format` can read."""
        name = re.sub(r"\W", "_", node.py_name)
        if name == "x" or name[:1].isdigit() or name.startswith(("args_", "kwargs_")):
            name = f"n_{name}"
        while self.names.get(name, node) is not node:
            name += "_"
        self.names[name] = node
        return name

    def template_of(self, value: Any, depth: int = 0) -> tuple[Any, Any]:
        """The plain value, and its template; the value itself twice where no node is found in it."""
        kind = type(value)
        if kind is str:
            return value, self.text_template(value)
        if kind in TEMPLATES:
            return self.exact_template(value)
        self.items += 1
        if kind not in LINKABLE or depth == _DEEPEST or self.items > _MOST_ITEMS:
            return value, value
        keys, items = (list(value), list(value.values())) if kind is dict else ((), value)
        pairs = [self.template_of(item, depth + 1) for item in items]
        values, templates = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        if all(one is item for one, item in zip(templates, items, strict=True)):
            return value, value

        def rebuilt(parts: list[Any]) -> Any:
            return dict(zip(keys, parts, strict=True)) if kind is dict else kind(parts)

        same = all(one is item for one, item in zip(values, items, strict=True))
        return value if same else rebuilt(values), rebuilt(templates)

    def exact_template(self, template: Any) -> tuple[str, str]:
        """The text of a `t"..."`, and its template."""
        text, shown = [], []
        for part in template:
            if isinstance(part, str):
                text.append(part)
                shown.append(_escaped(part))
            elif type(part.value) in TEMPLATES:
                inner, inner_shown = self.exact_template(part.value)
                text.append(format(inner, part.format_spec))
                shown.append(inner_shown)
            else:
                node = part.value if hasattr(part.value, "_op") else None
                plain = _converted(part.value if node is None else node.data, part.conversion)
                text.append(format(plain, part.format_spec))
                conversion = f"!{part.conversion}" if part.conversion else ""
                shown.append(
                    _escaped(text[-1]) if node is None else _field(self.name_of(node), conversion, part.format_spec)
                )
        return "".join(text), "".join(shown)

    def text_template(self, text: str) -> str:
        """The template of a text; the text itself if no node is found in it."""
        if _PRINTED:
            _refuse_printed(text)
        spans: list[tuple[int, int, str]] = []
        found = False
        squeezed = _squeezed(text) if self.entries and len(text) <= _LONGEST else ""
        for entries in self.entries:
            entry, fresh = entries[-1], entries[-1].call == self.call
            if not fresh and len(entry.text) < _SHORT:
                continue
            exact = entry.text in text
            places = _places(text, entry.text) if exact else _changed_places(text, squeezed, entry, fresh)
            free = [p for p in places if all(p[1] <= start or end <= p[0] for start, end, _ in spans)]
            if free or (fresh and (places or exact)):
                found = True
                spans += self.fields_for(entries, free, exact)
        return _with_fields(text, sorted(spans)) if found else text

    def fields_for(
        self, entries: tuple[_Formatted, ...], free: list[tuple[int, int]], exact: bool
    ) -> list[tuple[int, int, str]]:
        """The fields of the nodes that gave one text: of those just formatted in turn, else of the latest."""
        fields = []
        for entry in [e for e in entries if e.call == self.call] or entries[-1:]:
            entry.found = True
            fields.append(_field(self.name_of(entry.node), "", entry.spec if exact else ""))
        return [(start, end, fields[min(i, len(fields) - 1)]) for i, (start, end) in enumerate(free)]


def recognised(value: Any) -> Recognised | None:
    """The nodes whose texts stand in a str, list, dict, tuple or `t"..."`; None if there are none.

    Raises TypeError if a text in it is that of a printed node.
    """
    memory = _MEMORY.get() if TRACING.get() else None
    texts = {} if memory is None else memory.texts
    entries = list(texts.values())
    call = -1 if memory is None else memory.call
    if TRACING.get():
        for text, (of, spec) in list(_PARAMETERS.items()):
            if text not in texts and (node := of()) is not None:
                entries.append((_formatted(node, text, spec, -2),))
    if not entries and not _PRINTED and not TEMPLATES:
        return None
    alive = [kept for found in entries if (kept := _unfinished(found))]
    search = _Search(sorted(alive, key=lambda found: -len(found[0].text)), call)
    plain, template = search.template_of(value)
    return Recognised(plain, template, search.names) if search.names or plain is not value else None


def plain_values(values: list[Any]) -> list[Any]:
    """The texts of `t"..."`, and lists, dicts and tuples with such, as the body of a bundled function takes them."""
    if not TEMPLATES:
        return values
    return [_Search([], -1).template_of(value)[0] if type(value) in LINKABLE else value for value in values]


def _refuse_printed(text: str) -> None:
    for beginning, name in _PRINTED.items():
        if beginning in text:
            raise TypeError(
                f"A text that this call takes holds the printed node {name} ({beginning}...), as str(x), '%s' % x and "
                '{x!s} write it: write the node into an f-string, f"{x}", which keeps the link, or x.data, which '
                "gives the value alone and cuts the link, so that no feedback reaches the node."
            )


def _converted(value: Any, conversion: str | None) -> Any:
    convert: dict[str, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}
    return convert[conversion](value) if conversion else value


def _field(name: str, conversion: str, spec: str) -> str:
    return f"{{{name}{conversion}:{spec}}}" if spec else f"{{{name}{conversion}}}"


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _with_fields(text: str, spans: list[tuple[int, int, str]]) -> str:
    parts, at = [], 0
    for start, end, shown in spans:
        parts += [_escaped(text[at:start]), shown]
        at = end
    return "".join(parts) + _escaped(text[at:])


def _places(text: str, known: str) -> list[tuple[int, int]]:
    found, start = [], text.find(known) if known else -1
    while start >= 0:
        found.append((start, start + len(known)))
        start = text.find(known, start + len(known))
    return found


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _changed_places(text: str, squeezed: str, entry: _Formatted, fresh: bool) -> list[tuple[int, int]]:
    """Where a text stands that was indented, wrapped or put in another case since; or lines of it."""
    wanted, enough = entry.squeezed, _SHORT if fresh else _SURE
    if len(wanted) >= enough and (start := squeezed.find(wanted)) >= 0:
        at = [i for i, char in enumerate(text) if not char.isspace() for _ in char.casefold()]
        return [(at[start], at[start + len(wanted) - 1] + 1)]
    found, position = [], 0
    for line in entry.lines:
        start = text.find(line, position)
        if start >= 0:
            position = start + len(line)
            found.append((start, position))
    whole = len(found) == len(entry.lines) and len(wanted) >= enough
    if found and (whole or any(end - start >= _SURE for start, end in found)):
        return [(found[0][0], found[-1][1])]
    return []
