"""The function in a reply of a small model, which may break off, go on with other things, or lack imports."""

from __future__ import annotations

import ast

from opto.syntax import tree_of

__all__ = ["mend_code"]

_IMPORTABLE = ("collections", "datetime", "functools", "itertools", "json", "math", "random", "re", "string")


def mend_code(text: str, name: str | None) -> str | None:
    """The function of that name in `text`: broken last lines and what follows it dropped, plain imports added.

    >>> print(mend_code("def f(x):\\n    y = math.sqrt(x)\\n    return y\\nprint(f(", "f"))
    def f(x):
        import math
        y = math.sqrt(x)
        return y
    """
    lines = text.rstrip().split("\n")
    for end in range(len(lines), 0, -1):
        source = "\n".join(lines[:end])
        try:
            tree = tree_of(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and name in (None, node.name):
                empty = len(node.body) == 1 and ast.get_docstring(node) is not None
                return None if empty else _with_imports(ast.get_source_segment(source, node) or source, node)
        return None
    return None


def _with_imports(source: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The source with an import of each module of the standard library that is used but never bound."""
    used = {n.value.id for n in ast.walk(function) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
    bound = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    bound |= {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    missing = sorted((used & set(_IMPORTABLE)) - bound)
    if not missing:
        return source
    lines = source.split("\n")
    body = function.body
    first = body[1] if ast.get_docstring(function) is not None and len(body) > 1 else body[0]
    at = first.lineno - function.lineno
    if at == 0:  # all on one line
        return source
    margin = " " * first.col_offset
    return "\n".join([*lines[:at], *[f"{margin}import {module}" for module in missing], *lines[at:]])
