"""Run recorded calls again with other values, to see the output that they would have given.

Operators of the language cost nothing and are run again; of bundled functions only those that the caller names, as
nothing tells which of them pay for a model or change the world. Another function is taken to give the result that it
gave in a recorded run for the same inputs. Nothing is recorded.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from opto.trace.bundle.function import FunModule
from opto.trace.bundle.info import CallInfo
from opto.trace.context import TRACING
from opto.trace.nodes import ExceptionNode, MessageNode, Node, ancestors_by_level
from opto.trace.operators.table import Operator
from opto.trace.records import same_value

__all__ = ["CannotReplay", "Recorded", "replay"]


class CannotReplay(Exception):
    """A call on the way may not be run again; the message names it."""


class Recorded:
    """The results of bundled functions in the runs behind `outputs`."""

    def __init__(self, outputs: Iterable[Node[Any]] = ()) -> None:
        self._calls: dict[int, dict[int, MessageNode[Any]]] = {}
        for output in outputs:
            for node in ancestors_by_level(output, 0):
                derive: Any = node._op.info
                if isinstance(derive, CallInfo) and not isinstance(node, ExceptionNode):
                    self._calls.setdefault(id(derive._function_info), {})[id(node)] = node

    def same_call(self, node: MessageNode[Any], given: list[Any]) -> MessageNode[Any] | None:
        """A call of the function that made `node` with these inputs; None if there was none."""
        derive: Any = node._op.info
        for call in self._calls.get(id(derive._function_info), {}).values():
            if call._op.keys == node._op.keys and all(map(_same, given, (parent._data for parent in call._inputs))):
                return call
        return None


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and same_value(one, other)


def replay(
    output: Node[Any],
    changed: Mapping[Node[Any], Any],
    free: Iterable[FunModule] = (),
    recorded: Recorded | None = None,
) -> Any:
    """The value of `output` had the nodes in `changed` had these values, by running again only what depends on them.

    `free` are the bundled functions that may be run again. CannotReplay if another is in the way that was never
    `recorded` with these inputs; errors of the calls themselves propagate.

    >>> from opto.trace import node
    >>> x = node(2)
    >>> replay((x * 3 + 1) - x, {x: 5}), x.data
    (11, 2)
    """
    values: dict[int, Any] = {id(node): value for node, value in changed.items()}
    known = {id(module._function_info): module for module in free}
    recorded = recorded or Recorded()
    token = TRACING.set(False)
    try:
        for node in reversed(ancestors_by_level(output, 0)):
            if id(node) not in values and any(id(parent) in values for parent in node._inputs):
                given = [values.get(id(parent), parent._data) for parent in node._inputs]
                values[id(node)] = _again(node, given, known, recorded)
    finally:
        TRACING.reset(token)
    return values.get(id(output), output._data)


def _again(node: MessageNode[Any], given: list[Any], known: Mapping[int, FunModule], recorded: Recorded) -> Any:
    derive: Any = node._op.info
    operator = getattr(derive, "__self__", None)
    if isinstance(operator, Operator) and operator.raw and operator.catch:
        return _operator_again(operator, node._op.keys, copy.deepcopy(given))  # `pop` changes what it is given
    module = known.get(id(derive._function_info)) if isinstance(derive, CallInfo) else None
    before = recorded.same_call(node, given) if module is None and isinstance(derive, CallInfo) else None
    if before is not None:
        return before._data
    if module is None or isinstance(node, ExceptionNode):
        raise CannotReplay(f"{node.name} was made by {node._op.fun_name}, which may not be run again.")
    if module.parameter is not None:
        module = module.detach()
        assert module.parameter is not None
        module.parameter._set(given.pop())
    count = derive._given
    keys = node._op.keys
    arguments = dict(zip(keys[count:], given[count:], strict=False))
    defaults = [arguments.pop(name) for name in _nameless(module) if name in arguments]
    made = module(*given[int(module._receiver is not None) : count], *defaults, **arguments)
    return made._data


def _nameless(module: FunModule) -> list[str]:
    """The arguments that a call cannot name, in their order."""
    parameters = inspect.signature(module.fun).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]


def _operator_again(operator: Operator, keys: tuple[str, ...], given: list[Any]) -> Any:
    """The result from other values of the inputs: those of the signature and of `*args` by position, others by name."""
    fixed = set(operator.shape.keys) - {operator._star, operator._stars}
    first: list[Any] = []
    rest: dict[str, Any] = {}
    for key, value in zip(keys, given, strict=True):
        if key in fixed or (operator._star and key.startswith("args_")):
            first.append(value)
        else:
            rest[key.removeprefix("kwargs_") if operator._star else key] = value
    return operator.fun(*first, **rest)
