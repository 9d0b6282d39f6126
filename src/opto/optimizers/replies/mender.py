"""json-repair's parser, held to what a reply may claim. It loads late (`opto/registry.py`): most replies are valid."""

from __future__ import annotations

import re
from collections.abc import Iterable
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from json_repair.json_parser import JSONParser
from json_repair.utils.json_context import ContextValues

from opto.optimizers.replies.json_replies import Cut, CutDict, CutList, CutText

__all__ = ["Mender"]

_FOLLOWING = re.compile(r"\s*(.?)", re.DOTALL)
_DEEPEST = 50
_GUESSES = ("we missed a : after a key", "we found a stray", "extreme corner case")
"""What json-repair says when it is about to lose a value, or has ended one too early."""


class Mender(JSONParser):
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
