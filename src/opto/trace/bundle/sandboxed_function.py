"""Code that an optimizer wrote, as a function that hands every call to an executor. Imports leaves and `code`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from opto.deferred import Deferred
from opto.execution import OMITTED_DEFAULT, Executor, Job, Outcome, Scope, Shape
from opto.trace.bundle.definition import Environment

if TYPE_CHECKING:
    import inspect
    import logging
    import re
else:
    inspect = Deferred("inspect")
    logging = Deferred("logging")
    re = Deferred("re")

__all__ = ["suggested_function"]

_UNSHOWN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"


class _Names(Mapping[str, Any]):
    """The globals that code in an environment sees: locals at decoration, cells, and globals as they are now."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __getitem__(self, name: str) -> Any:
        environment = self._environment
        if name in environment.captured:
            return environment.captured[name]
        cell = environment.cells.get(name)
        if cell is None:
            return environment.globals[name]
        try:
            return cell.cell_contents
        except ValueError:
            raise KeyError(name) from None  # not assigned yet

    def __iter__(self) -> Iterator[str]:
        environment = self._environment
        return iter(dict.fromkeys([*environment.captured, *environment.cells, *environment.globals]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _scope(environment: Environment) -> Scope:
    scope = environment.scope
    if scope is None or scope.owner is not environment.owner:
        module = str(environment.globals.get("__name__", "__main__"))
        scope = environment.scope = Scope(_Names(environment), module, environment.flags, environment.owner)
    return scope


def suggested_function(text: str, environment: Environment, executor: Executor) -> Callable[..., Any]:
    """The function that `text` defines, run by `executor`; raises what defining it raises there."""
    text = str(text)
    scope = _scope(environment)
    shape: Shape = executor.run(Job(text, environment.name, scope=scope, describe=True)).result()
    signature, names = _signature(shape)
    told: set[str] = set()

    def job(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        if any(value is OMITTED_DEFAULT for value in (*args, *kwargs.values())):
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            args, kwargs = (), {name: value for name, value in given.items() if value is not OMITTED_DEFAULT}
        return Job(text, environment.name, args, kwargs, scope)

    def finished(outcome: Outcome) -> Any:
        if outcome.stdout:
            sys.stdout.write(_shown(outcome.stdout))
        if outcome.stderr:
            sys.stderr.write(_shown(outcome.stderr))
        if outcome.changed and not told.issuperset(outcome.changed):
            told.update(outcome.changed)
            _warn(environment.name, outcome.changed)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def call(*args: Any, **kwargs: Any) -> Any:
        return finished(executor.run(job(args, kwargs)))

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        return finished(await executor.arun(job(args, kwargs)))

    function: Any = call_async if shape.kind == "coroutine" else call
    function.__name__ = function.__qualname__ = environment.name
    function.__doc__, function.__signature__ = shape.doc, signature
    return function  # type: ignore[no-any-return]


def _shown(text: str) -> str:
    """What code printed, without commands to the terminal and what no file can hold: these are written out."""
    return re.sub(_UNSHOWN, lambda found: found[0].encode("unicode_escape").decode(), text)


def _warn(name: str, changed: tuple[str, ...]) -> None:
    logging.getLogger(__name__).warning(
        "%s wrote to %s: it got copies, so that the originals are as they were. Let it return what is new.",
        name,
        _shown(", ".join(changed)),
    )


def _signature(shape: Shape) -> tuple[inspect.Signature, tuple[str, ...]]:
    kinds = {int(kind): kind for kind in inspect._ParameterKind}
    parameters = [
        inspect.Parameter(name, kinds[kind], default=default if has_default else inspect.Parameter.empty)
        for name, kind, has_default, default in shape.parameters
    ]
    return inspect.Signature(parameters), tuple(name for name, *_ in shape.parameters)
