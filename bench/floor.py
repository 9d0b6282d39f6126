"""The floor that the tape is measured against: the least Python that records a graph at all.

`Floor` keeps a value, its inputs and an operator name, and walks back over them, as micrograd does.
`probe_call` does by hand what a traced call of a two-argument function must do, and nothing else.
"""

from __future__ import annotations

import itertools
from typing import Any


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


class Probe:
    """What a traced call must keep: value, function, named inputs, a unique number, room for feedback."""

    __slots__ = ("__weakref__", "data", "feedback", "function", "inputs", "number")

    def __init__(self, data: Any, function: Any, inputs: dict[str, Any]) -> None:
        self.data = data
        self.function = function
        self.inputs = inputs
        self.number = next(_COUNTER)
        self.feedback = None


def probe_call(function: Any, x: Any, y: Any) -> Probe:
    """A traced call of `function(x, y)` on two probes, written by hand."""
    inputs = {}
    for name, value in (("x", x), ("y", y)):
        inputs[name] = value if isinstance(value, Probe) else Probe(value, None, {})
    try:
        result = function(*[probe.data for probe in inputs.values()])
    except Exception as error:
        raise RuntimeError(f"{function.__name__} failed: {error}") from error
    return Probe(result, function, inputs)
