"""Gradients as feedback: a propagator that carries numbers walks gradient descent to the last digit.

The same programs go through PyTorch where it is installed, and through dual numbers (forward mode, in twenty lines)
always. Python's own branches and loops are part of the programs. Run: python bench/exact_gradients.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oracles import print_table

from opto.trace import node
from opto.trace.propagators import SumPropagator

Program = Callable[[Any], Any]
SLOPES: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "add": lambda a, b: (1, 1),
    "subtract": lambda a, b: (1, -1),
    "multiply": lambda a, b: (b, a),
    "divide": lambda a, b: (1 / b, -a / (b * b)),
}


def slopes_propagator() -> SumPropagator:
    """Reverse mode: each input gets what its output got, times the slope."""
    propagator = SumPropagator()
    for operator, slopes in SLOPES.items():
        propagator.register(operator, lambda child, slopes=slopes: _shares(child, slopes))
    return propagator


def _shares(child: Any, slopes: Callable[[float, float], tuple[float, float]]) -> dict[Any, float]:
    total = sum(item for items in child.feedback.values() for item in items)
    parents = list(child.inputs.values())
    shares = dict.fromkeys(parents, 0.0)
    for parent, slope in zip(parents, slopes(*(parent.data for parent in parents)), strict=True):
        shares[parent] += total * slope
    return shares


@dataclass(frozen=True)
class Dual:
    """A number with its derivative: the independent check."""

    value: float
    slope: float = 0.0

    def _with(self, other: Any, operator: str, value: float) -> Dual:
        left, right = SLOPES[operator](self.value, other.value)
        return Dual(value, left * self.slope + right * other.slope)

    def __add__(self, other: Any) -> Dual:
        return self._with(dual(other), "add", self.value + dual(other).value)

    def __sub__(self, other: Any) -> Dual:
        return self._with(dual(other), "subtract", self.value - dual(other).value)

    def __rsub__(self, other: Any) -> Dual:
        return dual(other) - self

    def __mul__(self, other: Any) -> Dual:
        return self._with(dual(other), "multiply", self.value * dual(other).value)

    def __truediv__(self, other: Any) -> Dual:
        return self._with(dual(other), "divide", self.value / dual(other).value)

    def __lt__(self, other: Any) -> bool:
        return self.value < dual(other).value


def dual(x: Any) -> Dual:
    return x if isinstance(x, Dual) else Dual(x)


# --- the programs: what to make small, and where to start ---


def bend(x: Any) -> Any:
    """x²/2, and an eighth less steep once x is below 1.25."""
    y = x * x / 2
    return y - (1.25 - x) / 8 if x < 1.25 else y


def quartic(x: Any) -> Any:
    return (x - 1) * (x - 1) * (x - 1) * (x - 1) + x * x / 4


def fraction(x: Any) -> Any:
    return (x * x + 3) / (x + 1)


def looped(x: Any) -> Any:
    """A loop that ends when the data say so."""
    y = x
    while y < 6:
        y = y * x + 1
    return (y - 8) * (y - 8) / 100


PROGRAMS: dict[Program, float] = {bend: 2.0, quartic: 2.0, fraction: 3.0, looped: 1.9}
RATE = 0.25


def descend(program: Program, slope_at: Callable[[Program, float], float], steps: int) -> list[float]:
    """The path of gradient descent."""
    path = [PROGRAMS[program]]
    for _ in range(steps):
        path.append(path[-1] - RATE * slope_at(program, path[-1]))
    return path[1:]


def traced(program: Program, x: float) -> float:
    leaf: Any = node(x, name="x", trainable=True)
    program(leaf).backward(1.0, propagator=slopes_propagator())
    return float(sum(item for items in leaf.feedback.values() for item in items))


def forward(program: Program, x: float) -> float:
    return float(program(Dual(x, 1.0)).slope)


def torch_slope() -> Callable[[Program, float], float] | None:
    try:
        import torch
    except ImportError:
        return None

    def slope(program: Program, x: float) -> float:
        leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        program(leaf).backward()
        return float(leaf.grad.item())  # type: ignore[union-attr]

    return slope


def measure(steps: int = 50) -> list[list[object]]:
    """For each program: its first points, and the largest distance between the paths."""
    theirs = torch_slope()
    rows: list[list[object]] = []
    for program in PROGRAMS:
        ours = descend(program, traced, steps)
        checks = [forward, *([theirs] if theirs else [])]
        apart = [max(abs(a - b) for a, b in zip(ours, descend(program, s, steps), strict=True)) for s in checks]
        first = ", ".join(f"{x:.6g}" for x in ours[:3])
        rows.append([program.__name__, first, *apart, *([] if theirs else ["not installed"])])
    return rows


def main() -> None:
    head = ["program", "first points", "apart from dual numbers", "from PyTorch"]
    print_table("gradient descent by propagated numbers, 50 steps", head, measure())


if __name__ == "__main__":
    main()
