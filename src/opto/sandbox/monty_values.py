"""Plain data: what an interpreter that knows no objects of ours can be given, and can give.

Imports leaves and `runner`."""

from __future__ import annotations

import datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

from opto.errors import SandboxValueError
from opto.execution import Job
from opto.program import compiled
from opto.sandbox.worker.live_program import wanted_names

__all__ = ["WAYS_OUT", "check_length", "check_plain", "plain_surroundings"]

WAYS_OUT = (
    'choose another executor, opto.sandbox.using("process"), or hand over what this one cannot run, '
    'MontyExecutor(otherwise="process")'
)

_ATOMS = {
    *(type(None), bool, int, float, complex, str, bytes, Decimal),
    *(datetime.date, datetime.time, datetime.datetime, datetime.timedelta),
}
_SIZED = (str, bytes)
_CONTAINERS = (list, tuple, set, frozenset, dict)
_BIG = 10**4000  # Python refuses to write longer numbers in decimal
_DEEPEST = 200
_LONGEST_TEXT = 1 << 16


def check_length(text: str, most: int = _LONGEST_TEXT) -> None:
    """SandboxValueError if the text of a program is too long to be looked at."""
    if len(text) > most:
        raise SandboxValueError(f"The code has {len(text)} characters: at most {most} may it have.")


def check_plain(value: Any, most: int, what: str) -> None:
    """SandboxValueError unless `value` is plain data of at most about `most` bytes, what is shared written out."""
    sizes: dict[int, int] = {}

    def size_of(part: Any, depth: int) -> int:
        kind = type(part)
        if kind in _ATOMS and not (kind is int and abs(part) >= _BIG):
            return within_bound(1 + (len(part) if kind in _SIZED else 0))
        if kind not in _CONTAINERS:
            raise SandboxValueError(f"{what} is or holds a {kind.__name__}, which is not plain data: {WAYS_OUT}")
        size = sizes.get(id(part))
        if size is None:
            items = (item for pair in part.items() for item in pair) if kind is dict else iter(part)
            size = sizes[id(part)] = (
                1 + sum(size_of(item, depth + 1) for item in items) if depth < _DEEPEST else most + 1
            )
        return within_bound(size)

    def within_bound(size: int) -> int:
        if size > most:
            raise SandboxValueError(f"{what} is nested too deeply or has more than {most} bytes (Limits.value_bytes).")
        return size

    size_of(value, 0)


def plain_surroundings(job: Job, most: int) -> tuple[dict[str, str], dict[str, Any]]:
    """What the text of a job reads of its globals: the names of modules, and values.

    SandboxValueError names the first of these, or of its arguments, that is not plain data.
    """
    scope = job.scope
    wanted = wanted_names(compiled(job.text, scope.flags), scope)
    around = {name: scope.names[name] for name in sorted(wanted) if name in scope.names and name[:2] != "__"}
    modules = {name: value.__name__ for name, value in around.items() if isinstance(value, ModuleType)}
    names = {name: value for name, value in around.items() if name not in modules}
    given = [*enumerate(job.args, 1), *job.kwargs.items()]
    named = [(f"The argument {name}", value) for name, value in given] + [
        (f"The global {n}", v) for n, v in names.items()
    ]
    for what, value in named:
        check_plain(value, most, what)
    return modules, names
