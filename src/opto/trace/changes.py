"""Changing a parameter and taking it back: what an optimizer does beyond setting a value. Imports `records`."""

from __future__ import annotations

from typing import Any

from opto.execution import SuggestedText

__all__ = ["Changing"]

_OWN_KEPT = 16


class Changing:
    """The part of a parameter that optimizers use; mixed into `ParameterNode`."""

    __slots__ = ()

    _data: Any
    _more: Any

    def _extras(self) -> Any:
        raise NotImplementedError

    def change(self, value: Any) -> None:
        """Write a value that an optimizer chose, and remember the one before; a program text is marked as such.

        `parameter._data = value`, written by hand, is the user's own value and marks nothing: a text that was written
        so is remembered, and stays the user's when it is put back.
        """
        more: Any = self._extras()
        if more.bodies is not None and isinstance(value, str):
            value = self._marked(value)
        if value is not self._data:
            more.previous = (self._data,)
            self._data = value

    def _marked(self, text: str) -> str:
        """The text as the user wrote it, if the user did; else marked as suggested."""
        if type(self._data) is str:
            self._remember([self._data])
        return next((own for own in self._own_texts() if own == text), None) or SuggestedText(text)

    def _own_texts(self) -> tuple[str, ...]:
        """The texts that the user wrote, of those that an optimizer replaced."""
        more = self._more
        return () if more is None else more.own

    def _remember(self, texts: Any) -> None:
        """Adds texts that the user wrote."""
        known = self._own_texts()
        fresh = [text for text in texts or () if type(text) is str and text not in known]
        if fresh:
            self._extras().own = (*known, *fresh)[-_OWN_KEPT:]

    def rollback(self) -> bool:
        """Put back the value from before the last `change`; False if there was none, or it was put back already.

        >>> from opto.trace import node
        >>> x = node("Be brief.", trainable=True)
        >>> x.change("Be long.")
        >>> x.rollback(), x.data
        (True, 'Be brief.')
        """
        more = self._extras()
        if more.previous is None:
            return False
        (self._data,), more.previous = more.previous, None
        return True

    def fault(self) -> Exception | None:
        """Why the value, if it is the code of a bundled function, cannot be defined; None if it can."""
        bodies = self._extras().bodies
        if bodies is None:
            return None
        try:
            bodies.of(self._data)
        except Exception as error:  # noqa: BLE001 - defining it runs it
            return error
        return None
