"""Prompts for small models: one part, how it was used, and a reply that is already begun.

What a model of one or two billion parameters needs: no names to learn, no JSON, nothing about other parts, and
a beginning that leaves it only the value to write. Such prompts follow a `Focus`.
"""

from __future__ import annotations

import ast
import re
import textwrap
from bisect import bisect_right
from itertools import pairwise
from typing import Any

from opto.cost import estimate_tokens
from opto.errors import ReplyError
from opto.optimizers.formats.lean import Message, Prompt
from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.problem.uses import (
    Focus,
    PartUse,
    PastValue,
    inset,
    likely_parts,
    reaches_model,
    receivers,
    repeated,
    use_text,
    uses_of,
)
from opto.optimizers.replies.json_replies import CutText
from opto.optimizers.replies.mended_code import mend_code
from opto.optimizers.replies.shapes import Suggestion, cut_inside, read_reply, unquoted
from opto.optimizers.replies.tags_and_fences import read_fence
from opto.show import cut_middle, fenced, function_label, one_line, show, text_of
from opto.syntax import tree_of
from opto.values import convert, shown

__all__ = [
    "CodeFocus",
    "FocusPrompt",
    "PlainTextFocus",
    "Small",
    "TextFocus",
    "ValueFocus",
    "focus_prompt",
    "tidy_code",
]

