"""Values and texts at bounded length and cost, for prompts that have a token budget."""

from __future__ import annotations

import re
import reprlib
from contextlib import suppress
from typing import Any

__all__ = ["cut_middle", "fenced", "function_label", "show", "text_of"]

_DIGITS = 12
_COUNTED = 200  # a cut of so many characters is worth saying how many
_WORD = 64  # integers of fewer bits are short
_LONGEST = 40_000  # characters of a value that is shown whole
_ADDRESS = re.compile(r"(?: object)? at 0x[0-9a-fA-F]+")


def show(value: Any, limit: int) -> str:
    """`repr(value)` of at most about `limit` characters, its middle cut out; never fails, never shows addresses.

    Long floats are shown to nine digits.

    >>> show([1, 2], 20), show("a" * 99, 40)
    ('[1, 2]', "'aaaaaaaaaaaaaaaaaaa…aaaaaaaaaaaaaaaaaaa'")
    """
    if isinstance(value, str):
        # cut before quoting: the cost does not grow with the length
        return repr(str(cut_middle(value, limit)) if len(value) > limit else str(value))
    if isinstance(value, float):
        return repr(value) if len(repr(value)) <= _DIGITS else f"{value:.9g}"
    if value is None or isinstance(value, bool) or (type(value) is int and value.bit_length() < _WORD):
        return repr(value)
    text = f"<{type(value).__name__}>"
    with suppress(Exception, SystemExit):  # the repr is the user's; a prompt must not fail because of it
        text = _shortener(limit).repr(value)
    return cut_middle(_ADDRESS.sub("", text).replace("\n", " "), limit)


def text_of(value: Any) -> str:
    """`str(value)`, its middle cut out beyond 40,000 characters; a short form where the value cannot be printed.

    The text of a value is the program's own doing: it may raise, end the program, call itself, or be huge.

    >>> text_of(1.5), text_of([10**5000])
    ('1.5', '<list>')
    """
    text: str | None = None
    with suppress(Exception, SystemExit):
        text = str(value)
    text = show(value, 1_000) if text is None else text
    return text if len(text) <= _LONGEST else cut_middle(text, _LONGEST)


def _shortener(limit: int) -> reprlib.Repr:
    known = _SHORTENERS.get(limit)
    if known is None:
        known = _SHORTENERS[limit] = reprlib.Repr()
        known.maxlevel = 4
        known.maxstring = known.maxother = known.maxlong = limit
        items = max(limit // 6, 4)
        known.maxlist = known.maxtuple = known.maxdict = known.maxset = known.maxfrozenset = known.maxdeque = items
    return known


_SHORTENERS: dict[int, reprlib.Repr] = {}


def fenced(text: str, language: str = "") -> str:
    """`text` in a code fence that is longer than any run of backticks inside.

    >>> fenced("x = 1", "python")
    '```python\\nx = 1\\n```'
    """
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def cut_middle(text: str, limit: int) -> str:
    """`text`, its middle cut out if it is longer than `limit` characters; a long cut is counted.

    >>> cut_middle("a" * 50 + "z" * 50, 11), cut_middle("a" * 999, 31)
    ('aaaaa…zzzzz', 'aaaaaaaaaa…[979 cut]…aaaaaaaaaa')
    """
    if len(text) <= limit:
        return text
    note = f"…[{len(text)} cut]…" if len(text) > limit + _COUNTED else "…"
    side = max((limit - len(note)) // 2, 1)
    note = f"…[{len(text) - 2 * side} cut]…" if len(note) > 1 else note
    return f"{text[:side]}{note}{text[-side:]}"


def function_label(code: object) -> str | None:
    """The name of the function that a code value defines.

    >>> function_label("def greet(name):\\n    return name")
    'greet'
    """
    match = re.search(r"^\s*(?:async\s+)?def\s+(\w+)", str(code), re.MULTILINE)
    return match.group(1) if match else None
