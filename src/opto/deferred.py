"""Modules that not every program needs, imported when something of them is first used. A leaf.

Written `if TYPE_CHECKING: import ast` and `else: ast = Deferred("ast")`, so that type checkers see the module itself.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["Deferred"]


class Deferred(ModuleType):
    """Stands for the module of this name, which must not be one of ours: those are imported where the file begins.

    >>> json = Deferred("json")
    >>> json.dumps([1])
    '[1]'
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)
