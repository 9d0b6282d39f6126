"""Program text moved and edited without a change of its meaning. Imports `opto.syntax` only."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from itertools import accumulate

from opto.syntax import tree_of

__all__ = ["edited", "reindented", "straightened", "unbundled"]


_DECORATED = r"(?s)@.*?\n([ \t]+)(?:def\b|async\b|@)"


def reindented(text: str, indent: str = "") -> str:
    """Moves a statement to another depth; the lines inside its strings stay as they are."""
    lines = text.strip("\n").rstrip().split("\n")
    margin = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    inside = _lines_inside_strings("\n".join(lines) + "\n")
    for number, line in enumerate(lines, start=1):
        if number not in inside:
            kept = line[len(margin) :] if line.startswith(margin) else line.lstrip()
            lines[number - 1] = indent + kept if kept.strip() else ""
    return "\n".join(lines)


def straightened(text: str) -> str:
    """A method as parameters hold it, its body moved back: the first line lost its indentation, the others did not."""
    try:
        [statement] = tree_of(text).body
    except IndentationError:
        lost = re.match(_DECORATED, text)
        return reindented(lost[1] + text) if lost else text
    except (SyntaxError, ValueError):
        return text
    body = getattr(statement, "body", None)
    excess = body[0].col_offset - 4 if isinstance(body, list) and body[0].lineno > statement.lineno else 0
    if excess <= 0:
        return text
    lines = text.split("\n")
    inside = _lines_inside_strings(text + "\n")
    for number, line in enumerate(lines, start=1):
        if number not in inside:
            lines[number - 1] = line[min(excess, len(line) - len(line.lstrip(" "))) :]
    return "\n".join(lines)


def _lines_inside_strings(text: str) -> set[int]:
    """Numbers of the lines whose beginning belongs to a string."""
    inside: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.end[0] > token.start[0] and token.type not in (tokenize.NEWLINE, tokenize.NL):
                inside.update(range(token.start[0] + 1, token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError):
        pass  # not a whole statement: what was found until here holds
    return inside


def unbundled(text: str) -> str:
    """A function's source without decorators named bundle or model."""
    statement = tree_of(text).body[0]
    decorators = getattr(statement, "decorator_list", [])
    lines = text.split("\n")
    for decorator in reversed(decorators):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if getattr(called, "attr", getattr(called, "id", "")) in ("bundle", "model"):
            del lines[decorator.lineno - 1 : decorator.end_lineno]
    return "\n".join(lines)


def edited(text: str, edits: Iterable[tuple[ast.expr, str]]) -> str:
    """Replaces the given expressions, last first so that positions stay right; offsets of `ast` count bytes."""
    lines = text.encode().splitlines(keepends=True)
    starts = [0, *accumulate(len(line) for line in lines)]
    spans = {}
    for place, value in edits:
        end = starts[(place.end_lineno or place.lineno) - 1] + (place.end_col_offset or 0)
        spans[starts[place.lineno - 1] + place.col_offset] = end, value.encode()
    data = b"".join(lines)
    for start, (end, new) in sorted(spans.items(), reverse=True):
        data = data[:start] + new + data[end:]
    return data.decode()
