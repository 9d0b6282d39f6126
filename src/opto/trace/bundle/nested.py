"""Graphs inside graphs: what a traceable body is given and what it used without being given it.

Imports: nodes and containers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from opto.trace.containers import NodeContainer, is_bundled, own_attributes
from opto.trace.nodes import Node, ParameterNode
from opto.trace.records import DEPENDS

__all__ = ["detach_inputs", "hidden_parameters", "to_data", "wrap_node"]


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


def hidden_parameters(output: Node[Any], given: Sequence[Node[Any]]) -> frozenset[ParameterNode[Any]]:
    """The parameters that an inner graph reaches other than through the nodes given to it."""
    seen = {id(node) for node in given}
    stack = [output] if id(output) not in seen else []
    found: set[ParameterNode[Any]] = set()
    while stack:
        current = stack.pop()
        if isinstance(current, ParameterNode):
            found.add(current)
        for parent in current._inputs:
            if id(parent) not in seen and parent._flags & DEPENDS:
                seen.add(id(parent))
                stack.append(parent)
    for node in given if found else ():
        found -= node.parameter_dependencies
    return frozenset(found)
