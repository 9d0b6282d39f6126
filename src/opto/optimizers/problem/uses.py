"""One part at a time: how a part was used in the recorded runs, read off a problem. Pure.

A small model does best when it is shown one part, the calls that read it, what became of the values they
returned, and what the feedback said.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from opto.llm.base import LLM
from opto.optimizers.problem.problem import Call, Outcome, Part, Problem
from opto.show import function_label, one_line, show, text_of

__all__ = [
    "Focus",
    "PartUse",
    "PastValue",
    "inset",
    "likely_parts",
    "reaches_model",
    "receivers",
    "repeated",
    "use_text",
    "uses_of",
]

_WORD = re.compile(r"[^\W_]+")
_OF_MODELS = re.compile(
    r"llm|gpt|chat|prompt|instruction|messages|language model|(?:\b|_)ask|(?:ask|call|query)_?\w*model"
)
_VALUE, _ARGUMENT = 300, 200
_MANY = 8


class PastValue(NamedTuple):
    """A value that was tried before and not kept, and the feedback on it."""

    value: Any
    feedback: str


@dataclass(frozen=True, slots=True)
class Focus:
    """The subject of the next proposals: the part of that name, and the values tried for the part.

    `tried` is in order, the latest last. `seed` makes sampling repeatable where the server honours seeds.
    `start` is shown instead of the part's present value: a fresh start where the present one leads nowhere.
    """

    part: str
    tried: tuple[PastValue, ...] = ()
    seed: int | None = None
    start: Any = None


@dataclass(frozen=True, slots=True)
class PartUse:
    """A call that read the part, the call that its value went to, and the output that it led to."""

    call: Call
    arguments: tuple[tuple[str, Any], ...]
    then: Call | None
    outcome: Outcome | None


def likely_parts(problem: Problem) -> Iterator[Part]:
    """The parts: blamed ones first, then those whose use failed, those used near the outputs, the others."""
    parts = {part.name: part for part in problem.parts}
    for name, share in problem.blame.items():
        if share > 0 and name in parts:
            yield parts.pop(name)
    failed = [call for call in problem.calls if call.is_error]
    for call in chain(reversed(failed), reversed(problem.calls)):
        for _, ref in call.inputs:
            part = parts.pop(ref, None)
            if part is not None:
                yield part
    yield from parts.values()


def reaches_model(problem: Problem, part: str) -> bool:
    """Whether a function that asks a language model takes the text of the part, as it is or joined with others.

    Such are `call_llm`, functions that are given a model, and those whose name, arguments or documentation say so.
    """
    readers: dict[str, list[Call]] = defaultdict(list)
    for call in problem.calls:
        for _, ref in call.inputs:
            readers[ref].append(call)
    ahead, seen = [part], {part}
    for name in ahead:  # grows while walked
        for call in readers.get(name, ()):
            joins = call.is_operator or call.function == "format"
            if not joins and _asks_model(call, problem):
                return True
            if joins and call.name not in seen:
                seen.add(call.name)
                ahead.append(call.name)
    return False


def _asks_model(call: Call, problem: Problem) -> bool:
    words = " ".join([call.function, *(key for key, _ in call.inputs), call.description or ""])
    given = (problem.given[ref].value for _, ref in call.inputs if ref in problem.given)
    return _OF_MODELS.search(words.lower()) is not None or any(isinstance(value, LLM) for value in given)


def uses_of(problem: Problem, part: str) -> tuple[PartUse, ...]:
    """The calls that read the part, in the order of their outcomes."""
    readers: dict[str, list[Call]] = defaultdict(list)
    for call in problem.calls:
        for ref in {ref for _, ref in call.inputs}:
            readers[ref].append(call)
    outcomes = {outcome.name: outcome for outcome in problem.outcomes}
    order = {name: i for i, name in enumerate(outcomes)}
    values = {name: given.value for name, given in problem.given.items()}
    values.update((known.name, known.value) for known in problem.parts)
    values.update((known.name, known.value) for known in problem.calls)
    hidden = problem.code_names | {part}
    found: list[PartUse] = []
    for call in readers[part]:
        arguments = tuple((key, values.get(ref)) for key, ref in call.inputs if ref not in hidden)
        then = min(readers[call.name], key=lambda reader: reader.level, default=None)
        found.append(PartUse(call, arguments, then, _outcome(call, readers, outcomes)))
    found.sort(key=lambda use: order.get(use.outcome.name, len(order)) if use.outcome else len(order))
    return _without_constants(found)


def _outcome(call: Call, readers: Mapping[str, list[Call]], outcomes: Mapping[str, Outcome]) -> Outcome | None:
    """The nearest output that the call's value reaches."""
    seen = {call.name}
    queue = [call]
    for reached in queue:  # grows while walked: breadth first
        if reached.name in outcomes:
            return outcomes[reached.name]
        fresh = [reader for reader in readers.get(reached.name, ()) if reader.name not in seen]
        seen.update(reader.name for reader in fresh)
        queue.extend(fresh)
    return None


