"""What the syntax of a text may contain for the executor `inprocess`. The standard library only.

This keeps honest code from reaching for what it has no business with. It does not keep hostile code in: Python in one
process has no walls. Code that you do not trust belongs in the executor `process`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from opto.errors import SandboxForbiddenError

__all__ = ["check"]

_MODULES = frozenset(
    [
        "abc",
        "array",
        "base64",
        "bisect",
        "calendar",
        "cmath",
        "collections",
        "colorsys",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "html",
        "itertools",
        "json",
        "math",
        "numbers",
        "numpy",
        "operator",
        "pprint",
        "random",
        "re",
        "secrets",
        "statistics",
        "string",
        "textwrap",
        "time",
        "typing",
        "unicodedata",
        "uuid",
        "zoneinfo",
        "__future__",
        "pandas",
        "scipy",
        "sklearn",
        "sympy",
    ]
)
_NAMES = frozenset(
    [
        "breakpoint",
        "compile",
        "delattr",
        "eval",
        "exec",
        "exit",
        "getattr",
        "globals",
        "input",
        "locals",
        "memoryview",
        "open",
        "quit",
        "setattr",
        "vars",
        "__import__",
        "__builtins__",
        "__loader__",
        "__spec__",
    ]
)
_DUNDERS = frozenset(
    [
        "__init__",
        "__name__",
        "__doc__",
        "__len__",
        "__add__",
        "__eq__",
        "__str__",
        "__repr__",
        "__call__",
        "__iter__",
        "__next__",
        "__enter__",
        "__exit__",
        "__getitem__",
        "__setitem__",
        "__contains__",
        "__hash__",
        "__lt__",
        "__le__",
        "__gt__",
        "__ge__",
        "__ne__",
        "__bool__",
        "__post_init__",
    ]
)
_FRAMES = ("gi_frame", "cr_frame", "ag_frame", "f_globals", "f_back", "f_builtins", "tb_frame", "gi_code", "f_locals")


def check(text: str) -> None:
    """SandboxForbiddenError, naming the line, unless the text keeps to the rules; SyntaxError if it is not Python."""
    for node in ast.walk(ast.parse(text)):
        for fault in _faults(node):
            error = SandboxForbiddenError(f"line {getattr(node, 'lineno', '?')}: {fault}")
            raise error


def _faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (_module(alias.name) for alias in node.names if alias.name.partition(".")[0] not in _MODULES)
    elif isinstance(node, ast.ImportFrom):
        if node.level or (node.module or "").partition(".")[0] not in _MODULES:
            yield _module(node.module or ".")
    elif isinstance(node, ast.Name):
        if node.id in _NAMES:
            yield f"the code may not use {node.id!r}"
    elif isinstance(node, ast.Attribute):
        dunder = node.attr.startswith("__") and node.attr.endswith("__")
        if node.attr in _FRAMES or (dunder and node.attr not in _DUNDERS):
            yield f"the code may not use the attribute {node.attr!r}"


def _module(name: str) -> str:
    return f"the code may not import {name!r}: allowed are {', '.join(sorted(_MODULES - {'__future__'}))}"
