"""The text of a lean prompt: the parts that may change, the run in one line a call, each output with its feedback.

Everything is written within a token budget. What does not fit is left out, the least useful
first (earlier attempts, notes on functions, calls far from the outputs, repeated outputs, the middle
of long texts), and the prompt says what was left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from opto.cost import estimate_tokens
from opto.optimizers.blame import Blame
from opto.optimizers.formats.calls import render_calls
from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.problem import Outcome, Part, Problem
from opto.optimizers.problem.show import cut_middle, fenced, show
from opto.syntax import tree_of

__all__ = ["part_text", "render_lean"]

_CHARACTERS = 3  # about a token, as `estimate_tokens` counts
_RESULT = 600
_CUT = 80  # characters that a cut text keeps at least
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
    value = str(part.value) if is_text or isinstance(part.value, float) else show(part.value, limit or 2_000)
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
        return ("No feedback was given." if problem.feedback is None else f"Feedback: {problem.feedback}"), 0
    names = set(problem.names)
    counts: dict[tuple[str, str], int] = {}
    firsts: dict[tuple[str, str], Outcome] = {}
    share = max(budget * _CHARACTERS // min(len(outcomes), 8), 200)
    for outcome in outcomes:
        value = "" if outcome.name in names else show(outcome.value, min(share // 2, _RESULT))
        key = value, cut_middle(str(outcome.feedback), share)
        counts[key] = counts.get(key, 0) + 1
        firsts.setdefault(key, outcome)
    several = len(problem.outcomes) > 1
    texts: list[str] = []
    for (value, feedback), count in counts.items():
        name = firsts[value, feedback].name
        head = (f"{name} -> {value}" if value else name) + (f"  ({count} times)" if count > 1 else "")
        texts.append(f"{head} | {feedback}" if several and "\n" not in feedback else f"{head}\nFeedback: {feedback}")
    kept = _fitting(texts, budget)
    return "\n".join(kept), sum(list(counts.values())[len(kept) :])


# --- history ---


def _history(problem: Problem, budget: int, left_out: list[str]) -> str:
    """Earlier attempts, the latest kept; values that are as now are not repeated."""
    now = {part.name: part.value for part in problem.parts}
    kept: list[str] = []
    for attempt in reversed(problem.history):
        values = [
            f"{name}={show(value, _PAST_VALUE)}"
            for name, value in attempt.values.items()
            if name not in now or show(now[name], 1_000) != show(value, 1_000)
        ]
        feedback = cut_middle(str(attempt.feedback).replace("\n", " "), _PAST_FEEDBACK)
        text = f"- {', '.join(values) or 'the present values'}: {feedback}"
        budget -= estimate_tokens(text) + 1
        if budget < 0:
            left_out.append(f"{len(problem.history) - len(kept)} earlier attempts")
            break
        kept.append(text)
    return "\n".join([prompt_text("lean_history"), *reversed(kept)]) if kept else ""