def _without_constants(uses: list[PartUse]) -> tuple[PartUse, ...]:
    """Arguments that are the same in every use (the agent itself, a system prompt) tell nothing: leave them out."""
    if not uses:
        return ()
    names = [name for name, _ in uses[0].arguments]
    varying = {n for n in names if len({show(dict(use.arguments).get(n), _ARGUMENT) for use in uses}) > 1}
    keep = varying or {n for n in names if _plain(dict(uses[0].arguments)[n])}
    return tuple(
        PartUse(use.call, tuple(pair for pair in use.arguments if pair[0] in keep), use.then, use.outcome)
        for use in uses
    )


def _plain(value: Any) -> bool:
    return getattr(type(value), "__repr__", None) != object.__repr__


# --- texts ---


def use_text(use: PartUse, part: Part, problem: Problem) -> str:
    """The use in one line, and the feedback on it below."""
    named = [f"{name}={show(value, _ARGUMENT)}" for name, value in use.arguments]
    if part.is_code:
        head = f"{function_label(part.value) or use.call.function}({', '.join(named)})"
    else:
        head = " and ".join(show(value, _ARGUMENT) for _, value in use.arguments) or use.call.function
    lines = [f"{head} -> {_result(use.call)}"]
    if use.then is not None:
        lines[0] += f"; then {_label(use.then, problem)}({_passed(use)}) -> {_result(use.then)}"
    outcome = use.outcome
    if outcome is not None:
        if outcome.name not in (use.call.name, use.then.name if use.then else ""):
            lines.append(f"  In the end: {show(outcome.value, _VALUE)}")
        lines.append(f"  Feedback: {inset(text_of(outcome.feedback)[:_VALUE])}")
    return "\n".join(lines)


def inset(text: str) -> str:
    """The text with its later lines set in, so that none of them begins as a line of the prompt does."""
    return "\n    ".join(text.splitlines())


def _result(call: Call) -> str:
    return f"error: {one_line(text_of(call.value))[:_VALUE]}" if call.is_error else show(call.value, _VALUE)


def _passed(use: PartUse) -> str:
    then = use.then
    assert then is not None  # asked only where there is a next call
    mine = [key for key, ref in then.inputs if ref == use.call.name]
    return ", ".join(f"{key}={show(use.call.value, _ARGUMENT)}" for key in mine)


def _label(call: Call, problem: Problem) -> str:
    code = _code_of(call, problem)
    return (function_label(code) if code else None) or call.function


def _code_of(call: Call, problem: Problem) -> str | None:
    """The source of the function that a call ran, where it is known."""
    for _, ref in call.inputs:
        source = problem.part(ref) or problem.given.get(ref)
        if source is not None and source.is_code and isinstance(source.value, str):
            return source.value
    return None


def receivers(uses: Iterable[PartUse], problem: Problem) -> tuple[str, ...]:
    """The sources of the functions that the values of the part go to, each once."""
    found = [_code_of(use.then, problem) for use in uses if use.then is not None]
    return tuple(dict.fromkeys(code for code in found if code))[:_MANY]


def repeated(text: str, feedback: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The runs of words of `text` that the feedback repeats, and those that it does not.

    >>> repeated("It is Manuel.", "Expected 'Hola, Manuel!'")
    (('Manuel',), ('It is',))
    """
    known = {word.lower() for word in _WORD.findall(feedback)}
    runs: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    last: bool | None = None
    for word in _WORD.finditer(text):
        inside = word.group().lower() in known
        if inside is last:
            runs[inside][-1] = (runs[inside][-1][0], word.end())
        else:
            runs[inside].append((word.start(), word.end()))
        last = inside
    said, unsaid = (tuple(text[a:b] for a, b in runs[key]) for key in (True, False))
    return said, unsaid
