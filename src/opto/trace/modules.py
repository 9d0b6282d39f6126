"""Agents as objects: `Module`, the base class for parts with parameters, and `@model`, which makes one of any class."""

from __future__ import annotations

from typing import Any

from opto.trace.containers import ParameterContainer

__all__ = ["Module"]


class Module(ParameterContainer):
    """A callable container of parameters; subclasses write `forward`, callers call the object.

    >>> from opto.trace import node
    >>> class Double(Module):
    ...     def __init__(self):
    ...         self.factor = node(2, trainable=True)
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Double()(4).data
    8
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward(): define it, it is what a call runs")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)
