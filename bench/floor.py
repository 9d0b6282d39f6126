"""The floor that the tape is measured against: the least Python that records a graph at all.

`Floor` keeps a value, its inputs and an operator name, and walks back over them, as micrograd does.
`probe_call` does by hand what a traced call of a function must do, and nothing else.
"""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import Any
from weakref import ref


class Floor:
    """A value that remembers what it was computed from."""

    __slots__ = ("data", "grad", "inputs", "op")

    def __init__(self, data: Any, inputs: tuple[Floor, ...] = (), op: str = "") -> None:
        self.data = data
        self.inputs = inputs
        self.op = op
        self.grad = 0.0

    def __add__(self, other: Any) -> Floor:
        other = other if isinstance(other, Floor) else Floor(other)
        return Floor(self.data + other.data, (self, other), "add")

    def __mul__(self, other: Any) -> Floor:
        other = other if isinstance(other, Floor) else Floor(other)
        return Floor(self.data * other.data, (self, other), "multiply")

    def backward(self) -> None:
        """Topological order by an explicit stack, then one visit per node."""
        order, seen, stack = [], {id(self)}, [(self, iter(self.inputs))]
        while stack:
            node, rest = stack[-1]
            for parent in rest:
                if id(parent) not in seen:
                    seen.add(id(parent))
                    stack.append((parent, iter(parent.inputs)))
                    break
            else:
                order.append(node)
                stack.pop()
        self.grad = 1.0
        for node in reversed(order):
            for parent in node.inputs:
                parent.grad += node.grad


_COUNTER = itertools.count()
_TRACING: ContextVar[bool] = ContextVar("tracing", default=True)
_READ: ContextVar[set[Any] | None] = ContextVar("read", default=None)


class Probe:
    """What a traced call must keep: value, function, inputs and their names, a number, its level, weak children."""

    __slots__ = ("__weakref__", "children", "data", "feedback", "function", "inputs", "level", "names", "number")

    def __init__(self, data: Any, function: Any, names: tuple[str, ...], inputs: tuple[Probe, ...]) -> None:
        self.data = data
        self.function = function
        self.names = names
        self.inputs = inputs
        self.number = next(_COUNTER)
        self.level = 1 + max([probe.level for probe in inputs], default=-1)
        self.feedback = None
        self.children: Any = None
        me = ref(self)
        for probe in inputs:
            probe.children = me


def probe_call(function: Any, *args: Any) -> Any:
    """A traced call, written by hand: reads recorded, errors caught, the result linked unless tracing is off."""
    inputs = tuple([x if isinstance(x, Probe) else Probe(x, None, (), ()) for x in args])
    token = _READ.set(set())
    try:
        result = function(*[probe.data for probe in inputs])
    except Exception as error:
        raise RuntimeError(f"{function.__name__} failed: {error}") from error
    finally:
        _READ.reset(token)
    return Probe(result, function, ("x", "y"), inputs) if _TRACING.get() else result
