"""From what a reply says to a value of the type that a parameter has, or a reason why not."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

from opto.errors import ReplyError
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.replies.json_replies import strict_json
from opto.optimizers.replies.patches import apply_patch, as_patch, has_markers
from opto.optimizers.replies.shapes import read_reply
from opto.optimizers.replies.tags_and_fences import fences, is_python, unfenced
from opto.trace.spaces import Text
from opto.trace.spaces.code_signature import check_code
from opto.trace.spaces.space import space_of
from opto.values import convert

__all__ = ["check_code", "convert", "format_code", "read_code", "read_value", "salvage", "same_value"]

_KEY = re.compile(
    r"""["'“”]([\w.]{1,200})["'“”]\s*:  # a member of an object
    |<name>\s*([\w.]{1,200})\s*</name>
    |<(?:variable|part)\ name=["']([\w.]{1,200})["']
    |\A\W{0,3}([\w.]{1,200})["'`*]*\s*[:=]  # a line of its own
    """,
    re.VERBOSE,
)
_PATCH = re.compile(r"<{5}|>{5}|@@|^(?:--- |diff --git )", re.MULTILINE)  # no text without one of these is a patch
_MARKS = re.compile(r"<{7} SEARCH\b|>{7} REPLACE\b")
_RUBBLE = re.compile(r"(?=.*[\[\]{}`])[\s\[\]{}`\"',:]+|`{2,}\w*", re.DOTALL)
_DEEPEST = 4


def read_value(said: Any, parameter: Any, parts: Sequence[Part] = (), *, rounds: bool = False) -> Any:
    """The value that a reply means, patches applied, of the parameter's type and in its space; ReplyError if none.

    `parts` are all that the reply could name: a text that is itself a reply about them is read as one. With `rounds`
    the fraction of a number for a whole one is dropped, and a warning says so; else such a number is refused.
    """
    current = parameter._data
    space = space_of(parameter)
    is_patch = isinstance(current, str) and (not isinstance(said, str) or _PATCH.search(said) is not None)
    edits = as_patch(said) if is_patch and not has_markers(current) else None
    if edits is not None:
        said = apply_patch(current, edits)
    elif parameter.is_code:
        said = read_code(said)
    elif isinstance(said, str) and isinstance(current, str) and (space is None or isinstance(space, Text)):
        said = salvage(said, current, parts, parameter.py_name)
    if space is None:
        return convert(said, current, rounds=rounds)
    return space.read(said, lambda value: convert(value, current, rounds=rounds))


def format_code(text: str) -> str:
    """Code formatted by black if black is installed and accepts it; else as it is."""
    try:
        black = importlib.import_module("black")
    except ImportError:
        return text
    try:
        return str(black.format_str(text, mode=black.FileMode()))
    except Exception:  # noqa: BLE001 - black raises several kinds for text that is not code; the text then stays
        return text


def same_value(a: Any, b: Any) -> bool:
    """Whether two values are surely equal; a comparison that is no plain truth counts as different."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    try:
        return bool(a == b)
    except Exception:  # noqa: BLE001 - the values are the user's; arrays refuse truth, others may refuse anything
        return False


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
    if said[:1] == said[-1:] == '"' and "\\" in said and isinstance(inner := strict_json(said), str):
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
    code = said.removeprefix("\ufeff").replace("\r\n", "\n")
    if "```" not in code and "~~~" not in code:
        return code
    code = unfenced(code)
    inside = [body for _, body in fences(code)] if "```" in code and not is_python(code) else []
    return inside[0] if len(inside) == 1 and is_python(inside[0]) else code
