"""The problem an optimizer poses to a model, as pure data: no nodes, no clocks, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Attempt", "Call", "Given", "Outcome", "Part", "Problem"]

# Calls and values are named tuples: a graph has thousands, and a frozen dataclass costs thrice as much to make.


class Given(NamedTuple):
    """A value that was there before the run and may not change; `is_code` if it is the source of a function."""

    name: str
    value: Any
    description: str | None = None
    is_code: bool = False


class Call(NamedTuple):
    """One call of the run; `inputs` pairs the name of an argument with the name of its node."""

    name: str
    function: str
    inputs: tuple[tuple[str, str], ...]
    value: Any
    description: str | None = None
    level: int = 0
    is_operator: bool = False
    is_error: bool = False

    @property
    def text(self) -> str:
        """`add0 = add(x=x0, y=int0)`."""
        return f"{self.name} = {self.function}({', '.join([f'{k}={v}' for k, v in self.inputs])})"


class Outcome(NamedTuple):
    """An output and the feedback it got."""

    name: str
    value: Any
    feedback: Any


class Part(NamedTuple):
    """A parameter that may change, under the name the model knows it by.

    `constraint` is what the parameter's space demands; `is_code` if the value is the source of a bundled function.
    """

    name: str
    value: Any
    description: str | None = None
    constraint: str | None = None
    is_code: bool = False

    @property
    def kind(self) -> str:
        """The type that prompts show: `code`, or the name of the value's type."""
        return "code" if self.is_code else type(self.value).__name__

    @property
    def conditions(self) -> str | None:
        """Description and constraint together; None if there is neither."""
        if self.constraint is None:
            return self.description
        joint = "\n" if self.is_code else "; "
        return joint.join(text for text in (self.description, self.constraint) if text) or None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An earlier step: the values that were in force, by part name, and the feedback they got."""

    values: Mapping[str, Any]
    feedback: Any


@dataclass(frozen=True, slots=True)
class Problem:
    """The parts that may change, the recorded run, and the feedback.

    `calls` are in topological order; `given` holds every value that no shown call made; `outcomes` are the
    nodes that the feedback is about. No name stands for two things.
    """

    parts: tuple[Part, ...] = ()
    given: Mapping[str, Given] = field(default_factory=dict[str, Given])
    calls: tuple[Call, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    feedback: Any = None
    objective: str = ""
    context: str | None = None
    history: tuple[Attempt, ...] = ()
    blame: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def code_names(self) -> frozenset[str]:
        """The names of the values that are code, whether they may change or not."""
        given = [value.name for value in self.given.values() if value.is_code]
        return frozenset([*given, *(part.name for part in self.parts if part.is_code)])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, in order."""
        return tuple(part.name for part in self.parts)

    def part(self, name: str) -> Part | None:
        """The part of that name, or None."""
        return next((part for part in self.parts if part.name == name), None)
