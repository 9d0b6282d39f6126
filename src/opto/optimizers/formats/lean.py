"""The lean format: how a problem becomes a question to a model, in four shapes of reply.

The text shows the parts that may change, the run in one line a call, each output with its feedback, all within a token
budget. What does not fit is left out, the least useful first (earlier attempts, notes on functions, calls far from the
outputs, repeated outputs, the middle of long texts), and the prompt says what was left out.

A new way to ask is a class with the one method of `Format`, and a row in `FORMATS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from opto.cost import estimate_tokens
from opto.errors import ReplyError
from opto.optimizers.blame import Blame
from opto.optimizers.formats.calls import feedback_text, render_calls
from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.problem import Outcome, Part, Problem
from opto.optimizers.problem.uses import likely_parts
from opto.optimizers.replies.json_replies import CutText
from opto.optimizers.replies.shapes import Suggestion, cut_inside, read_reply
from opto.optimizers.replies.tags_and_fences import read_fence
from opto.show import cut_middle, fenced, function_label, one_line, show, text_of
from opto.syntax import tree_of
from opto.values import convert, schema, shown

__all__ = [
    "FORMATS",
    "ContinuedReplies",
    "Format",
    "JsonReplies",
    "Message",
    "Prompt",
    "SchemaReplies",
    "TaggedReplies",
    "part_text",
    "re_ask",
    "render_lean",
]

_CHARACTERS = 3  # about a token, as `estimate_tokens` counts
_RESULT = 600
_LONGEST = 40_000  # characters of a part
_CUT = 80  # characters that a cut text keeps at least
_LONGEST_FAULT = 2_000
_PAST_VALUE, _PAST_FEEDBACK = 120, 200


def render_lean(problem: Problem, budget: int) -> str:
    """The problem as text of at most about `budget` tokens."""
    left_out: list[str] = []
    objective, known = problem.objective, problem.context or ""
    if objective or known:
        objective, known = _cut_texts((objective, known), budget * 6 // 10, left_out)
    blamed = str(Blame(problem.blame)) if problem.blame else ""
    before = {"Goal": objective, "What else is known": known, "Likely at fault": blamed}
    budget -= estimate_tokens("".join(f"# {title}\n{text}\n" for title, text in before.items() if text)) + 70
    parts = _parts(problem.parts, max(budget * 6 // 10, 50), left_out)
    budget -= estimate_tokens(parts)
    results, missing = _results(problem, problem.outcomes, max(budget * 6 // 10, 50))
    past = _history(problem, (budget - estimate_tokens(results)) * 2 // 10, left_out) if problem.history else ""
    run = render_calls(problem, budget - estimate_tokens(results + past))
    if run.with_feedback:  # the room that their feedback would have taken is free for the others
        rest = tuple(outcome for outcome in problem.outcomes if outcome.name not in run.with_feedback)
        budget -= estimate_tokens(run.notes + run.lines + past)
        results, missing = _results(problem, rest, budget) if rest else ("", 0)
    left_out += [run.left_out] if run.left_out else []
    left_out += [f"{missing} outputs with their feedback"] if missing else []
    sections = {
        "Goal": objective,
        "What else is known": known,
        "Parts you may change": parts,
        "Likely at fault": blamed,
        "Functions": run.notes,
        "What happened": run.lines,
        "Result and feedback": results,
        "Earlier attempts": past,
    }
    texts = [f"# {title}\n{text}\n" for title, text in sections.items() if text]
    if left_out:
        texts.append(f"Left out to save space: {'; '.join(left_out)}.\n")
    return "\n".join(texts)


def _cut_texts(texts: tuple[str, str], budget: int, left_out: list[str]) -> list[str]:
    """Goal and context, their middles cut out where they are longer than the budget."""
    lengths, room = [len(text) for text in texts], budget * _CHARACTERS
    if sum(lengths) <= room:
        return [*texts]
    limit = _waterline(lengths, room)
    titles = ("the goal", "what else is known")
    cut = [title for title, length in zip(titles, lengths, strict=True) if length > limit]
    left_out += [f"the middle of {title}" for title in cut]
    return [cut_middle(text, limit) for text in texts]


# --- parts ---


def part_text(part: Part, limit: int | None = None) -> str:
    """A part with its name, type, value and description; the value cut in the middle to `limit` characters.

    >>> print(part_text(Part("x0", 0.5, "between 0 and 1")))
    x0 (float): 0.5
      must satisfy: between 0 and 1
    """
    is_text = isinstance(part.value, str)
    value = str(part.value) if is_text or isinstance(part.value, float) else shown(part.value, limit or _LONGEST)
    if limit is not None:
        value = cut_middle(value, limit)
    if part.is_code:
        broken = ""
        try:
            tree_of(str(part.value))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            broken = f"  it is broken. {part.description or ''}".rstrip() + "\n"
        rules = f"\n  must satisfy: {part.constraint}" if part.constraint else ""
        return f"{part.name} (code):\n{broken}{fenced(value, 'python')}{rules}"
    kind = "text" if is_text else type(part.value).__name__
    plain = value and value == value.strip() and "\n" not in value
    text = f"{part.name} ({kind}): {value}" if plain else f"{part.name} ({kind}):\n{fenced(value)}"
    conditions = part.conditions
    return f"{text}\n  must satisfy: {conditions}" if conditions else text


def _parts(parts: tuple[Part, ...], budget: int, left_out: list[str]) -> str:
    most = budget * 3 // 2
    texts: list[str] = []
    rest = most
    for part in parts:  # enough to fill `most` even if each were cut to the shortest length
        texts.append(part_text(part))
        rest -= min(estimate_tokens(texts[-1]), _CUT // 4) + 1
        if rest < 0:
            break
    room = budget * _CHARACTERS
    if sum(map(len, texts)) > room:
        limit = _waterline([len(text) for text in texts], room)
        cut = [part.name for part, text in zip(parts, texts, strict=False) if len(text) > limit]
        texts = [
            part_text(part, limit) if len(text) > limit else text for part, text in zip(parts, texts, strict=False)
        ]
        if cut:
            left_out.append(f"the middle of {_some(cut)} (a new value replaces the whole)")
    kept = _fitting(texts, most)
    if len(kept) < len(parts):
        left_out.append(f"the parts {_some(part.name for part in parts[len(kept) :])}")
    return "\n".join(kept)


def _waterline(lengths: list[int], room: int) -> int:
    """The greatest length at which cutting all texts makes them fit `room`, at least `_CUT`."""
    left = len(lengths)
    for length in sorted(lengths):
        if length * left > room:
            return max(room // left, _CUT)
        room -= length
        left -= 1
    return max(lengths, default=_CUT)


def _fitting(texts: list[str], budget: int) -> list[str]:
    """The first texts that fit."""
    kept: list[str] = []
    for text in texts:
        budget -= estimate_tokens(text) + 1
        if budget < 0 and kept:
            break
        kept.append(text)
    return kept


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


# --- results ---


def _results(problem: Problem, outcomes: tuple[Outcome, ...], budget: int) -> tuple[str, int]:
    """(the outputs with their feedback, how many did not fit)."""
    if not outcomes:
        return ("No feedback was given." if problem.feedback is None else feedback_text(text_of(problem.feedback))), 0
    names = set(problem.names)
    counts: dict[tuple[str, str], int] = {}
    firsts: dict[tuple[str, str], Outcome] = {}
    share = max(budget * _CHARACTERS // min(len(outcomes), 8), 200)
    for outcome in outcomes:
        value = "" if outcome.name in names else show(outcome.value, min(share // 2, _RESULT))
        key = value, text_of(outcome.feedback, share)
        counts[key] = counts.get(key, 0) + 1
        firsts.setdefault(key, outcome)
    several = len(problem.outcomes) > 1
    texts: list[str] = []
    for (value, feedback), count in counts.items():
        name = firsts[value, feedback].name
        head = (f"{name} -> {value}" if value else name) + (f"  ({count} times)" if count > 1 else "")
        inline = several and len(feedback.splitlines()) < 2
        texts.append(f"{head} | {feedback}" if inline else f"{head}\n{feedback_text(feedback)}")
    kept = _fitting(texts, budget)
    return "\n".join(kept), sum(list(counts.values())[len(kept) :])


# --- history ---


def _history(problem: Problem, budget: int, left_out: list[str]) -> str:
    """Earlier attempts, the latest kept; values that are as now are not repeated."""
    now = {part.name: part.value for part in problem.parts}
    kept: list[str] = []
    for attempt in reversed(problem.history):
        values = [
            f"{name}={(show if isinstance(value, float) else shown)(value, _PAST_VALUE)}"
            for name, value in attempt.values.items()
            if name not in now or show(now[name], 1_000) != show(value, 1_000)
        ]
        feedback = cut_middle(one_line(text_of(attempt.feedback)), _PAST_FEEDBACK)
        text = f"- {', '.join(values) or 'the present values'}: {feedback}"
        budget -= estimate_tokens(text) + 1
        if budget < 0:
            left_out.append(f"{len(problem.history) - len(kept)} earlier attempts")
            break
        kept.append(text)
    return "\n".join([prompt_text("lean_history"), *reversed(kept)]) if kept else ""


Message = dict[str, str]
_OTHER_SHAPE = re.compile(r"[\"\s]*(?:[{\[]\s*\\*[\"'{]|<(?:variable|reasoning|answer)\b)")
_OF_REPLIES = ("suggestion", "changes", "variables")
_LONG = 1_500  # characters; a shorter part is quicker written anew


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question to a model about one problem, and the function that reads the reply.

    A last message of the assistant is the beginning of the reply. `options` are those of the call: response_format,
    stop, max_tokens … `read(reply, problem)` gives a suggestion, whose `fault` is quoted when the model is asked again.
    `ask(messages, verbose)`, if given, calls the model in the place of the optimizer; its reply is asked for only once.
    """

    messages: list[Message]
    options: dict[str, Any]
    read: Callable[[str, Problem], Suggestion]
    ask: Callable[[list[Message], bool | str], str] | None = None


