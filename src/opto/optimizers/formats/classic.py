"""The first format: a problem under `#Headings`, and the reply as a JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from opto.errors import BudgetExceeded
from opto.optimizers.formats.texts import PromptText, prompt_text
from opto.optimizers.problem.problem import FunctionFeedback, ValuesByName
from opto.optimizers.replies.json_replies import read_json_reply
from opto.optimizers.replies.shapes import Suggestion
from opto.optimizers.utils import print_color
from opto.show import held, text_of

__all__ = [
    "DEFAULT_SYMBOLS",
    "ClassicMethods",
    "ProblemInstance",
    "attempts_text",
    "classic_text",
    "constraint_lines",
    "held_feedback",
    "kind_of",
    "memory_text",
    "problem_instance",
    "section_bodies",
    "value_lines",
]

DEFAULT_SYMBOLS = {
    "variables": "#Variables",
    "constraints": "#Constraints",
    "inputs": "#Inputs",
    "outputs": "#Outputs",
    "others": "#Others",
    "feedback": "#Feedback",
    "instruction": "#Instruction",
    "code": "#Code",
    "documentation": "#Documentation",
}
_ORDER = (
    "instruction",
    "code",
    "documentation",
    "variables",
    "constraints",
    "inputs",
    "others",
    "outputs",
    "feedback",
)


@dataclass
class ProblemInstance:
    """The problem as the first format shows it; `str()` renders it."""

    instruction: str
    code: str
    documentation: str
    variables: str
    constraints: str
    inputs: str
    others: str
    outputs: str
    feedback: Any

    def __str__(self) -> str:
        return "\n\n".join(f"{DEFAULT_SYMBOLS[key]}\n{getattr(self, key)}" for key in _ORDER) + "\n"

    __repr__ = __str__


def kind_of(name: str, value: Any, values: Mapping[str, Any]) -> str:
    """The type shown for one of `values`: `code`, or the name of its type. In a dict made by hand, names tell code."""
    is_code = name in values.code if isinstance(values, ValuesByName) else "__code" in name
    return "code" if is_code else type(value).__name__


def value_lines(values: Mapping[str, tuple[Any, Any]]) -> str:
    """One line a value: `(float) x0=1.0`, code as `(code) __code0:def …`."""
    kinds = {name: kind_of(name, value, values) for name, (value, _) in values.items()}
    return "\n".join(
        f"({kinds[name]}) {name}{':' if kinds[name] == 'code' else '='}{text_of(value)}"
        for name, (value, _) in values.items()
    )


def constraint_lines(values: Mapping[str, tuple[Any, Any]]) -> str:
    """`(float) x0: description` for each value that has a description."""
    return "\n".join(
        f"({kind_of(name, value, values)}) {name}: {description}"
        for name, (value, description) in values.items()
        if description is not None
    )


_ENDINGS = ("=====", "Your response:")
Lines = Callable[[Mapping[str, tuple[Any, Any]]], str]


def section_bodies(
    summary: FunctionFeedback, objective: str, changeable: Lines, given: Lines, headings: Iterable[str]
) -> dict[str, Any]:
    """The bodies of the sections of a problem; two functions write the values that may change and the others.

    Texts that come from code cannot imitate the `headings`.
    """
    ours = [*headings, *_ENDINGS]
    bodies: dict[str, Any] = {
        "instruction": objective,
        "code": "\n".join(text for _, text in sorted(summary.graph)),
        "documentation": "\n".join(f"[{name}] {text}" for name, text in summary.documentation.items()),
        "variables": changeable(summary.variables),
        "inputs": given(summary.inputs),
        "others": given(summary.others),
        "outputs": given(summary.output),
        "feedback": summary.user_feedback,
    }
    for key in ("code", "documentation", "inputs", "others", "outputs"):
        bodies[key] = held(bodies[key], ours)
    bodies["feedback"] = held_feedback(bodies["feedback"], headings)
    return bodies


def held_feedback(feedback: Any, headings: Iterable[str] = (), tags: Iterable[str] = ()) -> Any:
    """The feedback itself, or its text where that has to be kept from imitating the prompt."""
    text = text_of(feedback)
    safe = held(text, (*headings, *_ENDINGS), tags)
    return feedback if safe == text else safe


def problem_instance(
    summary: FunctionFeedback,
    objective: str,
    mask: Iterable[str] | None = None,
    *,
    value_lines: Lines = value_lines,
    constraint_lines: Lines = constraint_lines,
) -> ProblemInstance:
    """The problem of a summary; the bodies under the headings listed in `mask` are left empty."""
    shown = section_bodies(summary, objective, value_lines, value_lines, DEFAULT_SYMBOLS.values())
    shown["constraints"] = constraint_lines(summary.variables)
    masked = {key for key, heading in DEFAULT_SYMBOLS.items() if heading in (mask or ())}
    return ProblemInstance(**{key: "" if key in masked else body for key, body in shown.items()})


def classic_text(suggestion: Suggestion) -> str:
    """The suggestion as a reply in this format."""
    return json.dumps({"reasoning": suggestion.reasoning, "suggestion": dict(suggestion.values)}, default=str)


def attempts_text(memory: Iterable[tuple[Mapping[str, tuple[Any, Any]], Any]]) -> str:
    """Values and the feedback they got, one JSON object an attempt."""
    attempts = [
        json.dumps(
            {"variables": {k: _writable(v[0]) for k, v in variables.items()}, "feedback": _writable(feedback)},
            indent=4,
            default=str,
        )
        for variables, feedback in memory
    ]
    return "\n\n".join(attempts)


def _writable(value: Any) -> Any:
    """The value, or its text if JSON has no form for its keys or its loops."""
    try:
        json.dumps(value, default=str)
    except (TypeError, ValueError):
        return text_of(value)
    return value


def memory_text(memory: Iterable[tuple[Mapping[str, tuple[Any, Any]], Any]]) -> str:
    """`attempts_text` under a line of introduction; empty if nothing is remembered."""
    attempts = attempts_text(memory)
    return f"{prompt_text('classic_memory')}\n\n{attempts}" if attempts else ""


class _OutputFormat:
    """The text on how to reply, with the optimizer's own keys; an instance may assign its own."""

    def __get__(self, optimizer: Any, owner: Any = None) -> str:
        template: str = (optimizer or owner).output_format_prompt_template
        return template if optimizer is None else str(optimizer._with_keys(template, "classic_answer_line"))


