"""The events of training: typed, for a shell, a log or a store to watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opto.events import Event

__all__ = ["CandidateTried", "ImproveEnded", "RolloutDone", "StepBegun", "StepEnded"]


@dataclass(frozen=True)
class RolloutDone(Event):
    """The agent ran on an example. `candidate` is 0 for the values in force, `step` is 0 for those at the start."""

    step: int
    candidate: int
    example: Any
    value: Any
    feedback: str
    score: float


@dataclass(frozen=True)
class StepBegun(Event):
    """A step is about `part`, the one with the most blame."""

    step: int
    part: str
    blame: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class CandidateTried(Event):
    """A candidate was tried; `better` says whether it may be kept (the best one is), `reason` why.

    `score` is None if it never ran on all examples. `again` marks the second chance of one that was refused before.
    """

    step: int
    candidate: int
    values: Mapping[str, Any]
    score: float | None
    better: bool
    reason: str
    again: bool = False


@dataclass(frozen=True)
class StepEnded(Event):
    """A step ended with `score`, the mean over the examples. Tokens are None where no server counted them."""

    step: int
    part: str
    changed: tuple[str, ...]
    score: float
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float


@dataclass(frozen=True)
class ImproveEnded(Event):
    """Training ended; `reason` is "solved", "out of steps", "out of time", "out of budget" or "nothing to change"."""

    reason: str
    before: float
    after: float
