"""Turn what a reply says into values of the type a parameter has."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from opto.errors import ReplyError
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.replies.json_replies import strict_json
from opto.optimizers.replies.patches import apply_patch, as_patch, has_markers
from opto.optimizers.replies.shapes import fences, read_reply, unfenced
from opto.syntax import literal_of, tree_of
from opto.trace.spaces import Text
from opto.trace.spaces.code_signature import check_code
from opto.trace.spaces.space import space_of

__all__ = ["check_code", "convert", "format_code", "read_code", "read_value", "salvage", "same_value"]

_DEFINITION = re.compile(r"\bdef\s+\w+\s*\(")
_LONE = re.compile("[\ud800-\udfff]")  # half of a character: no file and no server takes it
_TRUTH = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def convert(value: Any, current: Any) -> Any:
    """`value` as a value of the type of `current`; ReplyError if that cannot be done without guessing.

    >>> convert("2", 1.0), convert("[1, 2]", []), convert(3, "text")
    (2.0, [1, 2], '3')
    """
    if current is None:
        return value
    if isinstance(current, str):
        return _text(_written(value, current), type(current))
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(current, bool):
        return _bool(value)
    if type(current).__module__ == "numpy" and "numpy" in sys.modules:
        return _array(value, current)
    if type(value) is type(current):
        return _finite(value)
    return _cast(value, current)


def _written(value: Any, current: str) -> Any:
    """An object or a list in the place of a text, written as JSON if the text is such; else it is a misread reply."""
    if not isinstance(value, (dict, list)):
        return value
    try:
        known = type(json.loads(current))
    except (ValueError, RecursionError):
        known = None
    if known is not type(value):
        raise ReplyError(f"a text is expected, not {'an object' if isinstance(value, dict) else 'a list'}")
    return json.dumps(value, ensure_ascii=False)


def _text(value: Any, kind: type[str]) -> str:
    if value is None:
        raise ReplyError("a text is expected, not null")
    text = value if type(value) is kind else kind(value)
    return text if text.isascii() else kind(_LONE.sub("\ufffd", text))


def _literal(text: str) -> Any:
    try:
        return literal_of(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _bool(value: Any) -> bool:
    if isinstance(value, str):
        if value.strip().lower() not in _TRUTH:
            raise ReplyError(f"{value[:60]!r} is neither true nor false")
        return _TRUTH[value.strip().lower()]
    if value is None:
        raise ReplyError("true or false is expected, not null")
    return bool(value)


def _array(value: Any, current: Any) -> Any:
    try:
        numpy: Any = sys.modules["numpy"]
        if isinstance(current, numpy.ndarray):
            return _finite(numpy.asarray(value, dtype=current.dtype))
        return _finite(type(current)(value))
    except ReplyError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise ReplyError(f"{str(value)[:60]!r} is not a {type(current).__name__}: {error}") from error


def _cast(value: Any, current: Any) -> Any:
    if value is None or (isinstance(current, (list, tuple, set, frozenset)) and isinstance(value, (str, dict))):
        raise ReplyError(f"{str(value)[:60]!r} is not a {type(current).__name__}")
    try:
        return _finite(type(current)(value))
    except ReplyError:
        raise
    except Exception as error:
        raise ReplyError(f"{str(value)[:60]!r} is not a {type(current).__name__}: {error}") from error


def _finite(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        found = value.dtype.kind in "fc" and bool((value != value).any())  # only NaN differs from itself
    else:
        found = isinstance(value, float) and math.isnan(value)
    if found:
        raise ReplyError("a number is expected, not NaN")
    return value


def format_code(text: str) -> str:
    """`text` formatted by black if it holds a definition, black is installed and accepts it; else as it is."""
    if not _DEFINITION.search(text):
        return text
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


def read_value(said: Any, parameter: Any, parts: Sequence[Part] = ()) -> Any:
    """The value that a reply means, patches applied, of the parameter's type and in its space; ReplyError if none.

    `parts` are all that the reply could name: a text that is itself a reply about them is read as one.
    """
    current = parameter._data
    space = space_of(parameter)
    edits = as_patch(said) if isinstance(current, str) and not has_markers(current) else None
    if edits is not None:
        said = apply_patch(current, edits)
    elif parameter.is_code:
        said = read_code(said)
    elif isinstance(said, str) and isinstance(current, str) and (space is None or isinstance(space, Text)):
        said = salvage(said, current, parts, parameter.py_name)
    if space is None:
        return convert(said, parameter._data)
    return space.read(said, lambda value: convert(value, parameter._data))


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
