"""How a run used each part: what the calls that read it got and made, and whether they did what they promise."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from opto.show import show
from opto.syntax import tree_of
from opto.trace.nodes import ExceptionNode, MessageNode, Node, ParameterNode

__all__ = ["RecordedUse", "keeps_promise", "recorded_uses"]

_LONGEST = 2_000
_PLAIN = {kind.__name__: kind for kind in (bool, bytes, dict, float, int, list, set, str, tuple)}


class RecordedUse(NamedTuple):
    """A call that read a part: what it got beside the part and what it made, as texts to compare.

    `broken`: it raised, gave nothing, or gave what the header of its code does not promise. `echo`: it gave back a
    text that it was given.
    """

    inputs: tuple[str, ...]
    value: str
    broken: bool
    level: int
    echo: bool = False


def recorded_uses(output: Node[Any], parameters: Iterable[ParameterNode[Any]]) -> dict[str, tuple[RecordedUse, ...]]:
    """By name of a parameter, the calls before `output` that read it. Linear in the size of the run."""
    mine = {id(parameter): parameter.py_name for parameter in parameters}
    found: dict[str, list[RecordedUse]] = {}
    seen = {id(output)}
    queue: list[Node[Any]] = [output]
    for node in queue:  # grows while walked
        if not isinstance(node, MessageNode):
            continue
        for parent in node.parents:
            if id(parent) in mine:
                found.setdefault(mine[id(parent)], []).append(_use(node))
            if id(parent) not in seen:
                seen.add(id(parent))
                queue.append(parent)
    return {name: tuple(uses) for name, uses in found.items()}


def _use(node: MessageNode[Any]) -> RecordedUse:
    parents = node.parents
    inputs = tuple(show(parent.data, _LONGEST) for parent in parents if not isinstance(parent, ParameterNode))
    codes = [parent.data for parent in parents if isinstance(parent, ParameterNode) and parent.is_code]
    promised = all(keeps_promise(code, node.data) for code in codes if isinstance(code, str))
    broken = isinstance(node, ExceptionNode) or node.data is None or not promised
    value = show(node.data, _LONGEST)
    echo = isinstance(node.data, str) and value in inputs and not broken  # of other kinds it is often chance
    return RecordedUse(inputs, value, broken, node.level, echo)


def keeps_promise(code: str, value: Any) -> bool:
    """Whether `value` is of a kind that the return annotation of the function in `code` names.

    Only annotations made of builtin kinds, `None`, `|` and `Optional` are held against it; a bool is no int.

    >>> keeps_promise("def f(x) -> str | None: ...", "en"), keeps_promise("def f(x) -> str | None: ...", True)
    (True, False)
    """
    kinds = _promised(code)
    return kinds is None or type(value) in kinds or (type(value) is int and float in kinds)


@lru_cache(maxsize=512)
def _promised(code: str) -> frozenset[type] | None:
    """The kinds that the annotation names; None where there is none, or one that says more than kinds."""
    try:
        body = tree_of(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    function = next((n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)), None)
    return None if function is None or function.returns is None else _kinds(function.returns)


def _kinds(annotation: ast.expr) -> frozenset[type] | None:
    match annotation:
        case ast.Constant(value=None):
            return frozenset({type(None)})
        case ast.Name(id=name):
            return frozenset({_PLAIN[name]}) if name in _PLAIN else None
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            kinds = _kinds(inner)
            return None if kinds is None else kinds | {type(None)}
        case ast.Subscript(value=ast.Name() as outer):
            return _kinds(outer)  # list[int]: a list, whatever is in it
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            kinds, others = _kinds(left), _kinds(right)
            return None if kinds is None or others is None else kinds | others
        case _:
            return None
