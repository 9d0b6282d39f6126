"""The seam: a projection is one function from a proposed value to an allowed one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

__all__ = ["Projection"]


class Projection(ABC):
    """Maps a proposed value to one that is allowed; a parameter applies its projections in order.

    >>> class AtMost(Projection):
    ...     def __init__(self, limit):
    ...         self.limit = limit
    ...     def project(self, x):
    ...         return min(x, self.limit)
    >>> AtMost(3)(5)
    3
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()  # without the arguments, so that subclasses may pass theirs on

    def __call__(self, x: Any) -> Any:
        return self.project(x)

    @abstractmethod
    def project(self, x: Any) -> Any:
        """The allowed value nearest to `x`; `x` itself stays as it is."""

    def _shared(self) -> Iterable[Any]:
        """Objects that a copied parameter goes on sharing with the original."""
        return ()
