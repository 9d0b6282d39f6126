"""What crosses the border of monty: the text of a function, and plain data. Imports leaves and `live_program`."""

from __future__ import annotations

import ast
import datetime
from decimal import Decimal
from functools import lru_cache
from inspect import Parameter
from types import ModuleType
from typing import Any, NamedTuple

from opto.errors import SandboxError, SandboxValueError
from opto.execution import OMITTED_DEFAULT, Job, Shape
from opto.program import compiled, parsed, straight
from opto.sandbox.worker.live_program import shape_of, wanted_names

__all__ = ["WAYS_OUT", "FunctionText", "check_plain", "function_text", "plain_surroundings", "shape_by_syntax"]

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
_LONGEST_TEXT = 1 << 14  # the compiler's time, in this program, grows with the square
_ANY = (("args", int(Parameter.VAR_POSITIONAL), False, None), ("kwargs", int(Parameter.VAR_KEYWORD), False, None))


# --- plain data -----------------------------------------------------------------------------------


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
    for name, value in [*enumerate(job.args, 1), *job.kwargs.items()]:
        check_plain(value, most, f"The argument {name}")
    for name, value in names.items():
        check_plain(value, most, f"The global {name}")
    return modules, names


# --- functions ------------------------------------------------------------------------------------


class FunctionText(NamedTuple):
    """A function as its text defines it; `text` stands at the left margin."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    is_async: bool
    text: str


@lru_cache(maxsize=256)
def function_text(text: str, name: str) -> FunctionText:
    """The function `name` of a text; KeyError if it has none, SandboxError if its shape cannot be read."""
    if len(text) > _LONGEST_TEXT:
        raise SandboxValueError(f"The code has {len(text)} characters: at most {_LONGEST_TEXT} are allowed.")
    try:
        tree, writes = parsed(text), compiled(text).writes
    except (MemoryError, RecursionError):
        raise SandboxValueError("The code is nested too deeply for Python's compiler.") from None
    made = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == name]
    if made:
        return FunctionText(made[-1], isinstance(made[-1], ast.AsyncFunctionDef), straight(text))
    if name not in writes:
        raise KeyError(name)
    raise SandboxError(f"{name} is not defined by 'def', so that its parameters are not known.")


def shape_by_syntax(function: FunctionText) -> Shape:
    """Its shape, read from a function of the same parameters that does nothing.

    A decorated function takes anything, as its decorator may have changed that.
    """
    kind, doc = "coroutine" if function.is_async else "plain", ast.get_docstring(function.node, clean=False)
    if function.node.decorator_list:
        return Shape(kind, _ANY, doc)
    given = function.node.args
    arguments = ast.arguments(
        posonlyargs=[ast.arg(a.arg) for a in given.posonlyargs],
        args=[ast.arg(a.arg) for a in given.args],
        vararg=given.vararg and ast.arg(given.vararg.arg),
        kwonlyargs=[ast.arg(a.arg) for a in given.kwonlyargs],
        kw_defaults=[default and _literal(default) for default in given.kw_defaults],
        kwarg=given.kwarg and ast.arg(given.kwarg.arg),
        defaults=[_literal(default) for default in given.defaults],
    )
    empty = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, ast.Constant(None))))
    shape = shape_of(eval(compile(empty, "<parameters>", "eval"), {"omitted": OMITTED_DEFAULT}))  # literals only
    return Shape(kind, shape.parameters, doc)


def _literal(default: ast.expr) -> ast.expr:
    try:
        ast.literal_eval(default)
    except (ValueError, TypeError, MemoryError, RecursionError, SyntaxError):
        return ast.Name("omitted", ast.Load())
    return default
