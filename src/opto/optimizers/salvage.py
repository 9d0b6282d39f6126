"""A value that is not what it should be: a reply in the place of a text, prose around code.

What it holds for its own part is taken, a piece of a reply is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from opto.errors import ReplyError
from opto.optimizers.formats import strict
from opto.optimizers.problem import Part, Problem
from opto.optimizers.replies import fences, read_reply, unfenced
from opto.syntax import tree_of

__all__ = ["read_code", "salvage"]

_KEY = re.compile(
    r"""["'“”]([\w.]{1,200})["'“”]\s*:  # a member of an object
    |<name>\s*([\w.]{1,200})\s*</name>
    |<(?:variable|part)\ name=["']([\w.]{1,200})["']
    |\A\W{0,3}([\w.]{1,200})["'`*]*\s*[:=]  # a line of its own
    """,
    re.VERBOSE,
)
_MARKS = re.compile(r"<{7} SEARCH\b|>{7} REPLACE\b")
_RUBBLE = re.compile(r"(?=.*[\[\]{}`])[\s\[\]{}`\"',:]+|`{2,}\w*", re.DOTALL)
_DEEPEST = 4


def salvage(said: str, current: str, parts: Sequence[Part], name: str, *, depth: int = 0) -> str:
    """`said` as the new value of the text part `name`, now `current`; ReplyError if it is only a piece of a reply.

    Only names of parts in the place of keys betray a reply, as texts about JSON or tags are fair; what `current` itself
    contains is no sign either.

    >>> parts = [Part("prompt0", "Say hello")]
    >>> salvage('{"suggestion": {"prompt0": "Say hola"}}', "Say hello", parts, "prompt0")
    'Say hola'
    >>> salvage('Say "prompt": 1', "Say hello", parts, "prompt0")
    'Say "prompt": 1'
    """
    if _MARKS.search(said) and not _MARKS.search(current):
        raise ReplyError("it is a piece of a patch, not a new text")
    if "\0" in said and "\0" not in current:
        raise ReplyError("a text holds no character of code 0")
    if _RUBBLE.fullmatch(said) and not _RUBBLE.fullmatch(current):
        raise ReplyError(f"{said[:20]!r} is what is left of a reply, not a new text")
    if said[:1] == said[-1:] == '"' and "\\" in said and isinstance(inner := strict(said), str):
        return salvage(inner, current, parts, name, depth=depth + 1) if depth < _DEEPEST else inner
    if not _keys(said) & {part.name for part in parts} - _keys(current):
        return said
    found: Any = read_reply(said, Problem(tuple(parts))).values.get(name) if depth < _DEEPEST else None
    if not isinstance(found, str) or found == said:
        raise ReplyError("it is a piece of a reply, not a new text")
    return salvage(found, current, parts, name, depth=depth + 1)


def _keys(text: str) -> set[str]:
    """The words of a text that stand where a reply names a part."""
    if ":" not in text and "=" not in text and "<name>" not in text:
        return set()
    return {next(filter(None, match.groups())) for match in _KEY.finditer(text)}


def read_code(said: Any) -> Any:
    """The code that a value means: without the mark of a file's beginning, carriage returns, and a fence around it.

    A list of lines is joined; of prose with one fence in it, the fence is taken if it alone is Python.

    >>> read_code("Here it is:\\n```python\\nx = 1\\n```\\nGood luck.")
    'x = 1'
    """
    lines: list[Any] = said if isinstance(said, list) else []
    if lines and all(isinstance(line, str) for line in lines):
        said = "\n".join(line.removesuffix("\n") for line in lines)
    if not isinstance(said, str):
        return said
    code = unfenced(said.removeprefix("\ufeff").replace("\r\n", "\n"))
    inside = fences(code) if "```" in code and not _is_python(code) else []
    return inside[0] if len(inside) == 1 and _is_python(inside[0]) else code


def _is_python(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree_of(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
