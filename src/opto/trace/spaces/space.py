"""The seam: a projection maps a proposed value to an allowed one; a space also says in words what it allows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from opto.errors import SpaceError
from opto.show import show

__all__ = ["Projection", "Space", "constraints_of", "plain_value", "settled", "space_of"]


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


class Space(Projection):
    """The values that a parameter may take. A subclass writes `project` and sets `constraint`.

    `constraint` is shown to a model. `project` is idempotent, and raises SpaceError where no allowed value is near.

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
    holds_code = False
    """Whether the values are program text, which prompts show and replies give as such."""

    @abstractmethod
    def project(self, x: Any) -> Any:
        """The allowed value nearest to `x`; SpaceError if there is none."""

    def read(self, said: Any, convert: Callable[[Any], Any]) -> Any:
        """The allowed value that a reply means by `said`; `convert` gives it the type of the parameter's value."""
        return self.project(convert(said))

    def plain(self, value: Any) -> Any:
        """An allowed value as plain data, for prompts, histories and files; `read` understands it."""
        return value

    def starting_at(self, value: Any) -> tuple[Space, Any]:
        """Space and value of a parameter that starts with `value`; SpaceError if it is outside."""
        inside = self.project(value)
        if inside is not value and not inside == value:
            raise SpaceError(
                f"a parameter starts at {show(value, 100)}, which is not {self.constraint}; {show(inside, 100)} is"
            )
        return self, inside


def space_of(parameter: Any) -> Space | None:
    """The first space among the projections of a parameter; None if it has none."""
    rare = parameter._rare
    if rare is None or not rare.projections:
        return None
    return next((p for p in rare.projections if isinstance(p, Space)), None)


def constraints_of(parameter: Any) -> str | None:
    """The constraints of a parameter's spaces, for a model; None if it has none."""
    rare = parameter._rare
    if rare is None or not rare.projections:
        return None
    return "; ".join(p.constraint for p in rare.projections if isinstance(p, Space)) or None


def plain_value(parameter: Any) -> Any:
    """The value of a parameter as its space shows it."""
    space = space_of(parameter)
    return parameter._data if space is None else space.plain(parameter._data)


def settled(parameter: Any, space: Space) -> Any:
    """The new parameter, with its space; SpaceError if its value is outside."""
    bound, parameter._data = space.starting_at(parameter._data)
    parameter.projections = [bound]
    return parameter
