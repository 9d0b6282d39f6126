"""Mend JSON that a model wrote almost right.

`parse_json` tries the strict reading first and mends only what fails it: raw newlines in strings,
trailing commas, single or typographic quotes, Python's True/False/None, comments, missing
commas, unclosed strings and braces. What was never closed is marked as a `Cut`. It works on one pass
of the text, without recursion limits of its own: nesting deeper than 200 is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from opto.optimizers.problem.problem import is_code

__all__ = [
    "NOTHING",
    "Cut",
    "CutDict",
    "CutList",
    "CutText",
    "drop_blank_code",
    "loads_lenient",
    "parse_json",
    "read_json_reply",
    "rescue_pairs",
    "strict",
    "unescape",
]

_SPACE = re.compile(r"(?:\s|//[^\n]*|#[^\n]*)*")
_BLANKS = re.compile(r"\s*")
_BARE = re.compile(r"[^\s,:{}\[\]\"']+")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'", "\n": ""}
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
_MAX_DEPTH = 200


class Cut:
    """Marks a value of which only the beginning is known."""

    __slots__ = ()


class CutText(str, Cut):
    """A text without its end: a reply whose model stopped at its limit of tokens, or a string never closed.

    >>> CutText("Say hel") == "Say hel", isinstance(CutText("Say hel"), Cut)
    (True, True)
    """

    __slots__ = ()


class CutDict(dict[str, Any], Cut):
    """An object that was never closed."""


class CutList(list[Any], Cut):
    """A list that was never closed."""


def parse_json(text: str) -> Any:
    """The value that `text` spells, strictly or mended; ValueError says what is wrong and where."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return loads_lenient(text)


def loads_lenient(text: str) -> Any:
    """The mended value of a text that is almost JSON; ValueError if nothing can be made of it."""
    start = re.search(r"[\[{]", text)
    if start is None:
        raise ValueError("the reply contains no JSON object")
    return _Reader(text, start.start()).value(0)


def unescape(text: str) -> str:
    r"""The text meant by the inside of a string, each escape decoded once.

    >>> unescape(r"C:\\d is \d") == r"C:\d is \d"
    True
    """
    reader = _Reader(text, 0)
    pieces: list[str] = []
    while reader.at < len(text):
        pieces.append(reader.char())
    return "".join(pieces)