_SHOWN_TRIED = 2
_SHOWN_VALUES = 16
_QUOTED = re.compile(r"r?(['\"`])(.+)\1")
_NUMBER = re.compile(r"[-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class FocusPrompt:
    """The shared shape; a kind of part fills in what is shown of it, how the reply begins, and how it is read."""

    system = "You are an expert programmer."
    limit = 100

    def __init__(self, problem: Problem, part: Part, focus: Focus, *, budget: int, prefill: bool) -> None:
        self.part = part if focus.start is None else part._replace(value=focus.start)
        self.focus = focus
        self.uses = uses_of(problem, part.name)
        self.budget = budget
        self.prefill = prefill

    def messages(self, problem: Problem) -> list[Message]:
        text = self._text(problem, self.uses)
        if estimate_tokens(text) > self.budget:
            counts = range(2, len(self.uses))
            fitting = bisect_right(
                counts, self.budget, key=lambda n: estimate_tokens(self._text(problem, self.uses[:n]))
            )
            text = self._text(problem, self.uses[: fitting + 1])
        chat = [{"role": "system", "content": self.system}, {"role": "user", "content": text}]
        if self.prefill:
            chat.append({"role": "assistant", "content": self.begun()})
        else:
            chat[-1]["content"] += f"\nBegin your reply with:\n{self.begun()}"
        return chat

    def options(self) -> dict[str, Any]:
        """A limit of tokens, stop texts where the reply is begun, the seed of the focus."""
        options: dict[str, Any] = {"max_tokens": self.limit}
        if self.prefill:
            options["stop"] = self.stops()
        if self.focus.seed is not None:
            options["seed"] = self.focus.seed
        return options

    def begun(self) -> str:
        raise NotImplementedError

    def stops(self) -> list[str]:
        return ["\n"]

    def read(self, text: str, problem: Problem) -> Suggestion:
        raise NotImplementedError

    def _text(self, problem: Problem, uses: tuple[PartUse, ...]) -> str:
        raise NotImplementedError

    def _about(self, problem: Problem, uses: tuple[PartUse, ...]) -> str:
        """The goal, what the part must satisfy, and the functions that its values go to."""
        part = self.part
        own = part.conditions
        if part.is_code and (part.description or "").startswith("The code should start with:"):
            own = part.constraint  # the header is shown
        lines = [f"\nThe goal: {inset(problem.objective)}\n"] if problem.objective else []
        lines += [f"\nIt must satisfy: {inset(own)}\n"] if own else []
        return "".join(lines) + _passed_on(uses, problem)

    def _uses(self, problem: Problem, uses: tuple[PartUse, ...]) -> str:
        texts = [f"{i}. {use_text(use, self.part, problem)}{self._remark(use)}" for i, use in enumerate(uses, 1)]
        lone = (
            [f"{show(o.value, 300)}\n  Feedback: {inset(text_of(o.feedback))}" for o in problem.outcomes]
            if not texts
            else []
        )
        return "\n".join(texts or lone or [f"Feedback: {inset(text_of(problem.feedback))}"])

    def _remark(self, use: PartUse) -> str:
        """A remark on a use, below its line."""
        return ""


def _place(text: str, said: tuple[str, ...]) -> str:
    """Where in the text the one wanted piece stands, in words."""
    if len(said) != 1:
        return ""
    words, wanted = re.findall(r"[^\W_]+", text), re.findall(r"[^\W_]+", said[0])
    count = "word" if len(wanted) == 1 else f"{len(wanted)} words"
    if words[: len(wanted)] == wanted:
        return f"only its first {count}, "
    return f"only its last {count}, " if words[-len(wanted) :] == wanted else f"only {len(wanted)} of its words, "


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(repr(word) for word in words[:5])


def _filled(template: str, /, **values: str) -> str:
    """The prompt text with its places filled; places left empty leave no blank lines."""
    text = re.sub(r"\{(\w+)\}", lambda place: values.get(place.group(1), place.group()), prompt_text(template))
    return re.sub(r"\n{3,}", "\n\n", text)


def _passed_on(uses: tuple[PartUse, ...], problem: Problem) -> str:
    sources = receivers(uses, problem)
    if not sources:
        return ""
    shown = "\n".join(fenced(tidy_code(source), "python") for source in sources[:2])
    return f"\nIts result is passed on to:\n{shown}\n"


def _attempts(tried: tuple[PastValue, ...], write: Any) -> str:
    if not tried:
        return ""
    lines = [f"{write(t.value)}\n  Feedback: {inset(t.feedback)}" if t.feedback else write(t.value) for t in tried]
    return "\nTried before without success, do not repeat:\n" + "\n".join(lines) + "\n"


def tidy_code(code: Any) -> str:
    """Code as a person writes it: a method's source keeps the indentation of its class but for the first line."""
    text = str(code).expandtabs()
    first, _, rest = text.partition("\n")
    margins = [len(line) - len(line.lstrip()) for line in rest.split("\n") if line.strip()]
    if not margins or not first.startswith(("def ", "async def ")) or min(margins) <= 4:
        return textwrap.dedent(text)
    return f"{first}\n{textwrap.indent(textwrap.dedent(rest), '    ')}"


class CodeFocus(FocusPrompt):
    """Shows a function and its calls; the reply begins with the fence, the header and the docstring."""

    system = "You are an expert Python programmer."
    limit = 220

    def _text(self, problem: Problem, uses: tuple[PartUse, ...]) -> str:
        code = tidy_code(self.part.value)
        receivers = _passed_on(uses, problem)
        return _filled(
            "small_code",
            example=prompt_text("small_code_example") if receivers else "",  # it shows how to serve a receiver
            value=fenced(code, "python"),
            receivers=self._about(problem, uses),
            uses=self._uses(problem, uses),
            label=function_label(code) or self.part.name,
        )

    def begun(self) -> str:
        return f"```python\n{_head(tidy_code(self.part.value))}"

    def stops(self) -> list[str]:
        return ["```", "\ndef ", "\nclass ", "\nif __name__", "\nprint("]

    def read(self, text: str, problem: Problem) -> Suggestion:
        code = mend_code(read_fence(text, _head(tidy_code(self.part.value))), function_label(self.part.value))
        if code is not None:
            return Suggestion({self.part.name: code})
        return Suggestion(fault="the reply holds no function that parses")


def _head(code: str) -> str:
    """The lines of the definition up to its first statement: decorators, header, docstring."""
    try:
        tree = tree_of(code)
    except SyntaxError:
        return code.split("\n", 1)[0] + "\n"
    function = next((n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))), None)
    if function is None:
        return ""
    first = function.body[0]
    end = first.end_lineno if ast.get_docstring(function) is not None else first.lineno - 1
    return "\n".join(code.split("\n")[:end]) + "\n"


