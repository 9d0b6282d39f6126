"""One line a call: the recorded run, with values inline, as much of it as a token budget holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from opto.optimizers.folding import Line, fold
from opto.optimizers.problem import Call, Given, Part, Problem, is_code
from opto.optimizers.show import estimate_tokens, show

__all__ = ["CallTexts", "calls_text", "function_label"]

ARGUMENT = 160  # characters of a value among the arguments
RESULT = 240  # characters of a returned value
INLINE = 60  # an earlier result up to this length is repeated where it is used


def function_label(code: object) -> str | None:
    """The name of the function that a code value defines.

    >>> function_label("def greet(name):\\n    return name")
    'greet'
    """
    match = re.search(r"^\s*(?:async\s+)?def\s+(\w+)", str(code), re.MULTILINE)
    return match.group(1) if match else None


class CallTexts:
    """Writes calls as lines; `hidden` are names of calls that are not shown, so that their values must be."""

    def __init__(self, problem: Problem, alias: dict[str, str] | None = None) -> None:
        self.parts: dict[str, Part] = {part.name: part for part in problem.parts}
        self.given = problem.given
        self.results = {call.name: call.value for call in problem.calls}
        self.alias = alias or {}
        self.hidden: set[str] = set()
        self.labels = self._labels()

    def _labels(self) -> dict[str, str]:
        """What a call of each code value is called: the function's name, with the part's where names repeat."""
        codes: Iterable[Part | Given] = [*self.parts.values(), *self.given.values()]
        found = {c.name: function_label(c.value) or c.name for c in codes if is_code(c.name)}
        seen = Counter(found.values())
        return {name: label if seen[label] == 1 else f"{name}.{label}" for name, label in found.items()}

    def text(self, line: Line) -> str:
        """The line for a call, a folded call or a chain."""
        if line.chain:
            return self._chain(line)
        times = f"  (the same {line.count} times)" if line.count > 1 else ""
        return f"{line.call.name} = {self.applied(line.call)} -> {self.result(line.call)}{times}"

    def applied(self, call: Call, previous: str | None = None) -> str:
        """`greet(lang='en')`; the argument that is the node `previous` is written as `<previous>`."""
        label = call.function
        written: list[str] = []
        for key, ref in call.inputs:
            if key == "__code" and ref in self.labels:
                label = self.labels[ref]
            elif not (key == "self" and ref in self.given):
                value = "<previous>" if ref == previous else self._argument(ref, call.is_operator)
                written.append(value if call.is_operator else f"{key}={value}")
        return f"{label}({', '.join(written)})"

    def result(self, call: Call) -> str:
        """What a call returned or raised."""
        return f"ERROR {call.value}" if call.is_error else show(call.value, RESULT)

    def _argument(self, ref: str, by_operator: bool) -> str:
        if ref in self.parts:
            return ref
        if ref in self.given:
            return show(self.given[ref].value, ARGUMENT)
        shown = self.alias.get(ref, ref)
        if shown in self.hidden:
            return show(self.results[ref], ARGUMENT)
        if by_operator:
            return shown
        value = show(self.results.get(ref), INLINE + 1)
        return f"{value} @{shown}" if len(value) <= INLINE else f"@{shown}"

    def _chain(self, line: Line) -> str:
        first, second, last = line.chain[0], line.chain[1], line.chain[-1]
        each = self.applied(second, previous=first.name)
        values = [show(call.value, INLINE) for call in (*line.chain[:3], last)]
        return (
            f"{first.name} … {last.name} = {len(line.chain)} calls, the first {self.applied(first)}, "
            f"each other one {each} -> {', '.join(values[:3])}, …, {values[3]}"
        )


def calls_text(problem: Problem, budget: int) -> tuple[str, str]:
    """(the lines that fit `budget` tokens, what was left out or "").

    Kept first: failed calls, calls that use a part, then what stands nearest to the outputs.
    """
    lines, alias = fold(problem)
    texts = CallTexts(problem, alias)
    chosen = _choose(problem, lines, texts, budget)
    if len(chosen) == len(lines):
        return "\n".join(chosen[at] for at in sorted(chosen)), ""
    shown = {call.name for at in chosen for call in (lines[at].chain or (lines[at].call,))}
    texts.hidden = {call.name for call in problem.calls} - shown - set(alias)
    written = {at: texts.text(lines[at]) for at in chosen}
    left = [line for at, line in enumerate(lines) if at not in chosen]
    total = sum(estimate_tokens(text) + 1 for text in written.values())
    for at in reversed(chosen):
        if total <= budget:
            break
        total -= estimate_tokens(written.pop(at)) + 1
        left.append(lines[at])
    return "\n".join(written[at] for at in sorted(written)), _left_out(left)


def _choose(problem: Problem, lines: list[Line], texts: CallTexts, budget: int) -> dict[int, str]:
    """The lines to show, by place, the most urgent first."""
    users: set[tuple[str, str]] = set()

    def urgency(at: int) -> tuple[int, int]:
        call = lines[at].call
        if call.is_error:
            return 0, lines[at].rank
        uses = {(call.function, ref) for _, ref in call.inputs if ref in texts.parts} - users
        users.update(uses)
        return (1 if uses else 2), lines[at].rank

    by_rank = sorted(range(len(lines)), key=lambda at: lines[at].rank)
    urgencies = {at: urgency(at) for at in by_rank}
    chosen: dict[int, str] = {}
    for at in sorted(by_rank, key=lambda at: urgencies[at]):
        text = texts.text(lines[at])
        cost = estimate_tokens(text) + 1
        if cost > budget:
            if budget < 20:
                break
            continue
        budget -= cost
        chosen[at] = text
    return chosen


def _left_out(lines: list[Line]) -> str:
    counts: Counter[str] = Counter()
    for line in lines:
        counts[line.call.function] += line.count
    most = ", ".join(f"{count} {name}" for name, count in counts.most_common(5))
    rest = "" if len(counts) <= 5 else f" and {len(counts) - 5} other functions"
    return f"{sum(counts.values())} calls ({most}{rest})"
