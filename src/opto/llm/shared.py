"""Things that stay one thing when the models that hold them are copied: a budget, a limit, a tape."""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakValueDictionary

__all__ = ["Shared"]


class Shared:
    """Base of objects that several models hold together: a copy, deep or pickled, is the same object in this process.

    Training copies optimizers with their models; a copied budget would be a second budget. A pickle that is read
    in another process, or after this one, starts from the state when it was written. Subclasses say in
    `_state` and `_restore` what that state is.
    """

    def __init__(self) -> None:
        self._key = os.urandom(16).hex()
        _LIVE[self._key] = self

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self._key, self._state())

    def _state(self) -> dict[str, Any]:
        raise NotImplementedError

    def _restore(self, state: dict[str, Any]) -> None:
        raise NotImplementedError


_LIVE: WeakValueDictionary[str, Shared] = WeakValueDictionary()


def _revive(kind: type[Shared], key: str, state: dict[str, Any]) -> Shared:
    live = _LIVE.get(key)
    if live is None:
        live = kind.__new__(kind)
        live._key = key
        live._restore(state)
        _LIVE[key] = live
    return live
