"""The second format: sections of tagged values, earlier attempts as rounds, and its words, which users subclass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opto.optimizers.formats.classic import held_feedback, kind_of, section_bodies
from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.problem import FunctionFeedback
from opto.optimizers.replies.json_replies import drop_blank_code, read_json_reply
from opto.optimizers.replies.tags_and_fences import extract_xml_like_data
from opto.optimizers.utils import truncate_expression
from opto.show import held, text_of

__all__ = [
    "MemoryInstance",
    "OptimizerPromptSymbolSet",
    "OptimizerPromptSymbolSet2",
    "OptimizerPromptSymbolSetJSON",
    "ProblemInstance",
    "Tags",
    "masked_titles",
    "problem_instance",
    "sections",
    "tagged_values",
]

_OUR_TAGS = ("node", "variable", "value", "constraint", "reasoning", "name", "const", "var", "data", "reason")
_CODE_PREFIX = "The code should start with:\n"
_ORDER = ("instruction", "code", "documentation", "variables", "inputs", "others", "outputs", "feedback")


class OptimizerPromptSymbolSet:
    """Titles and tags of a V2 prompt, and how its replies are written and read.

    With `custom_output_format_instruction` set, `example_output` and `output_response_extractor` must
    be overridden too.

    >>> print(OptimizerPromptSymbolSet().example_output("too low", {"x0": 3}))
    <reasoning>
    too low
    </reasoning>
    <BLANKLINE>
    <variable>
    <name>x0</name>
    <value>
    3
    </value>
    </variable>
    """

    variables_section_title = "# Variables"
    inputs_section_title = "# Inputs"
    outputs_section_title = "# Outputs"
    others_section_title = "# Others"
    feedback_section_title = "# Feedback"
    instruction_section_title = "# Instruction"
    code_section_title = "# Code"
    documentation_section_title = "# Documentation"

    node_tag = "node"
    variable_tag = "variable"
    value_tag = "value"
    constraint_tag = "constraint"

    reasoning_tag = "reasoning"
    improved_variable_tag = "variable"
    name_tag = "name"

    expect_json = False
    custom_output_format_instruction: str | None = None

    @property
    def output_format(self) -> str:
        """The instruction on how to reply."""
        if self.custom_output_format_instruction is not None:
            return self.custom_output_format_instruction.strip()
        text = prompt_text("tags_output_format")
        for attribute in ("reasoning_tag", "improved_variable_tag", "name_tag", "value_tag"):
            text = text.replace("{" + attribute + "}", getattr(self, attribute))
        return text

    def example_output(self, reasoning: str, variables: Mapping[str, Any]) -> str:
        """A reply that proposes `variables`."""
        self._refuse_custom("example_output")
        blocks = [f"<{self.reasoning_tag}>\n{reasoning}\n</{self.reasoning_tag}>"]
        blocks += [
            f"<{self.improved_variable_tag}>\n<{self.name_tag}>{name}</{self.name_tag}>\n"
            f"<{self.value_tag}>\n{value}\n</{self.value_tag}>\n</{self.improved_variable_tag}>"
            for name, value in variables.items()
        ]
        return "\n\n".join(blocks)

    def output_response_extractor(self, response: str) -> dict[str, Any]:
        """`{"reasoning": str, "variables": {name: value}}` of a reply."""
        self._refuse_custom("output_response_extractor")
        found = extract_xml_like_data(
            response, self.reasoning_tag, self.improved_variable_tag, self.name_tag, self.value_tag
        )
        return {"reasoning": found["reasoning"], "variables": drop_blank_code(found["variables"])}

    def _refuse_custom(self, method: str) -> None:
        if self.custom_output_format_instruction is not None:
            raise NotImplementedError(
                f"{type(self).__name__} has its own custom_output_format_instruction, so it must override {method}."
            )

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags that a prompt or a reply may have."""
        names = ("node", "variable", "value", "constraint", "reasoning", "improved_variable", "name")
        return tuple(dict.fromkeys(str(getattr(self, f"{name}_tag")) for name in names))

    @property
    def default_prompt_symbols(self) -> dict[str, str]:
        """The titles by the keys of `prompt_symbols`."""
        keys = ("variables", "inputs", "outputs", "others", "feedback", "instruction", "code", "documentation")
        return {key: getattr(self, f"{key}_section_title") for key in keys}


class OptimizerPromptSymbolSetJSON(OptimizerPromptSymbolSet):
    """Replies as a JSON object `{"reasoning": …, "suggestion": {name: value}}`."""

    expect_json = True

    @property
    def output_format(self) -> str:
        """The instruction on how to reply."""
        return self.custom_output_format_instruction or prompt_text("tags_output_format_json")

    def example_output(self, reasoning: str, variables: Mapping[str, Any]) -> str:
        return json.dumps({"reasoning": reasoning, "suggestion": dict(variables)}, indent=2, default=str)

    def output_response_extractor(self, response: str) -> dict[str, Any]:
        reasoning, variables = read_json_reply(response, "suggestion", "reasoning")
        return {"reasoning": reasoning, "variables": variables}


