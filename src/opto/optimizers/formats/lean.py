"""Lean prompts: one rendering, several shapes of reply. A profile or the user chooses the shape.

A `Prompt` is made for one problem. A new way to ask is a class with these three methods and an entry in `SHAPES`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from opto.optimizers.formats.calls import function_label
from opto.optimizers.formats.sections import render_lean
from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.problem.show import estimate_tokens
from opto.optimizers.replies.json_replies import CutText
from opto.optimizers.replies.shapes import Suggestion, cut_inside, read_fence, read_reply

__all__ = [
    "SHAPES",
    "ClassicPrompt",
    "ContinuePrompt",
    "JsonPrompt",
    "Message",
    "Prompt",
    "SchemaPrompt",
    "ShapeFactory",
    "TagsPrompt",
    "classic_text",
    "likely_parts",
    "re_ask",
]

Message = dict[str, str]
_OTHER_SHAPE = re.compile(r"[\"\s]*(?:[{\[]\s*\\*[\"'{]|<(?:variable|reasoning|answer)\b)")
_LONG = 1_500  # characters; a shorter part is quicker written anew


class Prompt(Protocol):
    """What is sent to a model about one problem, and how its answer is read."""

    def messages(self, problem: Problem) -> list[Message]:
        """The chat; a last message of the assistant is the beginning of the reply."""
        ...

    def options(self) -> dict[str, Any]:
        """Options of the call: response_format, stop, max_tokens …"""
        ...

    def read(self, text: str, problem: Problem) -> Suggestion:
        """What the reply proposes; its `fault` is quoted when the model is asked again."""
        ...


@dataclass(frozen=True)
class JsonPrompt:
    """Asks for a JSON object `{"reasoning": …, "suggestion": {name: value}}`."""

    problem: Problem
    budget: int = 8_000
    turn: int = 0

    def instruction(self) -> str:
        """How to reply."""
        return self._form("lean_reply_json")

    def _form(self, name: str) -> str:
        """The form of a reply, with the offer to patch where a part is long."""
        text = prompt_text(name).replace("{name}", self._example_name())
        sizes = [len(part.value) for part in self.problem.parts if isinstance(part.value, str)]
        return f"{text}\n{prompt_text('lean_patch')}" if max(sizes, default=0) >= _LONG else text

    def _example_name(self) -> str:
        """The likeliest part: models lean towards the name that the example of a reply uses."""
        return next((part.name for part in likely_parts(self.problem)), "name")

    def messages(self, problem: Problem) -> list[Message]:
        system = prompt_text("lean_system")
        ending = self.instruction()
        budget = self.budget - estimate_tokens(system + ending) - 8
        user = f"{render_lean(problem, budget)}\n{ending}"
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]

    def options(self) -> dict[str, Any]:
        return {"response_format": {"type": "json_object"}}

    def read(self, text: str, problem: Problem) -> Suggestion:
        return read_reply(text, problem)


class SchemaPrompt(JsonPrompt):
    """Asks for JSON that a schema enforces: a list of changes whose names are those of the parts."""

    def instruction(self) -> str:
        return self._form("lean_reply_schema")

    def options(self) -> dict[str, Any]:
        text = {"type": "string"}
        change = _object({"name": {"type": "string", "enum": list(self.problem.names)}, "value": text})
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


class TagsPrompt(JsonPrompt):
    """Asks for tags, for models whose server enforces nothing: code needs no escaping there."""

    def instruction(self) -> str:
        return self._form("lean_reply_tags")

    def options(self) -> dict[str, Any]:
        return {}


class ContinuePrompt(JsonPrompt):
    """Begins the reply itself, about one part: a code fence with the function's header, or `name: ` for a text.

    For servers that continue a last message of the assistant. The part is the `turn`-th likely one.
    """

    def part(self) -> Part:
        """The part that this prompt is about."""
        likely = list(likely_parts(self.problem))
        return likely[self.turn % len(likely)]

    def instruction(self) -> str:
        part = self.part()
        return prompt_text("lean_reply_code" if part.is_code else "lean_reply_line").replace("{name}", part.name)

    def begun(self) -> str:
        """The beginning of the reply."""
        part = self.part()
        return f"```python\n{_header(part)}" if part.is_code else f"{part.name}: "

    def messages(self, problem: Problem) -> list[Message]:
        return [*super().messages(problem), {"role": "assistant", "content": self.begun()}]

    def options(self) -> dict[str, Any]:
        return {"stop": ["\n```"] if self.part().is_code else ["\n"]}

    def read(self, text: str, problem: Problem) -> Suggestion:
        part = self.part()
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


@dataclass(frozen=True)
class ClassicPrompt:
    """Two finished texts in the classic format, read by the optimizer's own rules."""

    system: str
    user: str
    reader: Callable[[str, Problem], Suggestion]
    json_object: bool = True

    def messages(self, problem: Problem) -> list[Message]:
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]

    def options(self) -> dict[str, Any]:
        return {"response_format": {"type": "json_object"}} if self.json_object else {}

    def read(self, text: str, problem: Problem) -> Suggestion:
        return self.reader(text, problem)


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
    """The chat continued: what was replied, what is wrong with it, and a begun reply begun again."""
    begun = messages[-1:] if messages[-1]["role"] == "assistant" else []
    chat = messages[: len(messages) - len(begun)]
    said = "".join(m["content"] for m in begun) + reply[:4_000]
    again = prompt_text("lean_reask").replace("{fault}", fault)
    return [*chat, {"role": "assistant", "content": said or "…"}, {"role": "user", "content": again}, *begun]


def classic_text(suggestion: Suggestion) -> str:
    """The suggestion as a reply in the first format, for logs that others read."""
    return json.dumps({"reasoning": suggestion.reasoning, "suggestion": dict(suggestion.values)}, default=str)


ShapeFactory = Callable[[Problem, int, int], Prompt]
"""(problem, token budget of the prompt, number of the step) -> the prompt for it."""

SHAPES: dict[str, ShapeFactory] = {
    "json_object": JsonPrompt,
    "json_schema": SchemaPrompt,
    "prefill": ContinuePrompt,
    "text": TagsPrompt,
}
