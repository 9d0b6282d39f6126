"""Code in fences of backticks or tildes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice

from opto.optimizers.replies.json_replies import CutText
from opto.syntax import tree_of

__all__ = ["closed_spans", "fences", "is_python", "read_fence", "unfenced"]

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
