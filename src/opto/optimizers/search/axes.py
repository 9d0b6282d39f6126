"""A space as a direction to search in: coordinates for a model of the score, steps, a range for a sampler.

Values are plain: a choice is its label.
"""

from __future__ import annotations

import math
import random
from typing import Any

from opto.trace.spaces import Choice, Float, Int, Space

__all__ = ["Axis", "ChoiceAxis", "NumberAxis", "axis_of"]

_APART = 0.5  # how far two options lie from each other, where a whole range of numbers has length 1


class NumberAxis:
    """A range of numbers. `size` is how many values there are; infinite for a range without steps."""

    def __init__(self, space: Float | Int) -> None:
        self.space = space
        self.size = math.inf
        if space.step is not None:
            self.size = math.floor((space.high - space.low) / space.step + 1e-9) + 1
        ends = self._scaled(space.low), self._scaled(space.high)
        self.start, self.width = ends[0], ends[1] - ends[0]

    def _scaled(self, x: float) -> float:
        return math.log(x) if self.space.log else float(x)

    def coordinates(self, value: Any) -> tuple[float, ...]:
        """Where the value lies: the range runs from 0 to 1."""
        return ((self._scaled(value) - self.start) / self.width if self.width else 0.0,)

    def near(self, value: Any, reach: float, rng: random.Random) -> Any:
        """A value about `reach` (a part of the range) away."""
        place = self.start + self.width * (self.coordinates(value)[0] + rng.gauss(0, reach))
        if self.space.log:
            place = math.exp(min(place, self.start + self.width))
        return self.space.project(place)

    def nearest_allowed(self, value: Any) -> Any:
        """The value of the space that a sampler's value stands for."""
        return self.space.project(value)

    def all_values(self) -> list[Any]:
        """All values, if `size` is finite."""
        return [self.space.project(self.space.low + i * (self.space.step or 1)) for i in range(int(self.size))]

    def distribution(self, optuna: Any) -> Any:
        """The range as the sampler's library describes it."""
        space, kinds = self.space, optuna.distributions
        kind = kinds.IntDistribution if isinstance(space, Int) else kinds.FloatDistribution
        if space.log:  # the library has no steps on a logarithmic range: `nearest_allowed` rounds to them
            return kind(space.low, space.high, log=True)
        high = self.all_values()[-1] if self.size < math.inf and space.step != 1 else space.high
        return kind(space.low, high, step=space.step)


class ChoiceAxis:
    """One of a few."""

    def __init__(self, space: Choice) -> None:
        self.labels = space.labels
        self.size = float(len(self.labels))

    def coordinates(self, value: Any) -> tuple[float, ...]:
        return tuple(_APART * (label == value) for label in self.labels)

    def near(self, value: Any, reach: float, rng: random.Random) -> Any:
        return rng.choice(self.labels)

    def nearest_allowed(self, value: Any) -> Any:
        return value

    def all_values(self) -> list[Any]:
        return [*self.labels]

    def distribution(self, optuna: Any) -> Any:
        return optuna.distributions.CategoricalDistribution(self.labels)


Axis = NumberAxis | ChoiceAxis
"""One parameter to a search."""


def axis_of(space: Space | None) -> Axis | None:
    """The axis of a space of numbers or choices; None for texts, code and no space."""
    if isinstance(space, Float | Int):
        return NumberAxis(space)
    return ChoiceAxis(space) if isinstance(space, Choice) else None
