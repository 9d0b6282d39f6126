"""Order and fold the calls of a run so that much of it can be shown in few lines.

Calls are put in the order of stories (what led to the first output, then to the second …), equal
calls are folded into one line, and so are chains where each call works on the one before. Of a long run
only the calls nearest to the outputs are looked at, with those that failed or use a part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opto.optimizers.problem.problem import Call, Given, Problem

__all__ = ["Line", "Story", "fold", "identity"]

_CHAIN = 4  # shorter chains are as short when written out
_PREVIOUS = True  # stands for the call before in a chain; names are texts and values are pairs
_HASHED = (str, int, float, bool, type(None))


@dataclass(slots=True)
class Line:
    """One line to show: a call, or several that were folded into it.

    `rank` is lowest for what should be kept first; `chain` holds the calls of a chain (else empty);
    `count` is how many calls the line stands for, `inputs` what makes the inputs of two calls equal.
    """

    call: Call
    rank: int
    count: int = 1
    chain: tuple[Call, ...] = ()
    inputs: tuple[tuple[str, Hashable], ...] = ()


@dataclass(slots=True)
class Story:
    """The lines of a run in reading order; `alias` is the name under which a folded call is shown.

    `left_out` counts, by function, the calls that were not looked at; `calls` are all, by name.
    """

    lines: list[Line]
    alias: dict[str, str]
    left_out: Counter[str]
    calls: dict[str, Call]


def fold(problem: Problem, limit: int) -> Story:
    """The story of a run, of at most about `limit` calls before folding."""
    by_name = {call.name: call for call in problem.calls}
    urgent = _urgent(problem, limit // 2)
    near = _visited([o.name for o in problem.outcomes], by_name, limit)
    if len(near) < min(limit, len(by_name)):
        near.update(_visited(reversed(by_name), by_name, limit, near))
    ranks = {name: rank for rank, name in enumerate([*urgent, *(name for name in near if name not in urgent)])}
    ordered = _inputs_first(near, urgent, by_name)
    alias: dict[str, str] = {}
    alone = {o.name: str(o.feedback) for o in problem.outcomes} if len(problem.outcomes) > 1 else dict[str, str]()
    lines = _fold_chains(_fold_equal(ordered, ranks, alias, problem.given, alone), alone)
    left_out = Counter([call.function for call in problem.calls if call.name not in ranks])
    return Story(lines, alias, left_out, by_name)


def _urgent(problem: Problem, limit: int) -> dict[str, None]:
    """Calls that failed, and the last call of each function that uses each part; the first `limit` of them."""
    names = {part.name for part in problem.parts[:limit]}
    failed: dict[str, None] = {}
    users: dict[tuple[str, str], str] = {}
    for name, function, inputs, _, _, _, _, is_error in problem.calls:
        if is_error:
            failed[name] = None
        for _, ref in inputs:
            if ref in names:
                users[function, ref] = name
    return dict.fromkeys([*failed, *users.values()][:limit])


def _visited(starts: Iterable[str], by_name: dict[str, Call], limit: int, seen: Iterable[str] = ()) -> dict[str, None]:
    """The first `limit` calls met walking back from each start in turn, in the order of meeting."""
    met: dict[str, None] = dict.fromkeys(seen)
    for start in starts:
        stack = [start]
        while stack and len(met) < limit:
            name = stack.pop()
            if name not in met and name in by_name:
                met[name] = None
                stack.extend([ref for _, ref in reversed(by_name[name].inputs)])
    return met


def _inputs_first(near: dict[str, None], urgent: dict[str, None], by_name: dict[str, Call]) -> list[Call]:
    """The chosen calls, each after those it works on, story by story."""
    chosen = near.keys() | urgent.keys()
    ordered: list[Call] = []
    seen: set[str] = set()
    far = sorted((name for name in urgent if name not in near), key=lambda name: by_name[name].level)
    for start in (*far, *near):
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, finished = stack.pop()
            if finished:
                ordered.append(by_name[name])
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend([(ref, False) for _, ref in reversed(by_name[name].inputs) if ref in chosen])
    return ordered


def identity(value: Any) -> Hashable:
    """A key that equal values share: type and value of plain values, the id of other objects."""
    return (type(value), value) if isinstance(value, _HASHED) else id(value)


def _fold_equal(
    ordered: list[Call], ranks: dict[str, int], alias: dict[str, str], given: Mapping[str, Given], alone: dict[str, str]
) -> list[Line]:
    """Fold calls of the same function on equal inputs: values of what was given, names of the rest.

    Outputs (those in `alone`, with their feedback) are folded only if the feedback is the same.
    """
    known: dict[Hashable, Line] = {}
    for call in ordered:
        inputs = tuple(
            [(key, identity(given[ref].value) if ref in given else alias.get(ref, ref)) for key, ref in call.inputs]
        )
        same = (call.function, inputs, identity(call.value), alone.get(call.name))
        first = known.get(same)
        if first is None:
            known[same] = Line(call, ranks[call.name], inputs=inputs)
        else:
            first.count += 1
            alias[call.name] = first.call.name
            first.rank = min(first.rank, ranks[call.name])
    return list(known.values())


def _fold_chains(lines: list[Line], alone: dict[str, str]) -> list[Line]:
    result: list[Line] = []
    at = 0
    while at < len(lines):
        end = _chain_end(lines, at, alone)
        if end - at >= _CHAIN:
            run = lines[at:end]
            calls = tuple(line.call for line in run)
            result.append(Line(calls[-1], min(line.rank for line in run), len(run), calls))
        else:
            result.extend(lines[at:end])
        at = end
    return result


def _chain_end(lines: list[Line], at: int, alone: dict[str, str]) -> int:
    """The end of the chain that starts at `at`: every later call is the same but for working on the one before."""
    if lines[at].call.name in alone:
        return at + 1
    end, shape = at + 1, None
    while end < len(lines) and lines[end].count == lines[at].count == 1:
        before, call = lines[end - 1].call, lines[end].call
        if call.function != before.function or call.name in alone:
            break
        new = [(key, _PREVIOUS if what == before.name else what) for key, what in lines[end].inputs]
        if new == list(lines[end].inputs) or shape not in (None, new):
            break
        end, shape = end + 1, new
    return end
