"""Texts that hold data: JSON, Python's literals, and calls of classes as `repr` writes them. Nothing is run."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any, NamedTuple

from opto.syntax import tree_of

__all__ = ["Call", "Name", "data_of", "holds_names"]

_LONGEST = 1_000_000
_NAMES: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "nan": float("nan"),
    "NaN": float("nan"),
    "inf": float("inf"),
    "Infinity": float("inf"),
}
_MEMBER = re.compile(r"<([\w.]+): [^<>]{0,200}>")  # as enumerations print their members
_CLASS = re.compile(r"<class '(?:\w+\.)*(\w+)'>")


class Call(NamedTuple):
    """A call that stands in a text: `Cfg(k=2)`, `datetime.date(2025, 1, 2)`."""

    name: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.name}(...)"

    def __hash__(self) -> int:
        return hash(self.name)


class Name(NamedTuple):
    """A name that stands in a text: `Colour.BLUE`."""

    path: str

    def __str__(self) -> str:
        return self.path


def data_of(said: Any) -> Any:
    """The data in a text; other values, and texts without data, as they are.

    >>> data_of('{"a": true}'), data_of("{1: (2, 3)}"), data_of("Cfg(k=2)"), data_of("two words")
    ({'a': True}, {1: (2, 3)}, Call(name='Cfg', arguments=(), named={'k': 2}), 'two words')
    """
    if not isinstance(said, str) or len(said) > _LONGEST:
        return said
    text = said.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    for attempt in dict.fromkeys((text, _CLASS.sub(r"\1", _MEMBER.sub(r"\1", text)))):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an escape that Python does not know is the model's style
                statements = tree_of(attempt).body
            if len(statements) == 1 and isinstance(statements[0], ast.Expr):
                return _value(statements[0].value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError):
            continue
    return said


def _value(node: ast.expr) -> Any:
    """The value of an expression that is data; ValueError for any other."""
    if isinstance(node, ast.Constant) and node.value is not ...:
        return node.value
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return _COLLECTIONS[type(node)](_value(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key): _value(item) for key, item in pairs if key is not None}
    if isinstance(node, (ast.UnaryOp, ast.BinOp)):
        return _signed(node)
    if isinstance(node, ast.Call):
        named = {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg is not None}
        return Call(_path(node.func), tuple(_value(argument) for argument in node.args), named)
    path = _path(node)
    return _NAMES[path] if path in _NAMES else Name(path)


_COLLECTIONS: dict[type[ast.expr], Any] = {ast.List: list, ast.Tuple: tuple, ast.Set: set}


def _signed(node: ast.UnaryOp | ast.BinOp) -> Any:
    """A number with a sign, or a complex number of two parts."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        number = _number(node.operand)
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        left, right = _number(node.left), _number(node.right)
        if isinstance(right, complex) and not isinstance(left, complex):
            return left + right if isinstance(node.op, ast.Add) else left - right
    raise ValueError("no data")


def _number(node: ast.expr) -> Any:
    found = _value(node)
    if isinstance(found, bool) or not isinstance(found, (int, float, complex)):
        raise ValueError("no number")
    return found


def _path(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_path(node.value)}.{node.attr}"
    raise ValueError("no data")


def holds_names(data: Any) -> bool:
    """Whether data read from a text holds names or calls, which mean nothing without a type that knows them."""
    if isinstance(data, (Call, Name)):
        return True
    if isinstance(data, dict):
        return any(holds_names(part) for pair in data.items() for part in pair)
    return isinstance(data, (list, tuple, set)) and any(holds_names(item) for item in data)
