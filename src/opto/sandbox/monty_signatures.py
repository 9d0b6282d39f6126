"""How the function of a text is called, told from its syntax alone. Imports leaves only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from inspect import Parameter
from typing import Any, NamedTuple

from opto.errors import SandboxError, SandboxValueError
from opto.execution import OMITTED_DEFAULT, Shape
from opto.program import compiled, parsed, straight
from opto.sandbox.monty_values import check_length

__all__ = ["Defined", "defined", "shape_by_syntax"]

_ANY = (("args", int(Parameter.VAR_POSITIONAL), False, None), ("kwargs", int(Parameter.VAR_KEYWORD), False, None))

_LONGEST_TEXT = 1 << 14  # the compiler's time, in this program, grows with the square


class Defined(NamedTuple):
    """A function as its text defines it; `text` stands at the left margin."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    is_async: bool
    text: str


@lru_cache(maxsize=256)
def defined(text: str, name: str) -> Defined:
    """The function `name` of a text; KeyError if it has none, SandboxError if it cannot be told."""
    check_length(text, _LONGEST_TEXT)
    try:
        tree, writes = parsed(text), compiled(text).writes
    except (MemoryError, RecursionError):
        raise SandboxValueError("The code is nested too deeply for Python's compiler.") from None
    made = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == name]
    if made:
        return Defined(made[-1], isinstance(made[-1], ast.AsyncFunctionDef), straight(text))
    if name not in writes:
        raise KeyError(name)
    raise SandboxError(f"{name} is not defined by 'def', so that how it is called cannot be told.")


def shape_by_syntax(function: Defined) -> Shape:
    """Its shape; a decorated function takes anything, as its decorator may have changed that."""
    node = function.node
    parameters = _ANY if node.decorator_list else tuple(_parameters(node.args))
    return Shape("coroutine" if function.is_async else "plain", parameters, ast.get_docstring(node, clean=False))


def _parameters(arguments: ast.arguments) -> Iterator[tuple[str, int, bool, Any]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    plain: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    for number, (argument, default) in enumerate(zip(positional, [*plain, *arguments.defaults], strict=True)):
        only = number < len(arguments.posonlyargs)
        yield _parameter(argument, Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD, default)
    if arguments.vararg is not None:
        yield _parameter(arguments.vararg, Parameter.VAR_POSITIONAL, None)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, Parameter.KEYWORD_ONLY, default)
    if arguments.kwarg is not None:
        yield _parameter(arguments.kwarg, Parameter.VAR_KEYWORD, None)


def _parameter(argument: ast.arg, kind: int, default: ast.expr | None) -> tuple[str, int, bool, Any]:
    if default is None:
        return argument.arg, int(kind), False, None
    try:
        return argument.arg, int(kind), True, ast.literal_eval(default)
    except (ValueError, TypeError, MemoryError, RecursionError, SyntaxError):  # no literal
        return argument.arg, int(kind), True, OMITTED_DEFAULT
