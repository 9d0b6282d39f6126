"""The seam of propagation: how feedback on a node becomes feedback on its parents.

`Propagator` is the class to derive from: `init_feedback` makes the first
feedback object, `_propagate` passes it on, `register` overrides one operator.
May import `opto.trace.nodes`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

from opto.trace.nodes import MessageNode, Node

__all__ = ["AbstractFeedback", "AbstractPropagator", "Propagator", "SumPropagator"]


class AbstractPropagator(ABC):
    """Callable on a MessageNode that has feedback: gives each parent its share."""

    def __call__(self, child: MessageNode[Any]) -> dict[Node[Any], Any]:
        """Parent -> feedback; AssertionError if the child or the rule's answer is malformed."""
        assert isinstance(child, MessageNode), f"Feedback is propagated from a MessageNode, not {type(child).__name__}."
        for giver, items in child.feedback.items():
            assert len(items) <= 1, f"{child.name} has {len(items)} pieces of feedback from {giver.name}, not one."
        shares = self.propagate(child)
        assert isinstance(shares, dict), f"The rule for {child.op_name} returned {type(shares).__name__}, not a dict."
        for parent in child.parents:
            assert parent in shares, f"The rule for {child.op_name} gave no feedback to the parent {parent.name}."
        return shares

    @abstractmethod
    def propagate(self, child: MessageNode[Any]) -> dict[Node[Any], Any]:
        """Parent -> feedback."""


class AbstractFeedback(ABC):
    """A feedback object that can be added to others of its kind, and to 0 (so that `sum` works)."""

    __slots__ = ()

    @abstractmethod
    def __add__(self, other: Any) -> Any: ...

    def __radd__(self, other: Any) -> Any:
        return self if isinstance(other, int) and other == 0 else NotImplemented


class Propagator(AbstractPropagator):
    """A rule for all operators, with overrides for some.

    Example:
        >>> from opto.trace import node
        >>> class Count(Propagator):
        ...     def init_feedback(self, node, feedback):
        ...         return feedback
        ...     def _propagate(self, child):
        ...         total = sum(sum(items) for items in child.feedback.values())
        ...         return {parent: total for parent in child.parents}
        >>> x = node(1, trainable=True)
        >>> (x + x * 2).backward(1, propagator=Count())
        >>> [sum(items) for items in x.feedback.values()]
        [1, 1]
    """

    def __init__(self) -> None:
        self.override: dict[str, Callable[[Any], dict[Any, Any]]] = {}

    def register(self, operator_name: str, propagate_function: Callable[[Any], dict[Any, Any]]) -> None:
        """Use `propagate_function(child) -> {parent: feedback}` for the operator of that name."""
        self.override[operator_name] = propagate_function

    def propagate(self, child: MessageNode[Any]) -> dict[Node[Any], Any]:
        """Parent -> feedback, by the operator's own rule if one is registered."""
        rule = self.override.get(child.op_name) if self.override else None
        return self._propagate(child) if rule is None else rule(child)

    @abstractmethod
    def init_feedback(self, node: Node[Any], feedback: Any) -> Any:
        """The feedback object that the user's `feedback` on `node` becomes."""

    @abstractmethod
    def _propagate(self, child: MessageNode[Any]) -> dict[Any, Any]:
        """Parent -> feedback for operators without a rule of their own."""


class SumPropagator(Propagator):
    """Every parent gets the sum of the feedback from the children: numbers added, texts joined."""

    def init_feedback(self, node: Node[Any], feedback: Any) -> Any:
        return feedback

    def _propagate(self, child: MessageNode[Any]) -> dict[Any, Any]:
        items = [item for given in child.feedback.values() for item in given]
        assert items, f"{child.name} has no feedback to pass on."
        kinds = {type(item) for item in items}
        assert len(kinds) == 1 or kinds <= {int, float, bool}, (
            f"{child.name} got feedback of several types: {sorted(k.__name__ for k in kinds)}."
        )
        total = reduce(add, items)
        return {parent: total for parent in child.parents}
