"""From what a reply says to a value of the type that a parameter has, or a reason why not."""

from __future__ import annotations

import importlib
import json
import logging
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from opto.errors import ReplyError
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.replies.json_replies import strict_json
from opto.optimizers.replies.patches import apply_patch, as_patch, has_markers
from opto.optimizers.replies.shapes import read_reply
from opto.optimizers.replies.tags_and_fences import fences, is_python, unfenced
from opto.syntax import literal_of
from opto.trace.spaces import Text
from opto.trace.spaces.code_signature import check_code
from opto.trace.spaces.space import space_of

__all__ = ["check_code", "convert", "format_code", "read_code", "read_value", "salvage", "same_value"]

_log = logging.getLogger(__name__)
_LONE = re.compile("[\ud800-\udfff]")  # half of a character: no file and no server takes it
_TRUTH = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_DECIMAL_COMMA = re.compile(r"([-+]?\d*),(\d+)")
_ODD_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "NaN": lambda x: x != x,  # only NaN differs from itself
    "an infinite one": lambda x: abs(x) == math.inf,
}
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


def convert(value: Any, current: Any, *, rounds: bool = False) -> Any:
    """`value` as a value of the type of `current`; ReplyError if that cannot be done without guessing.

    >>> convert("2", 1.0), convert("[1, 2]", []), convert(3, "text"), convert("0,5", 1.0)
    (2.0, [1, 2], '3', 0.5)
    """
    if current is None:
        return value
    if isinstance(current, str):
        return _text(value, current)
    if isinstance(current, (int, float)) and not isinstance(current, bool):
        value = _number(value, current, rounds)
    elif isinstance(value, str):
        value = _literal(value)
    if isinstance(current, bool):
        return _bool(value)
    if type(current).__module__ == "numpy" and "numpy" in sys.modules:
        return _finite(_array(value, current, rounds), current)
    kind = type(current)
    if value is None or (isinstance(current, (list, tuple, set, frozenset)) and isinstance(value, (str, dict))):
        raise _no_such(value, kind)
    try:
        return _finite(value if type(value) is kind else kind(value), current)
    except ReplyError:
        raise
    except Exception as error:  # the constructor may be the user's
        raise _no_such(value, kind, error) from error


def _no_such(value: Any, kind: type[Any], error: Exception | None = None) -> ReplyError:
    return ReplyError(f"{str(value)[:60]!r} is not a {kind.__name__}" + (f": {error}" if error else ""))


def _text(value: Any, current: str) -> str:
    """A text of the kind of `current`; an object or a list is written as JSON if `current` is such."""
    if value is None:
        raise ReplyError("a text is expected, not null")
    if isinstance(value, (dict, list)):
        if type(strict_json(current)) is not type(value):
            raise ReplyError(f"a text is expected, not {'an object' if isinstance(value, dict) else 'a list'}")
        value = json.dumps(value, ensure_ascii=False)
    kind = type(current)
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


def _number(value: Any, current: float, rounds: bool) -> Any:
    if isinstance(value, str):
        value = _literal(_without_commas(value))
    if isinstance(value, bool):
        raise ReplyError(f"a number is expected, not {str(value).lower()}")
    if isinstance(current, int) and isinstance(value, float):
        return _whole(_finite(value, current), rounds)
    return value


def _without_commas(text: str) -> str:
    """A number without the commas between thousands, or with a point for a decimal comma; other texts as they are."""
    text = text.strip()
    if _THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    decimal = _DECIMAL_COMMA.fullmatch(text)
    if decimal is not None:
        return f"{decimal[1]}.{decimal[2]}"
    if re.fullmatch(r"[-+\d.,_ ]*,[-+\d.,_ ]*", text):
        raise ReplyError(f"{text[:60]!r} may mean several numbers: write it without commas, with a decimal point")
    return text


def _whole(number: float, rounds: bool) -> int:
    if not number.is_integer():
        if not rounds:
            raise ReplyError(f"a whole number is expected, not {number}")
        _log.warning("The reply's %s is read as the whole number %s.", number, int(number))
    return int(number)


def _bool(value: Any) -> bool:
    truth = _TRUTH.get(str(value).strip().lower()) if isinstance(value, (str, bool, int, float)) else None
    truth = bool(value) if truth is None and isinstance(value, (int, float)) and value in (0, 1) else truth
    if truth is None:
        raise ReplyError(f"{str(value)[:60]!r} is neither true nor false")
    return truth


def _array(value: Any, current: Any, rounds: bool) -> Any:
    numpy: Any = sys.modules["numpy"]
    try:
        given = numpy.asarray(value)
        if current.dtype.kind == "b" and (given.dtype.kind not in "biuf" or not ((given == 0) | (given == 1)).all()):
            raise ReplyError("true or false is expected for each of its values")
        if current.dtype.kind in "iu" and given.dtype.kind == "f":
            fractions = given[given != numpy.trunc(given)]
            _whole(float(fractions.flat[0]) if fractions.size else 0.0, rounds)
        if isinstance(current, numpy.ndarray):
            return given.astype(current.dtype)
        return type(current)(value)
    except ReplyError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_such(value, type(current), error) from error


def _finite(value: Any, current: Any) -> Any:
    """The value, if it holds no NaN and nothing infinite that `current` does not hold either."""
    for name, is_such in _ODD_NUMBERS.items():
        if _holds(value, is_such) and not _holds(current, is_such):
            raise ReplyError(f"a number is expected, not {name}")
    return value


def _holds(value: Any, is_such: Callable[[Any], Any]) -> bool:
    if type(value).__module__ == "numpy":
        return value.dtype.kind in "fc" and bool(is_such(value).any())
    return isinstance(value, float) and is_such(value)


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
