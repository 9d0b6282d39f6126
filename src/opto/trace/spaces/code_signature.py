"""Checks that a new text defines the same function with the same signature, by syntax trees alone."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

from opto.errors import SpaceError
from opto.syntax import tree_of

__all__ = ["check_code", "definition_in", "parsed", "signature_of"]

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_RECORDER = re.compile(r"^(\w+\.)*bundle\b")  # what a trainable function is decorated with
_HEADER = re.compile(r"\b(async\s+)?def\s+(\w+)")


def check_code(text: str, current: str, description: str | None = None) -> None:
    """SpaceError unless `text` is Python that defines the function of `current` with the same signature.

    The name comes from the description (which quotes the header) or the current text. Annotations
    and the values of defaults may change; names, order and kinds of arguments may not.
    """
    tree = parsed(text)
    header = _HEADER.search(description or "") or _HEADER.search(current)
    if header is None:
        return
    name = header.group(2)
    new = _definition(tree, name)
    if new is None:
        others = [n.name for n in ast.walk(tree) if isinstance(n, _Function)]
        found = f"it defines {', '.join(others[:3])}" if others else "it defines no function"
        raise SpaceError(f"the code must define the function {name!r} at top level; {found}")
    if any(_RECORDER.search(ast.unparse(decorator)) for decorator in new.decorator_list):
        raise SpaceError(f"the function {name!r} must stand there without the decorator, which it has already")
    old = _old_definition(current, description, name)
    if old is None:
        return
    if isinstance(old, ast.AsyncFunctionDef) is not isinstance(new, ast.AsyncFunctionDef):
        kind = "async def" if isinstance(old, ast.AsyncFunctionDef) else "def"
        raise SpaceError(f"the function {name!r} must stay a plain {kind!r}")
    if _shape(old) != _shape(new):
        raise SpaceError(f"the signature must stay {signature_of(old)!r}, not {signature_of(new)!r}")


def signature_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """`def f(x, y=2)`, without annotations of the result.

    >>> signature_of(ast.parse("def f(x, y=2) -> int: return x").body[0])
    'def f(x, y=2)'
    """
    kind = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    return f"{kind} {function.name}({ast.unparse(function.args)})"


def parsed(text: str) -> ast.Module:
    """The syntax tree of a text; SpaceError says where it is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "invalid escape sequence" is the model's style, not a fault
            return tree_of(text)
    except SyntaxError as error:
        line = (error.text or "").strip()[:80]
        raise SpaceError(f"the code is not valid Python: {error.msg} in line {error.lineno}: {line!r}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise SpaceError(f"the code is not valid Python: {error}") from error


def definition_in(text: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The last function that a text defines at top level; the text may also be a bare header `def f(x):`."""
    for attempt in (text, f"{text}\n    pass"):
        try:
            found = [n for n in parsed(attempt).body if isinstance(n, _Function)]
        except SpaceError:
            continue
        return found[-1] if found else None
    return None


def _definition(tree: ast.Module, name: str) -> _Function | None:
    """The last top-level definition of that name: it is the one that counts when the text is run."""
    found = [n for n in tree.body if isinstance(n, _Function) and n.name == name]
    return found[-1] if found else None


def _old_definition(current: str, description: str | None, name: str) -> _Function | None:
    """The definition now in force; when the current text is broken, the header in the description."""
    quoted = _HEADER.search(description or "")
    stub = "" if quoted is None or description is None else f"{description[quoted.start() :].rstrip()}\n    pass"
    for text in (current, stub):
        try:
            found = _definition(parsed(text), name) if text else None
        except SpaceError:
            continue
        if found is not None:
            return found
    return None


def _shape(function: _Function) -> tuple[Any, ...]:
    """Names, order and kinds of the arguments, and which have defaults."""
    a = function.args
    star = (a.vararg.arg if a.vararg else None, a.kwarg.arg if a.kwarg else None)
    keywords = tuple((k.arg, d is not None) for k, d in zip(a.kwonlyargs, a.kw_defaults, strict=True))
    positional = (tuple(p.arg for p in a.posonlyargs), tuple(p.arg for p in a.args))
    return positional, len(a.defaults), star, keywords
