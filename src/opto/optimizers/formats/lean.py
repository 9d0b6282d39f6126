"""Prompt formats: how a problem becomes a question to a model. The lean format, in four shapes of reply.

A new way to ask is a class with the one method of `Format`, and a row in `FORMATS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol

from opto.cost import estimate_tokens
from opto.optimizers.formats.sections import render_lean
from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.problem.show import function_label
from opto.optimizers.replies.fences import read_fence
from opto.optimizers.replies.json_replies import CutText
from opto.optimizers.replies.shapes import Suggestion, cut_inside, read_reply

__all__ = [
    "FORMATS",
    "ContinuedReplies",
    "Format",
    "JsonReplies",
    "Message",
    "Prompt",
    "SchemaReplies",
    "TaggedReplies",
    "likely_parts",
    "re_ask",
]

Message = dict[str, str]
_OTHER_SHAPE = re.compile(r"[\"\s]*(?:[{\[]\s*\\*[\"'{]|<(?:variable|reasoning|answer)\b)")
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
        change = _object({"name": {"type": "string", "enum": list(problem.names)}, "value": text})
        schema = _object({"reasoning": text, "changes": {"type": "array", "items": change}})
        form = {"name": "changes", "strict": True, "schema": schema}
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
    if _OTHER_SHAPE.match(text) or (not part.is_code and text.lstrip().startswith("```")):
        return read_reply(text, problem)
    if unended:
        return Suggestion(fault=cut_inside(part.name), is_cut=True)
    if part.is_code:
        code = read_fence(text, _header(part))
        if function_label(code) is not None:
            return Suggestion({part.name: code})
        return read_reply(text, problem)
    line = text.strip().removeprefix(f"{part.name}:").strip()
    return Suggestion({part.name: line.split("\n", 1)[0].strip()}) if line else Suggestion(fault="nothing was said")


def _header(part: Part) -> str:
    """The first line of the definition in a code part, or "" if it has none of one line."""
    name = function_label(part.value)
    for line in str(part.value).split("\n"):
        bare = line.strip()
        if name and bare.startswith((f"def {name}", f"async def {name}")):
            return f"{bare}\n" if bare.endswith(":") else ""
    return ""


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


def re_ask(messages: list[Message], reply: str, fault: str) -> list[Message]:
    """The chat continued: the reply, the fault of the reply, and the same beginning if the reply was begun."""
    begun = messages[-1:] if messages[-1]["role"] == "assistant" else []
    chat = messages[: len(messages) - len(begun)]
    said = "".join(m["content"] for m in begun) + reply[:4_000]
    again = prompt_text("lean_reask").replace("{fault}", fault)
    return [*chat, {"role": "assistant", "content": said or "…"}, {"role": "user", "content": again}, *begun]


FORMATS: dict[str, Format] = {
    "json_object": JsonReplies(),
    "json_schema": SchemaReplies(),
    "prefill": ContinuedReplies(),
    "text": TaggedReplies(),
}
"""The lean format in each shape of reply that a model's profile or a user may name."""
