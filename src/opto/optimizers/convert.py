"""Turn what a reply says into values of the type a parameter has."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from typing import Any

from opto.errors import ReplyError
from opto.syntax import literal_of

__all__ = ["convert", "format_code", "same_value"]

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