class ClassicMethods:
    """The first format as methods of an optimizer; a program may override each, and replace each text."""

    objective: str
    default_objective: Any
    memory: Any
    include_example: bool
    highlight_variables: bool
    use_json_object_format: bool
    ignore_extraction_error: bool
    json_keys: dict[str, str | None]
    _ask: Callable[..., str]
    _notes: Callable[[], str]

    representation_prompt = PromptText("classic_representation")
    output_format_prompt_template = PromptText("classic_output_format")
    output_format_prompt = _OutputFormat()
    user_prompt_template = PromptText("classic_user")
    example_prompt = PromptText("classic_example")
    example_problem_template = PromptText("classic_example_problem")
    example_response_template = PromptText("classic_example_response")
    final_prompt = PromptText("classic_final")
    default_prompt_symbols: Mapping[str, str] = DEFAULT_SYMBOLS
    default_json_keys: ClassVar[Mapping[str, str | None]] = {
        "reasoning": "reasoning",
        "answer": "answer",
        "suggestion": "suggestion",
    }

    def _with_keys(self, template: str, answer_line: str) -> str:
        keys = self.json_keys
        answer = f"{prompt_text(answer_line).format(answer=keys['answer'])}\n" if keys["answer"] else ""
        return template.format(reasoning=keys["reasoning"], suggestion=keys["suggestion"], answer_line=answer)

    @staticmethod
    def repr_node_value(node_dict: Mapping[str, tuple[Any, Any]]) -> str:
        """One line a value: `(float) x0=1.0`."""
        return value_lines(node_dict)

    @staticmethod
    def repr_node_constraint(node_dict: Mapping[str, tuple[Any, Any]]) -> str:
        """One line a description: `(float) x0: keep it small`."""
        return constraint_lines(node_dict)

    def problem_instance(self, summary: FunctionFeedback, mask: list[str] | None = None) -> Any:
        """The problem of a summary; `mask` lists headings whose body is left empty."""
        values, constraints = self.repr_node_value, self.repr_node_constraint
        return problem_instance(summary, self.objective, mask, value_lines=values, constraint_lines=constraints)

    def _compose(self, summary: FunctionFeedback, mask: list[str] | None) -> tuple[str, str]:
        pieces = [self._example()] if self.include_example else []
        pieces.append(self._shown(summary, mask))
        pieces.append(self._notes())
        past = self._past()
        if past:
            pieces.append(past + "\n\n")
        ending = f"{prompt_text('classic_highlight')}\n\n" if self.highlight_variables else ""
        pieces.append((ending + self.final_prompt).replace("{names}", ", ".join(summary.variables)))
        return self._system(), "".join(pieces)

    def _system(self) -> str:
        return f"{self.representation_prompt}\n\n{self.output_format_prompt}"

    def _shown(self, summary: FunctionFeedback, mask: list[str] | None) -> str:
        """The part of the user prompt that shows the problem."""
        problem = self.problem_instance(summary, mask)
        return self.user_prompt_template.replace("{problem_instance}", str(problem))

    def _past(self) -> str:
        """The part of the user prompt that shows earlier attempts; empty if there are none."""
        return memory_text(self.memory)

    def _example(self) -> str:
        problem = self.example_problem_template.replace("{objective}", self.default_objective)
        response = self._with_keys(self.example_response_template, "classic_example_answer_line")
        text = self.example_prompt.replace("{example_problem}", problem).replace("{example_response}", response)
        return text + "\n"

    def call_llm(
        self, system_prompt: str, user_prompt: str, verbose: bool | str = False, max_tokens: int = 4096
    ) -> str:
        """The reply; a call that fails is repeated once without `response_format`."""
        messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": user_prompt}]
        form = {"type": "json_object"} if self.use_json_object_format else None
        try:
            return self._ask(messages, verbose, max_tokens=max_tokens, response_format=form)
        except BudgetExceeded:
            raise
        except Exception:  # noqa: BLE001 - it may be the server's dislike of response_format
            return self._ask(messages, False, max_tokens=max_tokens)

    def extract_llm_suggestion(
        self,
        response: str,
        suggestion_tag: str | None = None,
        reasoning_tag: str | None = None,
        return_only_suggestion: bool = True,
        ignore_extraction_error: bool | None = None,
    ) -> dict[str, Any]:
        """The suggested values by name in a JSON reply; {} if there are none.

        With `return_only_suggestion=False` a dict with `reasoning` and `variables`.
        """
        suggestion_key = suggestion_tag or self.json_keys["suggestion"] or "suggestion"
        reasoning_key = reasoning_tag or self.json_keys["reasoning"] or "reasoning"
        reasoning, suggestion = read_json_reply(response, suggestion_key, reasoning_key)
        ignore = self.ignore_extraction_error if ignore_extraction_error is None else ignore_extraction_error
        if not suggestion and not ignore:
            print_color(f"Cannot extract a suggestion from the reply:\n{response}", "red")
        return suggestion if return_only_suggestion else {"reasoning": reasoning, "variables": suggestion}

    def own_values(self, reply: str) -> tuple[str, Mapping[str, Any]]:
        reasoning, _ = read_json_reply(reply, "suggestion", self.json_keys["reasoning"] or "reasoning")
        return str(reasoning), self.extract_llm_suggestion(reply)