class OptimizerPromptSymbolSet2(OptimizerPromptSymbolSet):
    """Shorter tags."""

    node_tag = "const"
    variable_tag = "var"
    value_tag = "data"
    reasoning_tag = "reason"
    improved_variable_tag = "var"


def sections(problem: Any, keys: Iterable[str]) -> str:
    """The fields `keys` of a problem, each under the title that its symbol set gives it."""
    titles = problem.optimizer_prompt_symbol_set.default_prompt_symbols
    return "\n\n".join(f"{titles[key]}\n{getattr(problem, key)}" for key in keys) + "\n"


def masked_titles(mask: Iterable[str] | None, titles: Mapping[str, str]) -> frozenset[str]:
    """The keys of the sections whose body is left empty; titles in `mask` may lack the blank after `#`."""
    masked = {title.replace("# ", "#") for title in mask or ()}
    keys = {key for key, title in titles.items() if title.replace("# ", "#") in masked}
    return frozenset(keys | ({"instruction"} if "#Instruction" in masked else set()))


@dataclass
class ProblemInstance:
    """The problem as the second format shows it; `str()` renders it."""

    instruction: str
    code: str
    documentation: str
    variables: str
    inputs: str
    others: str
    outputs: str
    feedback: Any
    optimizer_prompt_symbol_set: OptimizerPromptSymbolSet

    def __str__(self) -> str:
        return sections(self, _ORDER)

    __repr__ = __str__


@dataclass
class MemoryInstance:
    """An earlier attempt: values `(data, description)` by name and their feedback; `str()` renders round `index`."""

    variables: Mapping[str, tuple[Any, Any]]
    feedback: Any
    optimizer_prompt_symbol_set: OptimizerPromptSymbolSet
    index: int | None = None

    def __str__(self) -> str:
        symbols = self.optimizer_prompt_symbol_set
        name, value, variable = symbols.name_tag, symbols.value_tag, symbols.improved_variable_tag
        blocks = [
            f"<{variable}>\n<{name}>{key}</{name}>\n<{value}>\n{data}\n</{value}>\n</{variable}>"
            for key, (data, _) in self.variables.items()
        ]
        said = held(
            text_of(self.feedback), symbols.default_prompt_symbols.values(), (*symbols.tags, "feedback", "round")
        )
        body = "\n".join([*blocks, f"<feedback>\n{said}\n</feedback>"])
        number = "" if self.index is None else f" {self.index}"
        return f"<round{number}>\n{body}\n</round{number}>"


@dataclass(frozen=True)
class Tags:
    """The tags of one kind of value."""

    node: str
    value: str = "value"
    constraint: str | None = None


def tagged_values(
    values: Mapping[str, tuple[Any, Any]],
    tags: Tags,
    limit: int | None = None,
    truncate: Callable[[Any, int], str] = truncate_expression,
) -> str:
    """One tagged entry a value, blank lines between; values longer than `limit` characters are cut.

    Constraints are shown where the tags have a name for them. Of code only the body is cut.
    """
    entries: list[str] = []
    for name, (value, description) in values.items():
        kind = kind_of(name, value, values)
        text = text_of(value)
        if limit is not None:
            signature = (description or "").removeprefix(_CODE_PREFIX) if kind == "code" else ""
            start = text.find(signature) + len(signature) if signature and signature in text else 0
            text = text[:start] + truncate(text[start:] if kind == "code" else value, limit)
        text = text if tags.constraint is not None else held(text, (), (*_OUR_TAGS, tags.node, tags.value))
        inner = f"<{tags.value}>\n{text}\n</{tags.value}>\n"
        if tags.constraint is not None and description is not None:
            inner += f"<{tags.constraint}>\n{description}\n</{tags.constraint}>\n"
        entries.append(f'<{tags.node} name="{name}" type="{kind}">\n{inner}</{tags.node}>\n')
    return "\n".join(entries)


def problem_instance(
    summary: FunctionFeedback,
    objective: str,
    symbols: OptimizerPromptSymbolSet,
    *,
    mask: Iterable[str] | None = None,
    show: Callable[[Mapping[str, tuple[Any, Any]]], str],
) -> ProblemInstance:
    """The problem of a summary; `show` writes the values that may not change, `mask` lists titles to leave empty."""
    tags = Tags(symbols.variable_tag, symbols.value_tag, symbols.constraint_tag)
    titles = symbols.default_prompt_symbols.values()
    shown = section_bodies(summary, objective, lambda values: tagged_values(values, tags), show, titles)
    for key in ("code", "documentation"):
        shown[key] = held(shown[key], tags=symbols.tags)
    shown["feedback"] = held_feedback(shown["feedback"], tags=symbols.tags)
    masked = masked_titles(mask, symbols.default_prompt_symbols)
    body: dict[str, Any] = {key: "" if key in masked else text for key, text in shown.items()}
    return ProblemInstance(**body, optimizer_prompt_symbol_set=symbols)
