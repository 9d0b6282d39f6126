"""Values between tags, and code in fences of backticks or tildes; `extract_xml_like_data` is the existing library's
second format.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from opto.optimizers.replies.json_replies import CutText
from opto.optimizers.utils import (
    extract_first_top_level_block,
    extract_reasoning_and_remainder,
    extract_top_level_blocks,
    strip_nested_blocks,
)
from opto.syntax import tree_of

__all__ = [
    "closed_spans",
    "extract_xml_like_data",
    "fences",
    "is_python",
    "read_fence",
    "tagged_values",
    "unfenced",
]

_FENCE = re.compile(r"(?<![`~])(`{3,}|~{3,})(?![`~])[^\n`]*\n")
_FENCED = re.compile(_FENCE.pattern + r"(?P<body>.*?)(?:\n[ \t]*(?P<end>\1)|\Z)", re.DOTALL)
_MOST_FENCES = 100  # a reply with more is no list of parts
_MOST_CLOSINGS = 10  # of one fence


def fences(text: str) -> Iterator[tuple[int, str]]:
    """(start, body) of each fence in a text; a body whose fence is not closed is a `CutText`.

    >>> list(fences("a\\n```py\\nb\\n```\\nc"))
    [(2, 'b')]
    """
    at = 0
    for _ in range(_MOST_FENCES):
        opened = _FENCE.search(text, at)
        if opened is None:
            return
        at = opened.end()
        ends = [match.span() for match in islice(re.finditer(rf"\n[ \t]*{opened[1]}", text[at:]), _MOST_CLOSINGS)]
        if not ends:
            yield opened.start(), CutText(text[at:])
            return
        bodies = [text[at : at + start] for start, _ in ends]
        number = _number_of_code(bodies)
        yield opened.start(), bodies[number]
        at += ends[number][1]


def _number_of_code(bodies: Sequence[str]) -> int:
    """Which of the bodies that a mark may end is the code: the first that is Python, for docstrings hold marks, too."""
    if len(bodies) == 1 or "def " not in bodies[0]:
        return 0
    return next((number for number, body in enumerate(bodies) if is_python(body)), 0)


def is_python(code: str) -> bool:
    """Whether a text can be parsed as Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree_of(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def read_fence(text: str, begun: str = "") -> str:
    """The code of a reply whose fence was begun with `begun`: up to the closing fence or the end.

    A model that repeats the beginning is forgiven.

    >>> read_fence("    return 1\\n```\\nDone.", "def f():\\n")
    'def f():\\n    return 1'
    """
    _, fenced = next(fences(text), (0, None))
    first = begun.strip().splitlines()[0] if begun.strip() else ""
    if fenced is not None and first in fenced:
        return str(fenced).rstrip()
    starts = [match.start() for match in islice(re.finditer("```", text), _MOST_CLOSINGS)]
    if begun and text.lstrip().startswith(first):
        begun = ""
    bodies = [begun + text[:start] for start in starts] or [begun + text]
    code = bodies[_number_of_code(bodies)].rstrip()
    return code if begun else code.strip("\n")


def unfenced(code: str) -> str:
    """The code inside a fence that was put around a value; other code as it is.

    >>> unfenced("```python\\nx = 1\\n```")
    'x = 1'
    """
    fence = _FENCED.fullmatch(code.strip())
    return code if fence is None else fence["body"]


def closed_spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each closed fence."""
    return (match.span() for match in islice(_FENCED.finditer(text), _MOST_FENCES) if match["end"])


# --- tags ---

_NAMED = re.compile(r"<(variable|part) name=[\"']([^\"'>\n]{1,200})[\"'][^>\n]{0,200}>")
_LAST_NAME = re.compile(r"<name>([^<>\n]{1,200})</name>\s*\Z")


def extract_xml_like_data(
    text: str,
    reasoning_tag: str = "reasoning",
    improved_variable_tag: str = "variable",
    name_tag: str = "name",
    value_tag: str = "value",
) -> dict[str, Any]:
    """`{"reasoning": str, "variables": {name: str}}` of a reply in the second format.

    Variables count only after the closing reasoning tag; each needs a name that is not blank and a
    value (which may be empty); later ones win.

    >>> extract_xml_like_data("<reasoning>r</reasoning><variable><name>x0</name><value> 3 </value></variable>")
    {'reasoning': 'r', 'variables': {'x0': '3'}}
    """
    reasoning, rest = extract_reasoning_and_remainder(text, reasoning_tag)
    variables: dict[str, str] = {}
    for block in _variable_blocks(rest, improved_variable_tag, value_tag):
        name = extract_first_top_level_block(strip_nested_blocks(block, value_tag), name_tag)
        value = _inside(block, value_tag)
        if name is not None and value is not None and strip_nested_blocks(name, name_tag):
            variables[strip_nested_blocks(name, name_tag)] = value.strip()
    return {"reasoning": reasoning, "variables": variables}


def _variable_blocks(text: str, tag: str, value_tag: str) -> Iterator[str]:
    """What stands in each top-level `tag`; a closing tag inside a value, which is not closed yet, is text."""
    at = 0
    for block in extract_top_level_blocks(text, tag):
        start = text.index(block, at)
        at = start + len(block)
        more = text.find(f"</{value_tag}></{tag}>", at) if _inside(block, value_tag) is None else -1
        if f"<{value_tag}>" in block and more >= 0 and f"<{tag}>" not in text[at:more]:
            block = text[start : more + len(value_tag) + 3]
        yield block


def _inside(text: str, tag: str) -> str | None:
    """What stands in the first block of a tag: up to the last closing tag, if no other block begins; else None."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    start, end = text.find(opening) + len(opening), text.rfind(closing)
    inner = extract_first_top_level_block(text, tag)
    if inner is not None and opening in text[start + len(inner) + len(closing) :]:
        return inner
    return text[start:end] if len(opening) <= start <= end else None


def tagged_values(text: str, names: Sequence[str]) -> tuple[dict[str, Any], str]:
    """(values by name, reasoning) of a reply in tags of any kind.

    They are the second format, `<variable name="x0">…</variable>` (or `part`), and `<x0>…</x0>`; a value whose tag is
    never closed is a `CutText`.

    >>> tagged_values('<part name="x0">3</part> <y0>4', ["x0", "y0"])[0]
    {'x0': '3', 'y0': ''}
    """
    if "</" not in text and "<variable" not in text and "<part" not in text:
        return {}, ""
    values: dict[str, Any] = {}
    for name, body in _named_blocks(text).items():
        inner = _inside(body, "value")
        unended = isinstance(body, CutText) or (inner is None and body.lstrip().startswith("<value>"))
        values[name] = CutText() if unended else (body if inner is None else inner).strip()
    for name in names:
        if f"<{name}>" in text:
            block = extract_first_top_level_block(text, name)
            values[name] = CutText() if block is None else block.strip()
    before, opening, after = text.rpartition("<value>")
    last = _LAST_NAME.search(before[-300:]) if opening and "</value>" not in after else None
    if last is not None:
        values[last.group(1)] = CutText()
    found = extract_xml_like_data(text)
    return values | found["variables"], found["reasoning"]


def _named_blocks(text: str) -> dict[str, str]:
    """The bodies of `<variable name="…">…</variable>`, by name; one pass, however many are never closed."""
    found: dict[str, str] = {}
    unclosed: set[str] = set()
    at = 0
    while (opening := _NAMED.search(text, at)) is not None:
        tag, at = opening.group(1), opening.end()
        end = -1 if tag in unclosed else text.find(f"</{tag}>", at)
        if end < 0:
            unclosed.add(tag)
            found.setdefault(opening.group(2), CutText())
        else:
            found[opening.group(2)] = text[at:end]
            at = end
    return found
