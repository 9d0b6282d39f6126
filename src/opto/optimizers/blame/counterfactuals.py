"""Which part is at fault, told from one run: what the score would have been, had one value been another.

A part that does not lead to the output has no share. That of any other is the best gain that a counterfactual value
of it, or of a call that it went into, makes when only what depends on that value is run again, without any paid
call. The shares of those that could be tried add up to one; `Blame.untried` says why others could not.

This looks inside one run; `from_runs.py` judges by many runs and needs no replay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opto.errors import BudgetExceeded, RunTimeoutError
from opto.show import text_of
from opto.trace.bundle.function import FunModule
from opto.trace.nodes import Node, ParameterNode, ancestors_by_level
from opto.trace.replay import CannotReplay, Recorded, replay

__all__ = ["Blame", "estimate_blame"]

_SHOWN = 5
_ENDS_THE_RUN = (BudgetExceeded, RunTimeoutError)


@dataclass(frozen=True, slots=True)
class Blame:
    """Shares by name of the part, largest first; they are all 0 if no counterfactual value did better."""

    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    untried: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        """The parts with the largest shares, as a prompt shows them."""
        guilty = [(name, share) for name, share in self.shares.items() if share > 0]
        return ", ".join(f"{name} ({share:.0%})" for name, share in guilty[:_SHOWN])


def estimate_blame(
    output: Node[Any],
    parameters: Iterable[ParameterNode[Any]],
    alternatives: Mapping[Node[Any], Sequence[Any]],
    score: Callable[[Any], float],
    free: Iterable[FunModule] = (),
    runs: Iterable[Node[Any]] = (),
) -> Blame:
    """How much of the fault at `output` is each parameter's, by counterfactual values of nodes before it.

    `alternatives` gives values to try, of a parameter or of a call that it went into; `score` judges outputs, higher
    is better; `free` are bundled functions that may be run again, because they pay for nothing and change nothing.
    `runs` are outputs of other runs: what another function gave there it is taken to give again for the same inputs.
    A counterfactual that fails is no gain; an exhausted budget and the end of the run's time propagate.

    >>> from opto.trace import node
    >>> x, y, z = (node(1, name=name, trainable=True) for name in "xyz")
    >>> blame = estimate_blame(x * 2 + y, [x, y, z], {x: [5], y: [2]}, lambda value: -abs(value - 11))
    >>> str(blame), sorted(blame.shares)
    ('x0 (89%), y0 (11%)', ['x0', 'y0'])
    """
    free, recorded = list(free), Recorded(runs)
    before = score(output._data)
    past = ancestors_by_level(output, 0)
    gains: dict[str, float] = {}
    untried: dict[str, str] = {}
    for parameter in parameters:
        readers = [call for call in past if any(parent is parameter for parent in call._inputs)]
        if not readers and output is not parameter:
            continue
        places: list[Node[Any]] = [parameter, *readers]
        tries = [{place: value} for place in places for value in alternatives.get(place, ())]
        found, reason = _gains(tries, lambda changed: score(replay(output, changed, free, recorded)) - before)
        if found:
            gains[parameter.py_name] = max(0.0, *found)
        else:
            untried[parameter.py_name] = reason
    return Blame(_shares(gains), untried)


def _shares(gains: Mapping[str, float]) -> dict[str, float]:
    """Gains as shares of their sum, the largest first."""
    if math.inf in gains.values():  # what failed before no longer does: beside that, no finite gain counts
        gains = {name: float(gain == math.inf) for name, gain in gains.items()}
    total = sum(gains.values())
    ordered = sorted(gains.items(), key=lambda item: -item[1])
    return {name: gain / total if total else 0.0 for name, gain in ordered}


def _gains(
    tries: Iterable[dict[Node[Any], Any]], gain: Callable[[dict[Node[Any], Any]], float]
) -> tuple[list[float], str]:
    """The gain of each counterfactual that can be tried, and the reason of the last one that cannot."""
    found: list[float] = []
    reason = "no other value of it is known"
    for changed in tries:
        try:
            found.append(gain(changed))
        except CannotReplay as error:
            reason = text_of(error)
        except Exception as error:  # noqa: BLE001 - the calls are the user's; one that fails did no better
            if (end := _end_of_run(error)) is not None:
                raise end from (None if end is error else error)
            found.append(0.0)
            reason = text_of(error)
    return found, reason


def _end_of_run(error: BaseException | None) -> BaseException | None:
    """The error that ends a whole run, if it is this one or behind this one; else None."""
    while error is not None and not isinstance(error, _ENDS_THE_RUN):
        error = error.__cause__ or error.__context__
    return error
