"""JSON in replies: strict, or mended by json-repair; a value whose end the reply does not show is marked.

`read_json_reply` is the existing library's first format. `json_values` finds all objects in a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Self

from json_repair.json_parser import JSONParser
from json_repair.utils.json_context import ContextValues

__all__ = [
    "CUT_EARLY",
    "NOTHING",
    "Cut",
    "CutDict",
    "CutList",
    "CutText",
    "drop_blank_code",
    "json_values",
    "object_spans",
    "parse_json",
    "read_json_reply",
    "strict_json",
]

NOTHING = object()
_RESCUE_START = re.compile(r'"suggestion"\s*:\s*\{')
_RESCUE_PAIR = re.compile(r'"([^"\n]*)"\s*:\s*"((?:[^"\\]|\\.)*)"(?=\s*(?:[,}\]]|\n\s*"|\Z))', re.DOTALL)
_ESCAPE = re.compile(r'(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})|\\')  # a backslash that begins none is meant as itself
_LOOSE = json.JSONDecoder(strict=False)  # control characters may stand in strings
_START = re.compile(r"\{\s*(?:[\"'“”}/#]|[\w.-]{1,200}\s*:)|\[\s*\{")
_TRIPLE = re.compile(r"([:\[,]\s*)(\"\"\"|''')\n?(.*?)(\2|\Z)", re.DOTALL)
_MOST_MENDED = 200_000  # characters; json-repair copies its text for some faults
_MOST_FAILURES = 100  # a text with more braces that begin nothing is no JSON
_STEPS = 15  # for each character of the text; json-repair looks ahead, for some texts at each character to the end
CUT_EARLY = "the reply was cut off at the limit of tokens before any value was complete"


class Cut:
    """Marks a value of which only the beginning is known: it is never believed."""

    __slots__ = ()


class CutText(str, Cut):
    """A text without its end: a reply whose model was stopped, or a string never closed; `why` names what stopped it.

    >>> CutText("Say hel") == "Say hel", CutText("", "the model refused").why
    (True, 'the model refused')
    """

    __slots__ = ("why",)
    why: str

    def __new__(cls, text: str = "", why: str = CUT_EARLY) -> Self:
        made = super().__new__(cls, text)
        made.why = why
        return made


class CutDict(dict[str, Any], Cut):
    """An object that was never closed."""


class CutList(list[Any], Cut):
    """A list that was never closed."""


def strict_json(text: str) -> Any:
    """The JSON value that a text is, though it may have line breaks in strings; NOTHING if it is none."""
    try:
        return _LOOSE.decode(text)
    except (ValueError, RecursionError):
        return NOTHING


def parse_json(text: str) -> Any:
    """The value that a text is, or the first object or list in it, mended if need be; ValueError says what is wrong.

    >>> parse_json("{'a': [1, 2,], 'b': True}")
    {'a': [1, 2], 'b': True}
    """
    if (whole := strict_json(text)) is not NOTHING:
        return whole
    start = re.search(r"[\[{]", text)
    if start is None:
        raise ValueError("the reply contains no JSON object")
    value = _mended(text, start.start(), _STEPS * len(text) + 10_000)[0]
    if value is NOTHING:
        raise ValueError("the reply is not valid JSON")
    return value


def json_values(text: str, is_wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """Each object or list of objects in a text, in order; of those that must be mended, the ones that `is_wanted`.

    A brace that begins none is passed over: it may stand in prose.

    >>> list(json_values('in {words}: {"a": 1}, or {"a": 2,}', lambda value: "a" in value))
    [{'a': 1}, {'a': 2}]
    """
    steps, failures, at = _STEPS * len(text) + 10_000, 0, 0
    while failures < _MOST_FAILURES and steps > 0 and (start := _START.search(text, at)) is not None:
        begin = start.start()
        try:
            value, at = _LOOSE.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            steps -= getattr(error, "pos", begin) - begin
            value, end, steps = _mended(text, begin, steps)
            if value is NOTHING or not is_wanted(value):
                failures, at = failures + 1, begin + 1
                continue
            at = end
        yield value


def object_spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each strictly valid object in a text, the outermost ones, at most a hundred."""
    tries, at = _MOST_FAILURES, 0
    while tries and (start := _START.search(text, at)) is not None:
        tries, at = tries - 1, start.start() + 1
        with suppress(ValueError, RecursionError):
            _, at = _LOOSE.raw_decode(text, start.start())
            yield start.start(), at


def _mended(text: str, start: int, steps: int) -> tuple[Any, int, int]:
    """(the value that begins at `start`, its end, the steps that are left); NOTHING if json-repair cannot read it."""
    if len(text) > _MOST_MENDED:
        return NOTHING, len(text), steps
    body = text[start:]
    if '"""' in body or "'''" in body:
        body = _TRIPLE.sub(lambda m: m[1] + json.dumps(m[3])[: None if m[4] else -1], body)
    parser = _Mender(body, steps - len(body))
    try:
        value = parser.parse_json()
    except Exception:  # noqa: BLE001 - the text is hostile, and json-repair promises nothing of its errors
        return NOTHING, len(text), parser.steps
    return value, len(text) - max(len(parser.json_str) - parser.index, 0), parser.steps


