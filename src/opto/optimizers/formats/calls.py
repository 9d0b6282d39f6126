"""One line a call: the recorded run, with values inline, as much of it as a token budget holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from opto.cost import estimate_tokens
from opto.optimizers.problem.folding import Line, Story, fold, identity
from opto.optimizers.problem.problem import Call, Given, Part, Problem
from opto.show import cut_middle, fenced, function_label, one_line, show, text_of

__all__ = ["CallTexts", "CallsText", "feedback_text", "render_calls"]

_LONGEST, _SHORTEST = 100, 32  # characters of a value, by how many lines there are to show
_RESULT = 240  # characters of a returned value, at most
_SHORT = 24  # values up to this length are repeated wherever they are used
_INLINE_FEEDBACK = 160
_CROWD = 24  # with more lines than this an earlier result stands by its value alone, without its name
_ARGUMENTS = 800  # characters of all arguments of a call
_MANY = 20  # arguments at each end of a call that has more than twice as many
_GAP = ""  # the key of the note between them
_MISFITS = 20  # so many lines that no longer fit: the rest is not tried
_LIKE_OURS = re.compile(r"\s*(?:#|`{3}|~{3}|</?\w|Feedback:|Left out |must satisfy:|[\w.]+ \([\w.]+\):|.{0,200}\) -> )")
_STAR = re.compile(r"args_\d+")


class CallsText(NamedTuple):
    """The run as text; `with_feedback` names the outputs whose feedback stands in the lines."""

    notes: str
    lines: str
    left_out: str
    with_feedback: frozenset[str]


class CallTexts:
    """Writes calls as lines, with the feedback on outputs where it is short and there are several.

    `named` are the calls that other lines refer to (None: not known yet); only they need their name. A
    long value that was given gets its name where it is first shown, and only the name after that.
    `hidden` are calls that are not shown, so that their values must be. `limit` cuts values.
    """

    def __init__(self, problem: Problem, story: Story, limit: int) -> None:
        self.parts: dict[str, Part] = {part.name: part for part in problem.parts}
        self.given = problem.given
        self.outcomes = {outcome.name for outcome in problem.outcomes}
        self.feedback = _inline_feedback(problem) if len(problem.outcomes) > 1 else dict[str, str]()
        self.values = story.calls
        self.alias = story.alias
        self.limit = limit
        self.crowded = len(story.lines) > _CROWD
        self.hidden: set[str] = set()
        self.named: set[str] | None = None
        self.mentioned: set[str] = set()
        self.uses = Counter(ref for line in story.lines for _, ref in line.call.inputs if ref in self.given)
        self.headers = _headers(story, problem.given)
        codes: Iterable[Part | Given] = (*self.parts.values(), *self.given.values())
        found = {code.name: function_label(code.value) or code.name for code in codes if code.is_code}
        seen = Counter(found.values())
        self.labels = {name: label if seen[label] == 1 else f"{name}.{label}" for name, label in found.items()}
        """The name of the function that each code value defines; where names repeat, the name of the part before it."""

    def text(self, line: Line) -> str:
        """The line for a call, a folded call or a chain: `add0(1, 2) -> 3`, the call of add whose value is add0.

        `y0 = add(1, 2) -> 3` where the names differ. A call that nothing refers to has no number.
        """
        if line.chain:
            return self._chain(line)
        call = line.call
        label, arguments = self.applied(call)
        if self.named is not None and call.name not in self.named:
            head = f"{label}({arguments})"
        elif call.name.startswith(label) and call.name[len(label) :].isdigit():
            head = f"{call.name}({arguments})"
        else:
            head = f"{call.name} = {label}({arguments})"
        times = f"  ({line.count} times)" if line.count > 1 else ""
        feedback = self.feedback.get(call.name)
        return f"{head} -> {self.result(call)}{times}" + ("" if feedback is None else f" | {feedback}")

    def applied(self, call: Call, previous: str | None = None) -> tuple[str, str]:
        """(the function's name, the arguments); the node `previous` is written as `<previous>`."""
        label = call.function
        header = self.headers.get(call.function)
        written: list[str] = []
        inputs = call.inputs
        if len(inputs) > 2 * _MANY:
            inputs = *inputs[:_MANY], (_GAP, f"…{len(inputs) - 2 * _MANY} more…"), *inputs[-_MANY:]
        for key, ref in inputs:
            if key == "__code" and ref in self.labels:
                label = self.labels[ref]
            elif key == _GAP:
                written.append(ref)
            elif not (key == "self" and ref in self.given) and not (header and key in header.constants):
                value = "<previous>" if ref == previous else self._argument(ref, call.is_operator)
                bare = call.is_operator or header is not None or _STAR.fullmatch(key)
                written.append(value if bare else f"{key}={value}")
        return label, cut_middle(", ".join(written), _ARGUMENTS)

    def result(self, call: Call) -> str:
        """The value or the error of a call; a long result that has feedback is shown beside the feedback."""
        if call.is_error:
            return f"ERROR {cut_middle(one_line(text_of(call.value)), _RESULT)}"
        if call.name not in self.outcomes:
            return show(call.value, min(_RESULT, 2 * self.limit))
        text = show(call.value, _RESULT)
        return text if call.name in self.feedback or len(text) <= 2 * _SHORT else "(see the result)"

    def _argument(self, ref: str, by_operator: bool) -> str:
        if ref in self.parts:
            return ref
        if ref in self.given:
            return self._given(ref)
        shown = self.alias.get(ref, ref)
        call = self.values[ref]
        if shown in self.hidden:
            return show(call.value, self.limit)
        value = "" if by_operator else show(call.value, _SHORT + 1)
        short = 0 < len(value) <= _SHORT
        if short and (self.crowded or isinstance(call.value, str)):
            return value  # texts are told apart by themselves
        self.mentioned.add(shown)
        return f"{value} @{shown}" if short else shown

    def _given(self, ref: str) -> str:
        if ref in self.mentioned:
            return ref
        text = show(self.given[ref].value, self.limit)
        if len(text) <= _SHORT or self.uses[ref] < 2:
            return text
        self.mentioned.add(ref)
        return f"{text} @{ref}"

    def _chain(self, line: Line) -> str:
        first, second, last = line.chain[0], line.chain[1], line.chain[-1]
        label, each = self.applied(second, previous=first.name)
        values = [show(call.value, _SHORT) for call in (*line.chain[:3], last)]
        return (
            f"{first.name} … {last.name}: {len(line.chain)} calls, first {label}({self.applied(first)[1]}), "
            f"then {label}({each}) -> {', '.join(values[:3])}, …, {values[3]}"
        )


def feedback_text(feedback: str) -> str:
    """The feedback, fenced where one of its lines could be taken for a line of the prompt."""
    lines = feedback.splitlines()
    if len(lines) > 1 and any(_LIKE_OURS.match(line) for line in lines[1:]):
        return f"Feedback:\n{fenced(feedback)}"
    return f"Feedback: {feedback}"


def _inline_feedback(problem: Problem) -> dict[str, str]:
    """The feedback on each output that is one short line and so stands in the line of the output."""
    found: dict[str, str] = {}
    for outcome in problem.outcomes:
        text = text_of(outcome.feedback)
        if len(text.splitlines()) < 2 and len(text) <= _INLINE_FEEDBACK:
            found[outcome.name] = text
    return found


@dataclass(slots=True)
class _Header:
    """How the program's own function is called: its arguments, and which of them never change."""

    keys: tuple[str, ...]
    constants: dict[str, str]
    description: str | None
    calls: int = 0


def _headers(story: Story, given: Mapping[str, Given]) -> dict[str, _Header]:
    """The headers of functions that are always called with the same arguments' names."""
    found: dict[str, _Header] = {}
    uneven: set[str] = set()
    for call in [call for line in story.lines for call in line.chain or (line.call,)]:
        if call.is_operator or call.function == "eval" or call.is_error:
            continue
        keys = tuple(key for key, _ in call.inputs)
        header = found.get(call.function)
        if header is None:
            constants = {key: ref for key, ref in call.inputs if key != "__code"}
            header = found[call.function] = _Header(keys, constants, call.description)
        if header.keys != keys:
            uneven.add(call.function)
        header.calls += 1
        for key, ref in call.inputs:
            kept = header.constants.get(key)
            if kept is None:
                continue
            if ref not in given or kept not in given or identity(given[ref].value) != identity(given[kept].value):
                del header.constants[key]
    for header in found.values():
        if header.calls < 2:
            header.constants = {}
    starred = {name for name, header in found.items() if any(_STAR.fullmatch(key) for key in header.keys)}
    return {name: header for name, header in found.items() if name not in uneven | starred}


def _function_notes(texts: CallTexts, budget: int) -> str:
    """`call_llm(system='…', query): what it does` for each of the program's own functions."""
    notes: list[str] = []
    for name, header in texts.headers.items():
        arguments = [
            f"{key}={show(texts.given[header.constants[key]].value, 160)}" if key in header.constants else key
            for key in header.keys
            if not (key == "self" and key in header.constants)
        ]
        about = next(iter((header.description or "").splitlines()), "").strip()
        note = f"{name}({', '.join(arguments)})" + (f": {cut_middle(about, 160)}" if about else "")
        budget -= estimate_tokens(note)
        if budget >= 0 or header.constants:
            notes.append(note)
    return "\n".join(notes)


def render_calls(problem: Problem, budget: int) -> CallsText:
    """The lines of the run that fit `budget` tokens.

    Kept first: failed calls, calls that use a part, then what stands nearest to the outputs.
    """
    story = fold(problem, max(budget // 4, 100))
    texts = CallTexts(problem, story, max(_LONGEST - len(story.lines), _SHORTEST))
    notes = _function_notes(texts, budget // 5)
    budget -= estimate_tokens(notes)
    chosen = _choose(story.lines, texts, budget)
    written = _write(story.lines, chosen, texts)
    while len(chosen) > 1 and (excess := sum(estimate_tokens(text) + 1 for text in written.values()) - budget) > 0:
        for at in sorted(chosen, key=lambda at: -story.lines[at].rank):
            excess -= estimate_tokens(written[at]) + 1
            chosen.discard(at)
            if excess <= 0:
                break
        written = _write(story.lines, chosen, texts)
    left = story.left_out
    for at, line in enumerate(story.lines):
        if at not in chosen:
            left[line.call.function] += line.count
    shown = {story.lines[at].call.name for at in chosen}
    with_feedback = {name for name in texts.feedback if texts.alias.get(name, name) in shown}
    return CallsText(notes, "\n".join(written.values()), _left_out(left) if left else "", frozenset(with_feedback))


def _choose(lines: list[Line], texts: CallTexts, budget: int) -> set[int]:
    """The places of the lines to show: by rank, as long as there is room."""
    chosen: set[int] = set()
    misfits = 0
    for at in sorted(range(len(lines)), key=lambda at: lines[at].rank):
        cost = estimate_tokens(texts.text(lines[at])) + 1
        if cost <= budget:
            budget -= cost
            chosen.add(at)
            continue
        misfits += 1
        if misfits >= _MISFITS:
            break
    return chosen


def _write(lines: list[Line], chosen: set[int], texts: CallTexts) -> dict[int, str]:
    """The chosen lines in reading order."""
    shown = {call.name for at in chosen for call in (lines[at].chain or (lines[at].call,))}
    texts.hidden = texts.values.keys() - shown - texts.alias.keys()
    texts.mentioned, texts.named = set(), None
    places = sorted(chosen)
    for at in places:  # a first time, to learn which names the lines mention
        texts.text(lines[at])
    texts.named = texts.mentioned | (texts.outcomes - texts.feedback.keys())
    texts.mentioned = set()
    return {at: texts.text(lines[at]) for at in places}


def _left_out(counts: Counter[str]) -> str:
    most = ", ".join(f"{count} {name}" for name, count in counts.most_common(5))
    rest = "" if len(counts) <= 5 else f" and {len(counts) - 5} other functions"
    return f"{sum(counts.values())} calls ({most}{rest})"
