"""Where code that an optimizer wrote runs: the seam `Executor`, its records, and which executor is in force. A leaf.

A text that an optimizer suggested is a `SuggestedText`. The caller makes a `Job` of it and hands the job to
`current_executor()`. The executors themselves are in `opto.sandbox`, loaded when the first one is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from opto.registry import implementation

__all__ = [
    "EXECUTORS",
    "OMITTED_DEFAULT",
    "Executor",
    "Job",
    "Limits",
    "Outcome",
    "ResourceUsage",
    "Scope",
    "Shape",
    "SuggestedText",
    "current_executor",
    "executor_named",
    "reducer_of",
    "register_reducer",
    "set_default_executor",
    "using",
]


class _OmittedDefault:
    def __repr__(self) -> str:
        return "<default>"


OMITTED_DEFAULT = _OmittedDefault()
"""Stands for a default that only the worker knows, as it is no plain data; a call leaves that argument out."""


class SuggestedText(str):
    """A program text that an optimizer wrote. It remembers so through copies, pickles and files.

    Ordinary text put in its place, `parameter._data = "..."`, is the user's own.
    """

    __slots__ = ()

    def __copy__(self) -> SuggestedText:
        return self

    def __deepcopy__(self, memo: Any) -> SuggestedText:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return SuggestedText, (str(self),)


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Limits(NamedTuple):
    """What one call may use. `value_bytes` bounds the written form of its result and of each value that it exchanges.

    `output_bytes` is how much of stdout and of stderr is kept, `processes` how many threads the call may start (new
    processes are never allowed where the system can refuse them). `float("inf")` seconds mean the longest time that
    clocks can count, three weeks.
    """

    wall_seconds: float = 5.0
    cpu_seconds: float = 5.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 1 << 16
    value_bytes: int = 1 << 24
    processes: int = 16
    open_files: int = 64

    def checked(self) -> Limits:
        """These limits, rounded to values that executors can keep; ValueError names the first that is out of range."""
        return Limits(*(_bounded(name, given) for name, given in self._asdict().items()))


_LEAST = {
    "wall_seconds": 0.001,
    "cpu_seconds": 0.001,
    "memory_bytes": 1 << 20,
    "output_bytes": 0,
    "value_bytes": 1,
    "processes": 0,
    "open_files": 16,  # with fewer not all layers of protection can be put on
}
_MOST_SECONDS = 2_000_000.0
_MOST_BYTES = 1 << 62


def _bounded(name: str, given: Any) -> Any:
    least = _LEAST[name]
    in_seconds = name.endswith("seconds")
    if not isinstance(given, int | float) or not given >= least or (given == inf and not in_seconds):
        raise ValueError(f"Limits.{name} is {given!r}: it must be a number, at least {least}.")
    return min(given, _MOST_SECONDS) if in_seconds else int(min(given, _MOST_BYTES))


class ResourceUsage(NamedTuple):
    """Resources that a call used; `memory_bytes` is the peak of its process, 0 where the system does not report it."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0


class Scope(NamedTuple):
    """What a text sees around it: `names` are its globals (read when the call begins), `module` their `__name__`.

    `flags` are compiler flags of the module, `owner` the class in whose body the function stands, for `super()`.
    """

    names: Mapping[str, Any] = _NOTHING
    module: str = "__main__"
    flags: int = 0
    owner: type | None = None


class Job(NamedTuple):
    """One call: run `text`, then its function `name` with these arguments, in sight of `scope`.

    With `describe` the function is defined but not called, and the value is its `Shape`.
    """

    text: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = _NOTHING
    scope: Scope = Scope()
    describe: bool = False


class Shape(NamedTuple):
    """How a defined function is called.

    `kind`: "plain", "coroutine", "generator" or "async generator". `parameters`: name, kind (as `inspect.Parameter`
    counts them), whether it has a default, and that default if it is plain data.
    """

    kind: str
    parameters: tuple[tuple[str, int, bool, Any], ...]
    doc: str | None = None


class Outcome(NamedTuple):
    """The result of a job: `value`, or `error` as the exception to raise (its traceback shows lines of the text).

    `changed` lists what the function wrote to in its copies of the program's objects (`self.count`); the originals are
    unchanged.
    """

    value: Any = None
    error: Exception | None = None
    stdout: str = ""
    stderr: str = ""
    usage: ResourceUsage = ResourceUsage()
    changed: tuple[str, ...] = ()

    def result(self) -> Any:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value


@runtime_checkable
class Executor(Protocol):
    """Runs code that an optimizer wrote. Errors of that code come back in an `Outcome`; neither method raises them.

    Both may be called from many threads and tasks at once.
    """

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        """Runs a job to its end."""
        ...

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        """The same without blocking the event loop."""
        ...


Reduction = tuple[Any, ...]
_REDUCERS: dict[type, Callable[[Any], Reduction]] = {}


def register_reducer(cls: type, reduce: Callable[[Any], Reduction]) -> None:
    """Objects of `cls` and of its subclasses are written for a sandbox as `reduce` says, in the form of `__reduce__`.

    The counterpart of `copyreg.pickle` for sandboxes: the module that knows the class registers it when imported.
    """
    _REDUCERS[cls] = reduce


def reducer_of(cls: type) -> Callable[[Any], Reduction] | None:
    """How objects of this class are written for a sandbox, if the class or a base of it was registered."""
    return next((_REDUCERS[base] for base in cls.__mro__ if base in _REDUCERS), None)


EXECUTORS = ("process", "monty", "unsafe")
"""The executors that have a name, each loaded when first asked for."""

_IN_FORCE: ContextVar[Executor | None] = ContextVar("opto_executor", default=None)
_LOCK = Lock()
_MADE: dict[str, Executor] = {}
_DEFAULT: list[str | Executor] = ["process"]


def executor_named(name: str) -> Executor:
    """The one executor of this name that the program shares; KeyError lists the names there are."""
    _check_name(name)
    with _LOCK:
        made = _MADE.get(name)
        if made is None:
            made = _MADE[name] = implementation(f"executor {name}")()
        return made


def _check_name(name: str) -> None:
    if name not in EXECUTORS:
        removed = " 'inprocess' was removed, because hostile code got out of it: use 'process' instead, or 'unsafe' "
        removed += "for code that you have read."
        choices = f"choose one of {', '.join(EXECUTORS)}."
        raise KeyError(f"There is no executor {name!r}: {choices}{removed if name == 'inprocess' else ''}")


def current_executor() -> Executor:
    """The executor of this context, else the default one: `process`, unless the program chose another."""
    executor = _IN_FORCE.get()
    if executor is None:
        default = _DEFAULT[0]
        executor = _MADE.get(default) or executor_named(default) if isinstance(default, str) else default
    return executor


def set_default_executor(executor: str | Executor) -> None:
    """Chooses the executor for the whole program; `using` blocks take precedence.

    KeyError lists the names there are.
    """
    if isinstance(executor, str):
        _check_name(executor)
    _DEFAULT[0] = executor


@contextmanager
def using(executor: str | Executor) -> Generator[Executor]:
    """Within the block, and in this context, code that an optimizer wrote runs in `executor`.

    A name stands for the executor that the program shares: "process", "monty" or "unsafe".

    >>> with using("unsafe") as executor:
    ...     executor is current_executor()
    True
    """
    chosen = executor_named(executor) if isinstance(executor, str) else executor
    token = _IN_FORCE.set(chosen)
    try:
        yield chosen
    finally:
        _IN_FORCE.reset(token)
