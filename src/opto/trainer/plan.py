"""What training is given: a plan (how many candidates, how hot, how long) and an optimizer that proposes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from opto.cost import Cost
from opto.optimizers.optimizer import Update
from opto.optimizers.problem.uses import Focus
from opto.trace.nodes import Node, ParameterNode

__all__ = ["Plan", "Proposer", "TrainingPlan"]


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to improve. A step draws up to `candidates`, of a text `texts` (they are short, so more can be drawn), at
    `temperatures` in turn, and stops early if one solves all.

    `failing` and `passing` count the runs shown; `seconds` bounds the whole, `run_seconds` one run of the
    agent (0: no bound); `perfect` is the score from which an example counts as solved; `kept` refused values of
    each part get second chances, at most `pairs` a step two at a time. Each try that led nowhere raises the
    temperatures by `warmer`, up to 1.4.
    With `batch` only so many examples are used at first; whenever those in use are solved, as many more join, and run
    once with the values at the start, so that the gain is measured on all of them.
    """

    steps: int = 12
    candidates: int = 4
    texts: int = 8
    temperatures: tuple[float, ...] = (0.4, 0.7, 0.9, 1.1)
    failing: int = 3
    passing: int = 1
    seconds: float = 0
    run_seconds: float = 120
    perfect: float = 1.0
    kept: int = 12
    pairs: int = 100
    warmer: float = 0.15
    batch: int = 0

    def __post_init__(self) -> None:
        if not self.temperatures:
            raise ValueError("temperatures is empty: give at least one, such as (0.7,).")
        if self.candidates < 1:
            raise ValueError(f"candidates={self.candidates}: a step draws at least one.")


Plan = TrainingPlan
"""An older name."""


class Proposer(Protocol):
    """What training needs of an optimizer; every `Optimizer` is one."""

    parameters: list[ParameterNode[Any]]
    focus: Focus | None
    spent: Cost

    def zero_feedback(self) -> None:
        """Forget the feedback on all parameters."""

    def backward(self, node: Node[Any], *args: Any, **kwargs: Any) -> Any:
        """Send feedback from a node to the parameters."""

    def propose_each(self, n: int, temperatures: Sequence[float] | None = None) -> Iterator[Update]:
        """`n` proposals, not written, each made when it is taken."""
        ...

    def update(self, update: dict[ParameterNode[Any], Any]) -> None:
        """Write values into the parameters."""
