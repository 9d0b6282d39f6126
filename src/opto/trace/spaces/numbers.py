"""Numbers in a range."""

from __future__ import annotations

import math
from typing import Any

from opto.errors import SpaceError
from opto.show import text_of
from opto.trace.spaces.space import Space

__all__ = ["Float", "Int"]


class Float(Space):
    """A number from `low` to `high`, both included; with `step` only `low`, `low + step`, …

    `log` tells a sampler that ratios matter, not differences; `low` is then above 0.

    >>> Float(0, 2)(2.5), Float(0, 1, step=0.25)(0.3)
    (2.0, 0.25)
    """

    def __init__(self, low: float, high: float, *, step: float | None = None, log: bool = False) -> None:
        super().__init__()
        _check_range(low, high, step, log)
        self.low, self.high, self.step, self.log = float(low), float(high), step, log
        grid = "" if step is None else f" in steps of {step:g}"
        self.constraint = f"a number from {low:g} to {high:g}{grid}"

    def project(self, x: Any) -> float:
        near = float(min(max(_number(x, self.constraint), self.low), self.high))
        if self.step is None:
            return near
        most = math.floor((self.high - self.low) / self.step + 1e-9)
        return self.low + min(round((near - self.low) / self.step), most) * self.step


class Int(Space):
    """A whole number from `low` to `high`, both included; with `step` only `low`, `low + step`, …

    >>> Int(1, 9)(3.6), Int(0, 100, step=10)(44), Int(1, 9)(-5)
    (4, 40, 1)
    """

    def __init__(self, low: int, high: int, *, step: int = 1, log: bool = False) -> None:
        super().__init__()
        _check_range(low, high, step, log)
        given: list[Any] = [low, high, step]
        if not all(isinstance(x, int) for x in given):
            raise ValueError(f"Int({low}, {high}, step={step}) takes whole numbers: use Float for others.")
        self.low, self.high, self.step, self.log = low, high, step, log
        grid = "" if step == 1 else f" in steps of {step}"
        self.constraint = f"a whole number from {low} to {high}{grid}"

    def project(self, x: Any) -> int:
        near = min(max(_number(x, self.constraint), self.low), self.high)
        if self.step == 1 and isinstance(near, int):
            return int(near)  # exact, however large
        most = (self.high - self.low) // self.step
        return self.low + min(round((near - self.low) / self.step), most) * self.step


def _check_range(low: float, high: float, step: float | None, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"A range goes from a low to a high finite number, not from {low} to {high}.")
    if step is not None and step <= 0:
        raise ValueError(f"A step is above 0, not {step}.")
    if log and low <= 0:
        raise ValueError(f"A logarithmic range starts above 0, not at {low}.")


def _number(x: Any, wanted: str) -> float:
    try:
        number = float(x) if not isinstance(x, (int, float)) else x
    except (TypeError, ValueError) as error:
        raise SpaceError(f"{text_of(x, 60)!r} is not {wanted}") from error
    if isinstance(number, float) and math.isnan(number):
        raise SpaceError(f"NaN is not {wanted}")
    return number
