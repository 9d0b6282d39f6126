"""How nodes, agents and bundled functions go into a sandbox: nodes without their past, agents with their attributes.

Imports nodes and `bundle`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from opto.execution import register_reducer
from opto.program import DEFINE
from opto.trace.abstract_node import AbstractNode
from opto.trace.bundle.function import FunModule
from opto.trace.containers import BOUND_METHOD, ParameterContainer, own_attributes, put_attribute, users_attributes
from opto.trace.nodes import Node, ParameterNode

__all__ = ["register_reducers"]


def register_reducers() -> None:
    """Registers how executors write nodes, bundled functions and containers."""
    register_reducer(AbstractNode, _node)
    register_reducer(FunModule, _bundled)
    register_reducer(ParameterContainer, _container)


def _node(node: Any) -> tuple[Any, ...]:
    return _copied, (isinstance(node, ParameterNode), node._data, node.name.partition(":")[0])


def _copied(parameter: bool, data: Any, name: str) -> Node[Any]:
    kind: Any = ParameterNode if parameter else Node
    made: Node[Any] = kind(data, name=name)
    return made


def _container(container: ParameterContainer) -> tuple[Any, ...]:
    attributes = {**users_attributes(container), **_rewritten_methods(container)}
    return _blank, (type(container),), attributes, None, None, _fill


def _rewritten_methods(container: ParameterContainer) -> dict[str, Any]:
    """The methods whose code an optimizer rewrote, by name."""
    found: dict[str, Any] = {}
    for name, value in own_attributes(container).items():
        parameter = value.parameter if name.startswith(BOUND_METHOD) and isinstance(value, FunModule) else None
        if parameter is not None and value._implementations.for_worker(parameter._data) is not None:
            found[value._attribute] = value
    return found


def _blank(cls: Any) -> Any:
    return cls.__new__(cls)


def _fill(made: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        put_attribute(made, name, value)


def _bundled(bundled: FunModule) -> tuple[Any, ...]:
    receiver = bundled._receiver
    parameter = bundled.parameter
    present = None if parameter is None else bundled._implementations.for_worker(parameter._data)
    if receiver is not None and not isinstance(receiver, type):
        instance = receiver._data if isinstance(receiver, Node) else receiver
        if present is not None:
            return _rewritten_method, (*present, instance)
        return getattr, (instance, bundled._attribute)
    return (_itself, (bundled.fun,)) if present is None else (_rewritten, present)


def _rewritten(code: FunctionType, name: str, names: dict[str, Any], owner: type | None) -> Callable[..., Any]:
    """In a worker: the function `name` that the text `code` defines, defined anew for each call, as globals change.

    `owner` is the class that its super() starts from.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        around = {**code.__globals__, **names}
        exec(code.__code__, around)
        if owner is not None:
            around.update(around.pop(DEFINE)(owner))
        return around[name](*args, **kwargs)

    return call


def _rewritten_method(code: FunctionType, name: str, names: dict[str, Any], owner: type | None, instance: Any) -> Any:
    return MethodType(_rewritten(code, name, names, owner), instance)


def _itself(value: Any) -> Any:
    return value
