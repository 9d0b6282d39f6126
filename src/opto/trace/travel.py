"""How nodes and bundled functions go into a sandbox: nodes without their past, functions as they were written.

Imports nodes and `fun_module`.
"""

from __future__ import annotations

from typing import Any

from opto.execution import TRAVELS
from opto.trace.abstract_node import AbstractNode
from opto.trace.fun_module import FunModule
from opto.trace.nodes import Node, ParameterNode

__all__ = ["let_travel"]


def let_travel() -> None:
    """Tells executors how to write nodes and bundled functions."""
    TRAVELS[AbstractNode] = _node
    TRAVELS[FunModule] = _bundled


def _node(node: Any) -> tuple[Any, ...]:
    return _copied, (isinstance(node, ParameterNode), node._data, node.name.partition(":")[0])


def _copied(parameter: bool, data: Any, name: str) -> Node[Any]:
    kind: Any = ParameterNode if parameter else Node
    made: Node[Any] = kind(data, name=name)
    return made


def _bundled(bundled: FunModule) -> tuple[Any, ...]:
    receiver = bundled._receiver
    if receiver is not None and not isinstance(receiver, type):
        instance = receiver._data if isinstance(receiver, Node) else receiver
        return getattr, (instance, bundled._attribute)
    return _same, (bundled.fun,)


def _same(value: Any) -> Any:
    return value
