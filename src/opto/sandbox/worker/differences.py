"""Finds out to which of its arguments, which are copies, a function wrote. Imports nothing of ours."""

from __future__ import annotations

from typing import Any

__all__ = ["changed_arguments", "differences"]

_MOST_PARTS, _MOST_FOUND = 20_000, 8
_ATOMS = (int, float, str, bool, bytes, complex, type(None))


def changed_arguments(function: Any, now: Any, then: Any) -> list[str]:
    """Where the arguments `now`, (args, kwargs), of a call differ from a copy made before it."""
    code = getattr(function, "__code__", None)
    names = list(code.co_varnames[: code.co_argcount]) if code is not None else []
    names += [f"argument {i + 1}" for i in range(len(names), len(now[0]))]
    found = [path for a, b, n in zip(now[0], then[0], names, strict=False) for path in differences(a, b, n)]
    return found + [path for n in now[1] for path in differences(now[1][n], then[1][n], n)]


def differences(now: Any, then: Any, name: str) -> list[str]:
    """The paths below `name` at which two copies of one value differ, a few at most.

    >>> differences({"a": [1, 2]}, {"a": [1]}, "x")
    ["x['a']"]
    """
    found: list[str] = []
    seen: set[int] = set()
    ahead = [(now, then, name)]
    while ahead and len(found) < _MOST_FOUND and len(seen) < _MOST_PARTS:
        a, b, path = ahead.pop()
        if id(a) in seen or (type(a) in _ATOMS and type(a) is type(b) and (a == b or a != a)):
            continue
        seen.add(id(a))
        parts = None if type(a) is not type(b) else _parts(a, b, path)
        if parts is None:
            found.append(path)
        else:
            ahead += parts
    return found


def _parts(a: Any, b: Any, path: str) -> list[tuple[Any, Any, str]] | None:
    """Pairs of parts to compare further; None if the two differ themselves."""
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return None
        return [(a[key], b[key], f"{path}[{key!r}]") for key in a]
    if isinstance(a, list | tuple):
        return None if len(a) != len(b) else [(x, y, path) for x, y in zip(a, b, strict=True)]
    if isinstance(a, (set, frozenset, bytearray, *_ATOMS)):
        return [] if a == b else None
    mine, theirs = getattr(a, "__dict__", {}), getattr(b, "__dict__", {})
    names = [*mine, *(name for name in theirs if name not in mine)]
    return [(mine.get(name, ...), theirs.get(name, ...), f"{path}.{name}") for name in names]
