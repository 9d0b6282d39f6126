"""Values whose end was never seen: what a reply that was cut off leaves. They are read, and never believed."""

from __future__ import annotations

from typing import Any

__all__ = ["Cut", "CutDict", "CutList", "CutText"]


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
