"""The base of values of your own that prompts of optimizers show as text."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["TraceObject"]


class TraceObject(ABC):
    """A value of a class of your own that prompts show by its `str`.

    >>> class Point(TraceObject):
    ...     def __str__(self):
    ...         return "(1, 2)"
    >>> str(Point())
    '(1, 2)'
    """

    @abstractmethod
    def __str__(self) -> str:
        """The value as an optimizer's prompt shows it."""
