"""Small text functions of the optimizers: tags in replies, cutting long values, coloured output."""

from __future__ import annotations

import re
import sys
from logging import Logger
from typing import Any

from opto.show import text_of

__all__ = [
    "extract_first_top_level_block",
    "extract_reasoning_and_remainder",
    "extract_top_level_blocks",
    "print_color",
    "strip_nested_blocks",
    "truncate_expression",
]

_COLORS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "white": 37}
_CUT_NOTE = "...(skipped due to length limit)"


def _blocks(text: str, tag: str) -> list[tuple[int, int, int, int]]:
    """(outer start, inner start, inner end, outer end) of each closed top-level `<tag>` block."""
    found: list[tuple[int, int, int, int]] = []
    depth, outer, inner = 0, 0, 0
    for match in re.finditer(f"<(/?){re.escape(tag)}>", text):
        if not match.group(1):
            if depth == 0:
                outer, inner = match.start(), match.end()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                found.append((outer, inner, match.start(), match.end()))
    return found


def extract_top_level_blocks(text: str, tag: str) -> list[str]:
    """The text inside each closed `<tag>…</tag>` that is not inside another one.

    >>> extract_top_level_blocks("<a>1<a>2</a></a> <a>3</a>", "a")
    ['1<a>2</a>', '3']
    """
    return [text[start:end] for _, start, end, _ in _blocks(text, tag)]


def extract_first_top_level_block(text: str, tag: str) -> str | None:
    """The first of `extract_top_level_blocks`, or None."""
    blocks = extract_top_level_blocks(text, tag)
    return blocks[0] if blocks else None


def strip_nested_blocks(text: str, tag: str) -> str:
    """`text` without its `<tag>` blocks, stripped.

    >>> strip_nested_blocks("a<t>b</t>c", "t")
    'ac'
    """
    kept, at = [], 0
    for start, _, _, end in _blocks(text, tag):
        kept.append(text[at:start])
        at = end
    return "".join([*kept, text[at:]]).strip()


def extract_reasoning_and_remainder(text: str, tag: str = "reasoning") -> tuple[str, str]:
    """The stripped text of the first `<tag>` block, and the text after the block.

    Without the tag the reasoning is empty and everything remains; a block that is never closed
    swallows the rest, unstripped.
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    start = text.find(opening)
    if start < 0:
        return "", text
    blocks = _blocks(text[start:], tag)
    if blocks and blocks[0][0] == 0:
        _, inner, end, rest = (start + i for i in blocks[0])
        return text[inner:end].strip(), text[rest:]
    inner = start + len(opening)
    end = text.find(closing, inner)
    if end < 0:
        return text[inner:], ""
    return text[inner:end].strip(), text[end + len(closing) :]


def truncate_expression(value: Any, limit: int) -> str:
    """`str(value)` cut to `limit` characters, with a note when something was cut.

    >>> truncate_expression("abcdef", 3)
    'abc...(skipped due to length limit)'
    """
    text = text_of(value)
    return text if len(text) <= limit else text[:limit] + _CUT_NOTE


def print_color(message: str, color: str | None = None, logger: Logger | None = None) -> None:
    """Write `message` to standard output, coloured on a terminal, or to `logger` if one is given."""
    if logger is not None:
        logger.info(message)
        return
    code = _COLORS.get(color or "")
    if code is not None and sys.stdout.isatty():
        message = f"\033[{code}m{message}\033[0m"
    sys.stdout.write(message + "\n")
