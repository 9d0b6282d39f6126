"""Order and fold the calls of a run so that much of it can be shown in few lines.

Calls are put in the order of stories (what led to the first output, then to the second …), equal
calls are folded into one line, and so are chains where each call works on the one before. Linear in
the size of the run.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from opto.optimizers.problem import Call, Problem

__all__ = ["Line", "fold"]

_CHAIN = 4  # shorter chains are as short when written out
_HASHED = (str, int, float, bool, type(None))


@dataclass(slots=True)
class Line:
    """One line to show: a call, or several that were folded into it.

    `rank` is 0 for what stands nearest to an output; `chain` holds the calls of a chain (else empty);
    `count` is how many calls the line stands for.
    """

    call: Call
    rank: int
    count: int = 1
    chain: tuple[Call, ...] = ()


def fold(problem: Problem) -> tuple[list[Line], dict[str, str]]:
    """The lines of a run in reading order, and for each folded call the name it is shown under."""
    ordered, ranks = _stories(problem)
    lines, alias = _fold_equal(problem, ordered, ranks)
    return _fold_chains(problem, lines, alias), alias


def _stories(problem: Problem) -> tuple[list[Call], dict[str, int]]:
    """Calls with their inputs before them, output by output; and how early each is met walking back."""
    by_name = {call.name: call for call in problem.calls}
    starts = [o.name for o in problem.outcomes if o.name in by_name]
    starts += [call.name for call in reversed(problem.calls)]
    ordered: list[Call] = []
    ranks: dict[str, int] = {}
    for start in starts:
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, finished = stack.pop()
            if finished:
                ordered.append(by_name[name])
            elif name not in ranks:
                ranks[name] = len(ranks)
                stack.append((name, True))
                stack.extend([(ref, False) for _, ref in reversed(by_name[name].inputs) if ref in by_name])
    return ordered, ranks


def _identity(value: Any) -> Hashable:
    return (type(value), value) if isinstance(value, _HASHED) else id(value)


class _Signatures:
    """What makes two calls equal: function, inputs (values of what was given, names of the rest) and result."""

    def __init__(self, problem: Problem, alias: dict[str, str]) -> None:
        self.given = {name: _identity(given.value) for name, given in problem.given.items()}
        self.alias = alias

    def of(self, call: Call, previous: str | None = None) -> tuple[Hashable, ...]:
        inputs: list[Hashable] = []
        for key, ref in call.inputs:
            ref = self.alias.get(ref, ref)
            inputs.append((key, True if ref == previous else self.given.get(ref, ref)))
        return (call.function, *inputs)


def _fold_equal(problem: Problem, ordered: list[Call], ranks: dict[str, int]) -> tuple[list[Line], dict[str, str]]:
    alias: dict[str, str] = {}
    signatures = _Signatures(problem, alias)
    known: dict[Hashable, Line] = {}
    lines: list[Line] = []
    for call in ordered:
        key = (*signatures.of(call), _identity(call.value))
        first = known.get(key)
        if first is None:
            known[key] = line = Line(call, ranks[call.name])
            lines.append(line)
        else:
            first.count += 1
            alias[call.name] = first.call.name
            first.rank = min(first.rank, ranks[call.name])
    return lines, alias


def _fold_chains(problem: Problem, lines: list[Line], alias: dict[str, str]) -> list[Line]:
    signatures = _Signatures(problem, alias)
    result: list[Line] = []
    at = 0
    while at < len(lines):
        end = _chain_end(lines, at, signatures)
        if end - at >= _CHAIN:
            run = lines[at:end]
            calls = tuple(line.call for line in run)
            result.append(Line(calls[-1], min(line.rank for line in run), len(run), calls))
        else:
            result.extend(lines[at:end])
        at = end
    return result


def _chain_end(lines: list[Line], at: int, signatures: _Signatures) -> int:
    """The end of the chain that starts at `at`: every later call is the same but for working on the one before."""
    end, shape = at + 1, None
    while end < len(lines) and lines[end].count == lines[at].count == 1:
        before, call = lines[end - 1].call, lines[end].call
        if call.function != before.function or all(ref != before.name for _, ref in call.inputs):
            break
        new = signatures.of(call, before.name)
        if shape is not None and new != shape:
            break
        end, shape = end + 1, new
    return end
