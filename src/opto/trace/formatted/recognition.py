"""Finding remembered texts again in the argument of a call: exactly, else by their letters, else by their lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opto.trace.formatted.memory import LINKABLE, SURE, TEMPLATES, Formatted, candidates, printed_in, squeezed

__all__ = ["Recognised", "plain_values", "recognised"]

_MOST_ITEMS, _DEEPEST = 10_000, 6  # of a list, dict or tuple that is searched
_LONGEST = 100_000  # characters of an argument that are searched for changed texts
_SHORT = 4  # shorter texts are linked only in the first call after they were formatted


@dataclass(slots=True)
class Recognised:
    """A value made of nodes: `value` is the plain value, `template` has `{name}` where the text of a node stood."""

    value: Any
    template: Any
    nodes: dict[str, Any]


@dataclass(slots=True)
class _Search:
    """One search through an argument. `names` holds what was found, `entries` what may be, longest first."""

    entries: list[tuple[Formatted, ...]]
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
        if printed := printed_in(text):
            _refuse_printed(*printed)
        spans: list[tuple[int, int, str]] = []
        found = False
        letters = squeezed(text) if self.entries and len(text) <= _LONGEST else ""
        for entries in self.entries:
            entry, fresh = entries[-1], entries[-1].call == self.call
            if not fresh and len(entry.text) < _SHORT:
                continue
            exact = entry.text in text
            places = _places(text, entry.text) if exact else _changed_places(text, letters, entry, fresh)
            free = [p for p in places if all(p[1] <= start or end <= p[0] for start, end, _ in spans)]
            if free or (fresh and (places or exact)):
                found = True
                spans += self.fields_for(entries, free, exact)
        return _with_fields(text, sorted(spans)) if found else text

    def fields_for(
        self, entries: tuple[Formatted, ...], free: list[tuple[int, int]], exact: bool
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
    entries, call = candidates()
    search = _Search(entries, call)
    plain, template = search.template_of(value)
    return Recognised(plain, template, search.names) if search.names or plain is not value else None


def plain_values(values: list[Any]) -> list[Any]:
    """The texts of `t"..."`, and lists, dicts and tuples with such, as the body of a bundled function takes them."""
    if not TEMPLATES:
        return values
    return [_Search([], -1).template_of(value)[0] if type(value) in LINKABLE else value for value in values]


def _refuse_printed(beginning: str, name: str) -> None:
    raise TypeError(
        f"A text that this call takes holds the printed node {name} ({beginning}...), as str(x), '%s' % x, {{x!r}} "
        'and lists of nodes write it: write the node into an f-string, f"{x}", which keeps the link, or x.data, '
        "which gives the value alone and cuts the link, so that no feedback reaches the node."
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


def _changed_places(text: str, letters: str, entry: Formatted, fresh: bool) -> list[tuple[int, int]]:
    """Where a text stands that was indented, wrapped or put in another case since; or lines of it."""
    wanted, enough = entry.squeezed, _SHORT if fresh else SURE
    if len(wanted) >= enough and (start := letters.find(wanted)) >= 0:
        at = [i for i, char in enumerate(text) if not char.isspace() for _ in char.casefold()]
        return [(at[start], at[start + len(wanted) - 1] + 1)]
    found, position = [], 0
    for line in entry.lines:
        start = text.find(line, position)
        if start >= 0:
            position = start + len(line)
            found.append((start, position))
    whole = len(found) == len(entry.lines) and len(wanted) >= enough
    if found and (whole or any(end - start >= SURE for start, end in found)):
        return [(found[0][0], found[-1][1])]
    return []
