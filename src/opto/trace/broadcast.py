"""Work on whole structures, item by item: operators on lists, dicts, tuples and containers of nodes; values for nodes.

May import: the standard library, `nodes`, `containers`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opto.trace.containers import NodeContainer, is_bundled, own_attributes, users_attributes
from opto.trace.nodes import Node

__all__ = ["apply_op", "detach_inputs", "recursive_conversion", "to_data", "wrap_node"]


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
    return users_attributes(structure)


def _part(given: Any, key: Any) -> Any:
    """The part of an input at one place; a node is itself everywhere."""
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


# --- values and copies in the place of nodes ----------------------------------------------------


def to_data(obj: Any) -> Any:
    """The values inside: nodes are replaced by their data, one level deep, in containers too.

    >>> from opto.trace import node
    >>> to_data([node(1), {"a": node(2)}])
    [1, {'a': 2}]
    """
    return _mapped(obj, lambda n: n.data)


def detach_inputs(obj: Any) -> Any:
    """The same with every node replaced by a detached copy."""
    return _mapped(obj, lambda n: n.detach())


def wrap_node(obj: Any) -> Any:
    """A node as it is, anything else as a fresh node."""
    return obj if isinstance(obj, Node) else Node(obj)


def _mapped(obj: Any, change: Callable[[Node[Any]], Any]) -> Any:
    if isinstance(obj, Node):
        return change(obj)
    if isinstance(obj, tuple):
        items = [_mapped(item, change) for item in obj]
        return type(obj)(*items) if hasattr(obj, "_fields") else tuple(items)
    if isinstance(obj, list):
        return [_mapped(item, change) for item in obj]
    if isinstance(obj, dict):
        return {key: _mapped(item, change) for key, item in obj.items()}
    if isinstance(obj, set):
        return {_mapped(item, change) for item in obj}
    if isinstance(obj, NodeContainer) and not is_bundled(obj):
        twin = copy.copy(obj)
        for name, value in own_attributes(obj).items():
            setattr(twin, name, _mapped(value, change))
        return twin
    return obj