class TextFocus(FocusPrompt):
    """Shows a text and the results that a model gave with the text; the reply is one line."""

    system = "You write precise instructions for language models."
    limit = 80

    def _remark(self, use: PartUse) -> str:
        """Which words of the value the feedback repeats: it often quotes the wanted result. (Code is misled so.)"""
        if use.outcome is None or not isinstance(use.call.value, str) or use.call.is_error:
            return ""
        said, unsaid = repeated(use.call.value, text_of(use.outcome.feedback))
        if not said or not unsaid:
            return ""
        where = _place(use.call.value, said)
        return f"\n  Wanted of this result, by the feedback: {where}{_listed(said)}. Not wanted: {_listed(unsaid)}."

    def _text(self, problem: Problem, uses: tuple[PartUse, ...]) -> str:
        return _filled(
            "small_text",
            value=cut_middle(str(self.part.value), 2_000),
            receivers=self._about(problem, uses),
            uses=self._uses(problem, uses),
            tried=_attempts(self.focus.tried[-_SHOWN_TRIED:], lambda text: f"- {text}"),
        )

    def begun(self) -> str:
        return "Better instruction:"

    def read(self, text: str, problem: Problem) -> Suggestion:
        said = text.strip().removeprefix(self.begun()).strip()
        if isinstance(text, CutText) and "\n" not in said:
            return Suggestion(fault=cut_inside(self.part.name), is_cut=True)
        line = said.split("\n", 1)[0].strip()
        while (bare := line[1:-1] if len(line) > 1 and line[0] == line[-1] == "*" else unquoted(line).strip()) != line:
            line = bare
        return Suggestion({self.part.name: line}) if len(line) > 2 else Suggestion(fault="nothing was said")


class PlainTextFocus(TextFocus):
    """Shows a text that no language model takes: a pattern, a template, a name; the reply is one line."""

    system = FocusPrompt.system

    def _remark(self, use: PartUse) -> str:
        return ""

    def _text(self, problem: Problem, uses: tuple[PartUse, ...]) -> str:
        return _filled(
            "small_plain_text",
            name=self.part.name,
            value=fenced(cut_middle(str(self.part.value), 2_000)),
            receivers=self._about(problem, uses),
            uses=self._uses(problem, uses),
            tried=_attempts(self.focus.tried[-_SHOWN_TRIED:], lambda text: f"- {text}"),
        )

    def begun(self) -> str:
        return f"{self.part.name}:"

    def read(self, text: str, problem: Problem) -> Suggestion:
        line = text.strip().removeprefix(self.begun()).strip().split("\n", 1)[0].strip()
        if "\\" not in line and not str(self.part.value).startswith("*"):
            return super().read(text, problem)
        if isinstance(text, CutText) and "\n" not in text.strip():
            return Suggestion(fault=cut_inside(self.part.name), is_cut=True)
        quoted = _QUOTED.fullmatch(line)  # what stands inside is meant as it is: patterns have backslashes
        return Suggestion({self.part.name: quoted[2] if quoted is not None and quoted[1] not in quoted[2] else line})


