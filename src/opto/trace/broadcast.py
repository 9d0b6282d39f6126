"""Applying an operator to whole structures: lists, dicts, tuples and containers of nodes, item by item.

May import: the standard library, `nodes`, `containers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opto.trace.containers import RESERVED, NodeContainer, is_bundled, own_attributes
from opto.trace.nodes import Node

__all__ = ["apply_op", "recursive_conversion"]


def apply_op(op: Callable[..., Any], output: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls `op` on the nodes at the same place in all inputs and puts the results into `output`, a template.

    The inputs that are not nodes have exactly `output`'s type, and lists its length (AssertionError otherwise); a node
    takes part at every place. Leaves that are no nodes stay as they are in `output`. Returns `output`, tuples anew.

    >>> from opto.trace import node, operators
    >>> [n.data for n in apply_op(operators.add, [None, None], [node(1), node(2)], node(10))]
    [11, 12]
    """
    inputs = (*args, *kwargs.values())
    if inputs and all(isinstance(given, Node) for given in inputs):
        return op(*args, **kwargs)
    for given in inputs:
        assert isinstance(given, Node) or type(given) is type(output), (
            f"apply_op combines structures of one type: output is a {type(output).__name__}, "
            f"an input a {type(given).__name__}"
        )
    parts = _parts(output)
    if parts is None:
        return output
    for given in inputs:
        assert isinstance(given, Node) or not isinstance(output, Sequence) or len(given) == len(output), (
            f"apply_op combines lists of one length: output has {len(output)} items, an input {len(given)}"
        )
    results = {
        key: apply_op(
            op, part, *[_part(given, key) for given in args], **{name: _part(x, key) for name, x in kwargs.items()}
        )
        for key, part in parts.items()
    }
    return _filled(output, results)


def recursive_conversion(
    true_func: Callable[[Any], Any], false_func: Callable[[Any], Any] | None = None
) -> Callable[[Any], Any]:
    """A function that maps the nodes inside a structure by `true_func` and its other leaves by `false_func`.

    It goes into tuples, lists, dict values, sets and the attributes of containers, which are changed in place; the
    others are made anew.

    >>> from opto.trace import node
    >>> recursive_conversion(lambda n: n.data)([node(1), {"a": node(2)}, "b"])
    [1, {'a': 2}, 'b']
    """
    other = false_func or (lambda leaf: leaf)

    def convert(value: Any) -> Any:
        if isinstance(value, Node):
            return true_func(value)
        if isinstance(value, set):
            return {convert(item) for item in value}
        parts = _parts(value)
        if parts is None:
            return other(value)
        results = {key: convert(part) for key, part in parts.items()}
        return type(value)(results.values()) if type(value) is list else _filled(_fresh(value), results)

    return convert


def _parts(structure: Any) -> Mapping[Any, Any] | None:
    """The parts of a structure by index, key or attribute; None for a leaf."""
    if isinstance(structure, list | tuple):
        return dict(enumerate(structure))
    if isinstance(structure, dict):
        return structure
    if not isinstance(structure, NodeContainer) or is_bundled(structure):
        return None
    return {name: value for name, value in own_attributes(structure).items() if not name.startswith(RESERVED)}


def _part(given: Any, key: Any) -> Any:
    """What an input has at one place; a node is itself everywhere."""
    if isinstance(given, Node):
        return given
    return own_attributes(given)[key] if isinstance(given, NodeContainer) else given[key]


def _fresh(structure: Any) -> Any:
    return dict(structure) if type(structure) is dict else structure


def _filled(output: Any, results: Mapping[Any, Any]) -> Any:
    """`output` with its parts replaced."""
    if isinstance(output, tuple):
        return type(output)(*results.values()) if hasattr(output, "_fields") else type(output)(results.values())
    for key, value in results.items():
        if isinstance(output, NodeContainer):
            setattr(output, key, value)
        else:
            output[key] = value
    return output