class Format(Protocol):
    """Shows a problem to a model, asks for a reply in one shape, and reads replies of that shape."""

    def prompt(self, problem: Problem, budget: int, turn: int) -> Prompt:
        """The question of step number `turn`, of at most about `budget` tokens."""
        ...


class JsonReplies:
    """The lean format: asks for a JSON object `{"reasoning": …, "suggestion": {name: value}}`."""

    form = "lean_reply_json"

    def prompt(self, problem: Problem, budget: int, turn: int) -> Prompt:
        system, ending = prompt_text("lean_system"), self.instruction(problem, turn)
        room = budget - estimate_tokens(system + ending) - 8
        user = f"{render_lean(problem, room)}\n{ending}"
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return Prompt(messages, self.options(problem), read_reply)

    def instruction(self, problem: Problem, turn: int) -> str:
        """How to reply, with the offer to patch where a part is long."""
        # models lean towards the name in the example of a reply, so the example names the likeliest part
        name = next((part.name for part in likely_parts(problem)), "name")
        text = prompt_text(self.form).replace("{name}", name)
        is_long = any(isinstance(part.value, str) and len(part.value) >= _LONG for part in problem.parts)
        return f"{text}\n{prompt_text('lean_patch')}" if is_long else text

    def options(self, problem: Problem) -> dict[str, Any]:
        """Options of the call."""
        return {"response_format": {"type": "json_object"}}


