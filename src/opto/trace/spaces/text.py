"""Texts of bounded length that must contain some texts and keep others unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opto.cost import estimate_tokens
from opto.errors import SpaceError
from opto.trace.spaces.space import Space

__all__ = ["Text"]


class Text(Space):
    """A text of at most `max_tokens` that contains each of `must_contain`, and `frozen` spans unchanged and in order.

    `count` tells the tokens of a text (an estimate unless given: pass a tokenizer's for an exact bound).

    >>> space = Text(max_tokens=20, must_contain=["{question}"])
    >>> space("Answer briefly: {question}")
    'Answer briefly: {question}'
    >>> space("Answer briefly.")
    Traceback (most recent call last):
    opto.errors.SpaceError: the text must contain '{question}'
    """

    def __init__(
        self,
        *,
        max_tokens: int | None = None,
        must_contain: Iterable[str] = (),
        frozen: Iterable[str] = (),
        count: Callable[[str], int] | None = None,
    ) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        self.must_contain = _texts(must_contain)
        self.frozen = _texts(frozen)
        self.count = count or estimate_tokens
        rules = ["a text" if max_tokens is None else f"a text of at most {max_tokens} tokens"]
        rules += [f"it contains {text!r}" for text in self.must_contain]
        rules += [
            f"{text!r} stays in it, unchanged{' and in this order' * (i > 0)}" for i, text in enumerate(self.frozen)
        ]
        self.constraint = "; ".join(rules)

    def project(self, x: Any) -> str:
        if not isinstance(x, str):
            raise SpaceError(f"a text is expected, not a {type(x).__name__}")
        missing = [text for text in self.must_contain if text not in x]
        if missing:
            raise SpaceError(f"the text must contain {', '.join(map(repr, missing))}")
        at = 0
        for span in self.frozen:
            found = x.find(span, at)
            if found < 0:
                raise SpaceError(f"the text must keep {span!r} unchanged{' and in its place' * (span in x)}")
            at = found + len(span)
        if self.max_tokens is not None and (tokens := self.count(x)) > self.max_tokens:
            raise SpaceError(f"the text has {tokens} tokens, at most {self.max_tokens} are allowed: shorten it")
        return x


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
