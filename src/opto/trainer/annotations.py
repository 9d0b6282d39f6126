"""Whether a function gave what its header says that it returns. Pure."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

from opto.syntax import tree_of

__all__ = ["keeps_promise"]

_PLAIN = {kind.__name__: kind for kind in (bool, bytes, dict, float, int, list, set, str, tuple)}


def keeps_promise(code: str, value: Any) -> bool:
    """Whether `value` is of a kind that the return annotation of the function in `code` names.

    Only annotations made of builtin kinds, `None`, `|` and `Optional` are held against it; a bool is no int.

    >>> keeps_promise("def f(x) -> str | None: ...", "en"), keeps_promise("def f(x) -> str | None: ...", True)
    (True, False)
    """
    kinds = _promised(code)
    if kinds is None:
        return True
    return type(value) in kinds or (type(value) is int and float in kinds)


@lru_cache(maxsize=512)
def _promised(code: str) -> frozenset[type] | None:
    """The kinds that the annotation names; None where there is none, or one that says more than kinds."""
    try:
        body = tree_of(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    function = next((n for n in body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))), None)
    return None if function is None or function.returns is None else _kinds(function.returns)


def _kinds(annotation: ast.expr) -> frozenset[type] | None:
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return frozenset({type(None)})
    if isinstance(annotation, ast.Name):
        kind = _PLAIN.get(annotation.id)
        return None if kind is None else frozenset({kind})
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        if annotation.value.id != "Optional":
            return _kinds(annotation.value)  # list[int]: a list, whatever is in it
        inner = _kinds(annotation.slice)
        return None if inner is None else inner | {type(None)}
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        left, right = _kinds(annotation.left), _kinds(annotation.right)
        return None if left is None or right is None else left | right
    return None
