"""Stand-ins for a language model that answer by rule, from the text of the prompt alone.

`read_prompt` takes a lean prompt apart; a rule turns what it read into new values; `Oracle` is the model around
the rule, which counts calls and tokens and says how long a model would have taken. Also the tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opto.cost import estimate_tokens
from opto.llm.base import Response, Usage

_TITLES = (
    "Goal|What else is known|Parts you may change|Functions|What happened|Result and feedback|Earlier attempts|Reply"
)
_SECTION = re.compile(rf"^# ({_TITLES})\n", re.MULTILINE)
_PART = re.compile(r"^(\w+) \((\w+)\):(?: (.*)|\n(?:.*\n)?(`{3,})\w*\n([\s\S]*?)\n\4)$", re.MULTILINE)
_LINE = re.compile(r"^(?:(\w+) = )?(\w+)\((.*)\) -> (.*)$")
_ATTEMPT = re.compile(r"^- (\w+)=(.*?): (.*)$", re.MULTILINE)

_LATENCY, _READ, _WRITE = 0.5, 2_000.0, 60.0  # seconds to the first token, tokens read and written a second


@dataclass(frozen=True)
class Line:
    """One recorded call: `name` is what later lines call its value."""

    name: str
    function: str
    arguments: str
    result: str


@dataclass(frozen=True)
class Seen:
    """What a prompt says. `attempts` pairs earlier values of one part with the feedback on them."""

    parts: Mapping[str, str]
    lines: Sequence[Line]
    result: str
    feedback: str
    attempts: Sequence[tuple[str, str]]


def read_prompt(text: str) -> Seen:
    """Take a lean prompt apart."""
    pieces = _SECTION.split(text)
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    parts = {m[1]: m[3] if m[3] is not None else m[5] for m in _PART.finditer(sections.get("Parts you may change", ""))}
    result, _, feedback = sections.get("Result and feedback", "").strip().partition("\nFeedback: ")
    attempts = [(m[2], m[3]) for m in _ATTEMPT.finditer(sections.get("Earlier attempts", ""))]
    happened = sections.get("What happened", "").splitlines()
    return Seen(parts, [_line(m) for m in map(_LINE.match, happened) if m], result, feedback or result, attempts)


def _line(match: re.Match[str]) -> Line:
    name, function, arguments, result = match.groups()
    return Line(name or function, function.rstrip("0123456789"), arguments, result)


Rule = Callable[[Seen], Mapping[str, Any]]
"""What was read -> new values by name of the part."""


@dataclass(repr=False)
class Oracle:
    """A model that answers by `answer(messages)`, and knows what that would have cost with a real one."""

    answer: Callable[[Sequence[Mapping[str, str]]], str]
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_name: str = "oracle"

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def seconds(self) -> float:
        """How long a model behind a network would have taken, one call after the other."""
        return self.calls * _LATENCY + self.prompt_tokens / _READ + self.completion_tokens / _WRITE

    def __repr__(self) -> str:
        return "<model>"

    def __call__(self, messages: Any, **options: Any) -> Response:
        asked, said = sum(estimate_tokens(m["content"]) for m in messages), self.answer(messages)
        told = estimate_tokens(said)
        self.calls, self.prompt_tokens = self.calls + 1, self.prompt_tokens + asked
        self.completion_tokens += told
        return Response.of(said, usage=Usage(asked, told), model=self.model_name)


def by_rule(rule: Rule) -> Oracle:
    """An oracle that optimizes by `rule`."""

    def answer(messages: Sequence[Mapping[str, str]]) -> str:
        values = rule(read_prompt(messages[1]["content"]))
        return json.dumps({"reasoning": "by rule", "suggestion": dict(values)})

    return Oracle(answer)


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people: texts to the left, numbers to the right."""
    shown = [[cell if isinstance(cell, str) else f"{cell:,.3g}" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
    print(f"\n{title}")
    for row in [list(head), *shown]:
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]), flush=True)
