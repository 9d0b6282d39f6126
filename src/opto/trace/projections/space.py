"""The seam: a space is a projection that can say, in words, which values it allows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from opto.errors import SpaceError
from opto.trace.projections.projection import Projection

__all__ = ["Space", "constraints_of", "plain_value", "settled", "space_of"]


class Space(Projection):
    """The values that a parameter may take. A subclass writes `project` and sets `constraint`.

    `constraint` is what a model is told. `project` is idempotent, and raises SpaceError where no allowed value is near.

    >>> class Even(Space):
    ...     constraint = "an even number"
    ...     def project(self, x):
    ...         return 2 * round(x / 2)
    >>> from opto.trace import node
    >>> steps = node(4, trainable=True, space=Even())
    >>> space_of(steps).project(7)
    8
    """

    constraint: str

    @abstractmethod
    def project(self, x: Any) -> Any:
        """The allowed value nearest to `x`; SpaceError if there is none."""

    def read(self, said: Any, convert: Callable[[Any], Any]) -> Any:
        """The allowed value that is meant by what a reply says; `convert` makes it the type that the parameter has."""
        return self.project(convert(said))

    def plain(self, value: Any) -> Any:
        """An allowed value as plain data, for prompts, histories and files; `read` understands it."""
        return value

    def starting_at(self, value: Any) -> tuple[Space, Any]:
        """Space and value of a parameter that starts with `value`; SpaceError if it is outside."""
        inside = self.project(value)
        if inside is not value and not inside == value:
            raise SpaceError(f"a parameter starts at {value!r}, which is not {self.constraint}; {inside!r} is")
        return self, inside


def space_of(parameter: Any) -> Space | None:
    """The first space among the projections of a parameter; None if it has none."""
    more = parameter._more
    if more is None or not more.projections:
        return None
    return next((p for p in more.projections if isinstance(p, Space)), None)


def constraints_of(parameter: Any) -> str | None:
    """What the spaces of a parameter tell a model; None if it has none."""
    more = parameter._more
    if more is None or not more.projections:
        return None
    return "; ".join(p.constraint for p in more.projections if isinstance(p, Space)) or None


def plain_value(parameter: Any) -> Any:
    """The value of a parameter as its space shows it."""
    space = space_of(parameter)
    return parameter._data if space is None else space.plain(parameter._data)


def settled(parameter: Any, space: Space) -> Any:
    """The new parameter, with its space; SpaceError if its value is outside."""
    bound, parameter._data = space.starting_at(parameter._data)
    parameter.projections = [bound]
    return parameter
