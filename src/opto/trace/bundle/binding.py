"""From the arguments of a call to named inputs, worked out once per call shape.

A call shape is the number of positional arguments plus the names of the keyword arguments. Its `Plan` says which
input each argument is, which defaults join them, and how the body gets them back. Nothing of `inspect` runs on a
call whose shape was seen before. Imports: nodes only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from opto.deferred import Deferred
from opto.trace.nodes import Operation, root_operation

if TYPE_CHECKING:
    import inspect
else:
    inspect = Deferred("inspect")

__all__ = ["PASSED", "Binder", "Plan"]

_SHAPES_KEPT = 1_000

PASSED = object()
"""Stands for the value of an input that is passed by name."""


class Plan:
    """What one call shape means.

    `keys` name the inputs in the order of the signature: first the `given` positionals of the call, then those of
    `tail`, passed by name or, if they have another value there, defaults. The body gets the first `positional` values
    by position and the others by the names `by_name`. `roots` say how raw values are wrapped (None: by type).
    """

    __slots__ = ("by_name", "given", "keys", "operation", "positional", "roots", "tail")
    operation: Operation

    def __init__(self, signature: inspect.Signature, given: int, names: Sequence[str]) -> None:
        _refuse_like_python(signature, given, names)
        self.given = given
        self.tail: tuple[tuple[str, Any], ...] = ()
        self.keys: tuple[str, ...] = ()
        bases: list[str | None] = []
        self.by_name: tuple[str, ...] = ()
        left = dict.fromkeys(names)
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                surplus = max(given - len(self.keys), 0)
                self.keys += tuple(f"args_{i}" for i in range(surplus))
                bases += [None] * surplus
            elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                self._add(parameter, left)
                bases.append(parameter.name)
        self.keys += tuple(left)
        bases += left
        self.by_name += tuple(left)
        self.tail += tuple((name, PASSED) for name in left)
        self.positional = len(self.keys) - len(self.by_name)
        self.roots = tuple(None if base is None else root_operation(base) for base in bases)

    def _add(self, parameter: inspect.Parameter, left: dict[str, None]) -> None:
        name = parameter.name
        keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if keyword_only or len(self.keys) >= self.given:
            if name in left and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
                del left[name]
                self.tail += ((name, PASSED),)
            else:
                self.tail += ((name, parameter.default),)
        if keyword_only:
            self.by_name += (name,)
        self.keys += (name,)

    def ordered(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The values of a call of this shape, parallel to `keys`."""
        return (*args, *[kwargs[name] if value is PASSED else value for name, value in self.tail])


def _anything(*args: Any, **kwargs: Any) -> None:
    """Has the signature of functions that do not tell theirs."""


def _refuse_like_python(signature: inspect.Signature, given: int, names: Sequence[str]) -> None:
    """TypeError if the function cannot be called so."""
    parameters = signature.parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        # Python takes `f(a=1)` for `def f(a=0, /, **kw)`; before 3.13 `bind` does not
        hidden = {p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY}
        names = [name for name in names if name not in hidden]
    signature.bind(*range(given), **dict.fromkeys(names))


class Binder:
    """The plans of one function."""

    __slots__ = ("_fun", "_signature", "plans")

    def __init__(self, fun: Callable[..., Any]) -> None:
        self._fun = fun
        self._signature: inspect.Signature | None = None
        self.plans: dict[Any, Plan] = {}
        """By number of positionals if there are no keywords, else by `(number, keyword, …)`."""

    @property
    def signature(self) -> inspect.Signature:
        """That of the function; `(*args, **kwargs)` for builtins that do not tell."""
        if self._signature is None:
            try:
                self._signature = inspect.signature(self._fun)
            except ValueError:
                self._signature = inspect.signature(_anything)
        return self._signature

    def plan(self, given: int, names: tuple[str, ...], operation_for: Callable[[Plan], Operation]) -> Plan:
        """The plan for `given` positionals and these keywords; TypeError if the function cannot be called so.

        `operation_for` makes the operation of the nodes of a new call shape.
        """
        shape: Any = (given, *names) if names else given
        plan = self.plans.get(shape)
        if plan is None:
            try:
                plan = Plan(self.signature, given, names)
            except TypeError as error:
                raise TypeError(f"{getattr(self._fun, '__qualname__', 'the function')}: {error}") from None
            plan.operation = operation_for(plan)
            if len(self.plans) >= _SHAPES_KEPT:
                self.plans.clear()
            self.plans[shape] = plan
        return plan