class _Reader:
    """A forgiving reader over one text."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    def _peek(self) -> str:
        match = _SPACE.match(self.text, self.at)
        assert match is not None  # the pattern matches the empty text
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("the JSON is nested too deeply")
        char = self._peek()
        if char == "{":
            return self._object(depth)
        if char == "[":
            return self._array(depth)
        if char in _QUOTES:
            return self._string()
        return self._bare()

    def _object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        result: dict[str, Any] = {}
        while True:
            char = self._peek()
            if char in ("", "}", "]"):
                self.at += char == "}"
                return result if char else CutDict(result)
            if char == ",":
                self.at += 1
                continue
            key = self._string() if char in _QUOTES else str(self._bare())
            if self._peek() == "":  # cut off after a key
                return CutDict(result)
            if self._peek() != ":":
                raise ValueError(f"a ':' is missing after the key {key!r}")
            self.at += 1
            if self._peek() in (",", "}", ""):
                result[key] = None if self._peek() else CutText()
            else:
                result[key] = self.value(depth + 1)

    def _array(self, depth: int) -> list[Any]:
        self.at += 1
        result: list[Any] = []
        while True:
            char = self._peek()
            if char in ("", "}", "]"):
                self.at += char == "]"
                return result if char else CutList(result)
            if char == ",":
                self.at += 1
                continue
            if char == ":":
                raise ValueError("a ':' stands inside a JSON list")
            result.append(self.value(depth + 1))

    def _bare(self) -> Any:
        match = _BARE.match(self.text, self.at)
        if match is None:
            raise ValueError(f"unexpected {self.text[self.at : self.at + 1]!r} in JSON at character {self.at}")
        self.at = match.end()
        word = match.group()
        if self.at == len(self.text):
            return CutText(word)
        if word in _WORDS:
            return _WORDS[word]
        try:
            return int(word) if word.lstrip("+-").isdigit() else float(word)
        except ValueError:
            return word

    def _string(self) -> str:
        closing = _QUOTES[self.text[self.at]]
        if self.text.startswith(closing * 3, self.at):
            return self._triple(closing * 3)
        self.at += 1
        pieces: list[str] = []
        while self.at < len(self.text):
            if self.text[self.at] == closing and self._ends_here():
                self.at += 1
                return "".join(pieces)
            pieces.append(self.char())
        return CutText("".join(pieces))

    def char(self) -> str:
        """The next character of a string, an escape decoded."""
        if self.text[self.at] == "\\":
            return self._escape()
        self.at += 1
        return self.text[self.at - 1]

    def _triple(self, quotes: str) -> str:
        start = self.at + 3
        end = self.text.find(quotes, start)
        if end < 0:
            self.at = len(self.text)
            return CutText(self.text[start:])
        self.at = end + 3
        return self.text[start:end].removeprefix("\n")

    def _ends_here(self) -> bool:
        """A quote closes a string if what follows could follow a string; else it was meant as text."""
        match = _BLANKS.match(self.text, self.at + 1)
        assert match is not None
        following = self.text[match.end() : match.end() + 1]
        return following in ("", ",", "}", "]", ":") or (following in _QUOTES and "\n" in match.group())

    def _escape(self) -> str:
        code = self.text[self.at + 1 : self.at + 2]
        if code == "u":
            digits = self.text[self.at + 2 : self.at + 6]
            if re.fullmatch(r"[0-9a-fA-F]{4}", digits):
                self.at += 6
                return self._paired(int(digits, 16))
        self.at += 2
        return _ESCAPES.get(code, "\\" + code)

    def _paired(self, code: int) -> str:
        """A character from `\\uXXXX`; two halves of a surrogate pair make one."""
        if 0xD800 <= code < 0xDC00:
            low = re.match(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})", self.text[self.at : self.at + 6])
            if low is not None:
                self.at += 6
                return chr(0x10000 + (code - 0xD800) * 0x400 + int(low.group(1), 16) - 0xDC00)
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


_RESCUE_START = re.compile(r'"suggestion"\s*:\s*\{')
_RESCUE_PAIR = re.compile(r'"([^"\n]*)"\s*:\s*"((?:[^"\\]|\\.)*)"(?=\s*(?:[,}\]]|\n\s*"|\Z))', re.DOTALL)


def drop_blank_code(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without code entries that are only blanks."""
    return {k: v for k, v in values.items() if not (is_code(k) and isinstance(v, str) and not v.strip())}


# --- the first format: a JSON object ---


def read_json_reply(text: str, suggestion_key: str, reasoning_key: str) -> tuple[Any, dict[str, Any]]:
    """(reasoning, suggestion) of a reply in the first format; an unreadable one gives `("", {})`."""
    text = _first_fenced(text)
    body = _load_object(text)
    keys = {k.strip(): v for k, v in body.items()}
    suggestion: Any = keys.get(suggestion_key.strip(), keys)
    if not isinstance(suggestion, dict):
        suggestion = keys
    if not suggestion:
        suggestion = rescue_pairs(text)
    return keys.get(reasoning_key.strip(), ""), drop_blank_code(suggestion)


def _first_fenced(text: str) -> str:
    pieces = text.split("```")
    if len(pieces) < 3:
        return text
    return pieces[1].strip().removeprefix("json")


def _load_object(text: str) -> dict[str, Any]:
    found = strict(text)
    if found is NOTHING:
        start, end = text.find("{"), text.rfind("}")
        found = strict(text[start : end + 1]) if 0 <= start < end else None
    return found if isinstance(found, dict) else {}


NOTHING = object()


def strict(text: str) -> Any:
    """The JSON value that a text is; NOTHING if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOTHING


def rescue_pairs(text: str) -> dict[str, Any]:
    """`"name": "text"` pairs after `"suggestion": {`, for replies that are JSON but for raw newlines and the like."""
    start, end = _RESCUE_START.search(text), text.rfind("}")
    if start is None or end < start.end():
        return {}
    return {k: _unescape(v) for k, v in _RESCUE_PAIR.findall(text[start.end() : end])}


def _unescape(text: str) -> str:
    """The text meant by the inside of a JSON string that may hold raw newlines."""
    loaded = strict('"' + text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t") + '"')
    return loaded if isinstance(loaded, str) else unescape(text)