# --- mending ---

_FOLLOWING = re.compile(r"\s*(.?)", re.DOTALL)
_DEEPEST = 50
_GUESSES = ("we missed a : after a key", "we found a stray", "extreme corner case")
"""What json-repair says when it is about to lose a value, or has ended one too early."""


class _Mender(JSONParser):
    """json-repair's parser: it marks what has no end, guesses no values, and stops at deep or tangled texts."""

    def __init__(self, text: str, steps: int) -> None:
        super().__init__(text, None, logging=True)
        self.steps = steps
        self.depth = 0

    def parse_json(self, *args: Any, **kwargs: Any) -> Any:
        value = super().parse_json(*args, **kwargs)
        return CutText() if value == "" and not isinstance(value, Cut) and self._is_at_end() else value

    def parse_object(self, *args: Any, **kwargs: Any) -> Any:
        self._enter()
        value = super().parse_object(*args, **kwargs)
        self.depth -= 1
        if not isinstance(value, dict):
            return value
        return CutDict(value) if self.index > len(self.json_str) or _holds_cut(value.values()) else value

    def parse_array(self, *args: Any, **kwargs: Any) -> Any:
        self._enter()
        value = super().parse_array(*args, **kwargs)
        self.depth -= 1
        return CutList(value) if self.index > len(self.json_str) or _holds_cut(value) else value

    def parse_number(self) -> Any:
        value = super().parse_number()
        rest = self.json_str[self.index : self.index + 3]  # of a number that cannot end there, as 1e-
        return value if isinstance(value, Cut) or rest.strip("+-eE.") or len(rest) == 3 else CutText(str(value))

    def parse_string(self) -> Any:
        if (exact := self._exact_string()) is not None:
            return exact
        self.logger.clear()
        value = super().parse_string()
        if not isinstance(value, str):
            return value
        said = " ".join(entry["text"] for entry in self.logger)
        if "missed the closing quote" in said and (self._is_at_end() or "a literal instead of a quote" not in said):
            return CutText(value)
        return value if value.isascii() else _joined(value)

    def get_char_at(self, count: int = 0) -> str | None:
        self._spend(1)
        return super().get_char_at(count)

    def _exact_string(self) -> str | None:
        """A valid string with a mark behind it that may stand there: json-repair decodes some escapes wrongly."""
        if self.get_char_at() != '"':
            return None
        try:
            value, end = scanstring(self.json_str, self.index + 1, False)
        except ValueError:
            return None
        following = _FOLLOWING.match(str(self.json_str), end)
        assert following is not None  # the pattern matches the empty text
        if following[1] not in (":" if self.context.current is ContextValues.OBJECT_KEY else ",}]"):
            return None
        self.index = end
        return str(value)

    def skip_to_character(self, character: Any, idx: int = 0) -> int:
        found = super().skip_to_character(character, idx)
        self._spend(found - idx)
        return found

    def scroll_whitespaces(self, idx: int = 0, *, backwards: bool = False) -> int:
        found = super().scroll_whitespaces(idx, backwards=backwards)
        self._spend(abs(found - idx))
        return found

    def _log(self, text: str) -> None:
        if any(guess in text for guess in _GUESSES):
            raise ValueError(text)
        super()._log(text)

    def _is_at_end(self) -> bool:
        return self.index >= len(self.json_str)

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError("the JSON is nested too deeply")

    def _spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise ValueError("the text is too tangled")


def _holds_cut(values: Iterable[Any]) -> bool:
    return any(isinstance(value, Cut) for value in values)


def _joined(text: str) -> str:
    """A text whose halves of characters are joined; a lone half is replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# --- the existing library's first format ---


def read_json_reply(text: str, suggestion_key: str, reasoning_key: str) -> tuple[Any, dict[str, Any]]:
    """(reasoning, suggestion) of a reply in the first format; an unreadable one gives `("", {})`."""
    fenced = text.split("```")
    text = text if len(fenced) < 3 else fenced[1].strip().removeprefix("json")
    body = strict_json(text)
    if body is NOTHING:
        body = strict_json(text[text.find("{") : text.rfind("}") + 1])
    keys = {key.strip(): value for key, value in body.items()} if isinstance(body, dict) else {}
    suggestion = keys.get(suggestion_key.strip())
    suggestion = (suggestion if isinstance(suggestion, dict) else keys) or _rescued_pairs(text)
    return keys.get(reasoning_key.strip(), ""), drop_blank_code(suggestion)


def drop_blank_code(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without code entries that are only blanks."""
    return {k: v for k, v in values.items() if not ("__code" in k and isinstance(v, str) and not v.strip())}


def _rescued_pairs(text: str) -> dict[str, Any]:
    """`"name": "text"` pairs after `"suggestion": {`, for replies that are JSON but for raw newlines and the like."""
    start, end = _RESCUE_START.search(text), text.rfind("}")
    pairs = [] if start is None else _RESCUE_PAIR.findall(text, start.end(), max(end, start.end()))
    decoded = {name: strict_json('"' + _ESCAPE.sub(lambda m: m[1] or r"\\", body) + '"') for name, body in pairs}
    return {name: value for name, value in decoded.items() if value is not NOTHING}