class ValueFocus(FocusPrompt):
    """Shows a number or another plain value, and between which tried values the feedback changes."""

    limit = 24

    def _text(self, problem: Problem, uses: tuple[PartUse, ...]) -> str:
        part = self.part
        now = tuple(PastValue(part.value, text_of(use.outcome.feedback)) for use in uses[:1] if use.outcome)
        return _filled(
            "small_value",
            name=part.name,
            kind=part.kind,
            value=shown(part.value, 300),
            constraint=self._about(problem, ()).strip(),
            uses=self._uses(problem, uses),
            tried=_tried_values((*self.focus.tried, *now)),
        )

    def begun(self) -> str:
        return f"{self.part.name} = "

    def read(self, text: str, problem: Problem) -> Suggestion:
        line = text.strip().removeprefix(self.begun().strip()).strip().split("\n", 1)[0].strip("`*. ")
        if isinstance(self.part.value, (int, float)) and not isinstance(self.part.value, bool):
            found = _NUMBER.search(line)
            if found and isinstance(text, CutText) and text.rstrip(".").endswith(found.group().rstrip(".")):
                return Suggestion(fault=cut_inside(self.part.name), is_cut=True)
            line = found.group().rstrip(",_") if found else line
        try:
            return Suggestion({self.part.name: convert(line, self.part.value)})
        except ReplyError:
            return read_reply(f"{self.part.name} = {line}", problem)


def _tried_values(tried: tuple[PastValue, ...]) -> str:
    """The tried values, numbers in the order of size, and the two values between which the feedback turns."""
    numbers = [t for t in tried if isinstance(t.value, (int, float)) and not isinstance(t.value, bool)]
    if len(numbers) < len(tried):
        return _attempts(tried[-_SHOWN_VALUES:], lambda value: f"- {shown(value, 200)}")
    latest = _around_turn(sorted({t.value: t for t in tried}.values(), key=lambda t: t.value))
    if len(latest) < 2:
        return ""
    lines = [f"- {shown(t.value, 60)}: {cut_middle(one_line(t.feedback), 160)}" for t in latest]
    turns = [(a, b) for a, b in pairwise(latest) if a.feedback != b.feedback]
    if len(turns) == 1:
        low, high = (shown(t.value, 60) for t in turns[0])
        lines.append(f"The feedback turns between {low} and {high}: choose a value between them, near the middle.")
    elif not turns:
        lines.append("The feedback was the same for all of them: choose a value farther away, on the side it asks for.")
    return "\nTried so far, in order of size:\n" + "\n".join(lines) + "\n"


def _around_turn(tried: list[PastValue]) -> list[PastValue]:
    """The values next to where the feedback turns, which say most; without a turn, the outermost."""
    half = _SHOWN_VALUES // 4
    turn = next((i for i, (a, b) in enumerate(pairwise(tried), 1) if a.feedback != b.feedback), None)
    if turn is None:
        return tried if len(tried) <= 2 * half else [*tried[:half], *tried[-half:]]
    return tried[max(0, turn - half) : turn + half]


class Small:
    """The format for small models: one part at a time, the one in `focus` or else the likely one whose turn it is."""

    def __init__(self, focus: Focus | None, *, prefill: bool) -> None:
        self.focus = focus
        self.prefill = prefill

    def prompt(self, problem: Problem, budget: int, turn: int) -> Prompt:
        asked = focus_prompt(problem, budget, turn, focus=self.focus, prefill=self.prefill)
        return Prompt(asked.messages(problem), asked.options(), asked.read)


def focus_prompt(problem: Problem, budget: int, turn: int, *, focus: Focus | None, prefill: bool) -> FocusPrompt:
    """The prompt for the part in focus; without a focus, for the `turn`-th likely one, with the problem's history."""
    likely = list(likely_parts(problem))
    part = problem.part(focus.part) if focus is not None else None
    if part is None or focus is None:
        part = likely[turn % len(likely)]
        past = [PastValue(a.values[part.name], text_of(a.feedback)) for a in problem.history if part.name in a.values]
        focus = Focus(part.name, tuple(t for t in past if t.value != part.value))
    kind: type[FocusPrompt] = CodeFocus if part.is_code else ValueFocus
    if isinstance(part.value, str) and not part.is_code:
        kind = TextFocus if reaches_model(problem, part.name) else PlainTextFocus
    return kind(problem, part, focus, budget=budget, prefill=prefill)