class SchemaReplies(JsonReplies):
    """Asks for JSON that a schema enforces: a list of changes whose names are those of the parts."""

    form = "lean_reply_schema"

    def options(self, problem: Problem) -> dict[str, Any]:
        text = {"type": "string"}
        kinds: dict[str, tuple[dict[str, Any], list[str]]] = {}
        for part in problem.parts:
            kind = (None if part.is_code or part.constraint else schema(part.value)) or text
            kinds.setdefault(json.dumps(kind), (kind, []))[1].append(part.name)
        changes = [_object({"name": {**text, "enum": names}, "value": kind}) for kind, names in kinds.values()]
        change = changes[0] if len(changes) == 1 else {"anyOf": changes}
        whole = _object({"reasoning": text, "changes": {"type": "array", "items": change}})
        form = {"name": "changes", "strict": True, "schema": whole}
        return {"response_format": {"type": "json_schema", "json_schema": form}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class TaggedReplies(JsonReplies):
    """Asks for tags, for models whose server enforces nothing: code needs no escaping there."""

    form = "lean_reply_tags"

    def options(self, problem: Problem) -> dict[str, Any]:
        return {}


class ContinuedReplies(JsonReplies):
    """Begins the reply itself, about one part: a code fence with the function's header, or `name: ` for a text.

    For servers that continue a last message of the assistant. The part is the likely one whose turn it is.
    """

    def prompt(self, problem: Problem, budget: int, turn: int) -> Prompt:
        part = _part_of_turn(problem, turn)
        begun = f"```python\n{_header(part)}" if part.is_code else f"{part.name}: "
        messages = [*super().prompt(problem, budget, turn).messages, {"role": "assistant", "content": begun}]
        return Prompt(messages, {"stop": ["\n```" if part.is_code else "\n"]}, partial(_read_continuation, part))

    def instruction(self, problem: Problem, turn: int) -> str:
        part = _part_of_turn(problem, turn)
        return prompt_text("lean_reply_code" if part.is_code else "lean_reply_line").replace("{name}", part.name)


def _part_of_turn(problem: Problem, turn: int) -> Part:
    likely = list(likely_parts(problem))
    return likely[turn % len(likely)]


def _read_continuation(part: Part, text: str, problem: Problem) -> Suggestion:
    """The suggestion of a reply that continues the beginning for `part`."""
    unended = isinstance(text, CutText) and ("\n```" if part.is_code else "\n") not in text.strip()
    line = text.strip().removeprefix(f"{part.name}:").strip().split("\n", 1)[0].strip()
    if not unended and not isinstance(part.value, str) and _is_value_of(part, line):
        return Suggestion({part.name: line})
    if _OTHER_SHAPE.match(text) or (not part.is_code and text.lstrip().startswith("```")):
        return read_reply(text, problem)
    if unended:
        return Suggestion(fault=cut_inside(part.name), is_cut=True)
    if part.is_code:
        code = read_fence(text, _header(part))
        if function_label(code) is not None:
            return Suggestion({part.name: code})
        return read_reply(text, problem)
    return Suggestion({part.name: line}) if line else Suggestion(fault="nothing was said")


def _is_value_of(part: Part, line: str) -> bool:
    """Whether the line is a value of the part's type, not a whole reply in JSON."""
    try:
        value = convert(line, part.value)
    except ReplyError:
        return False
    known: Any = part.value
    return not isinstance(value, dict) or not any(key in value and key not in known for key in _OF_REPLIES)


def _header(part: Part) -> str:
    """The first line of the definition in a code part, or "" if it has none of one line."""
    name = function_label(part.value)
    for line in str(part.value).split("\n"):
        bare = line.strip()
        if name and bare.startswith((f"def {name}", f"async def {name}")):
            return f"{bare}\n" if bare.endswith(":") else ""
    return ""


def re_ask(messages: list[Message], reply: str, fault: str) -> list[Message]:
    """The chat continued: the reply, the fault of the reply, and the same beginning if the reply was begun."""
    begun = messages[-1:] if messages[-1]["role"] == "assistant" else []
    chat = messages[: len(messages) - len(begun)]
    said = "".join(m["content"] for m in begun) + reply[:4_000]
    again = prompt_text("lean_reask").replace("{fault}", cut_middle(one_line(fault), _LONGEST_FAULT))
    return [*chat, {"role": "assistant", "content": said or "…"}, {"role": "user", "content": again}, *begun]


FORMATS: dict[str, Format] = {
    "json_object": JsonReplies(),
    "json_schema": SchemaReplies(),
    "prefill": ContinuedReplies(),
    "text": TaggedReplies(),
}
"""The lean format in each shape of reply that a model's profile or a user may name."""
