"""The words of the second format: section titles, tags, and the form of a reply. Users subclass these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.replies.json_replies import drop_blank_code, read_json_reply
from opto.optimizers.replies.tag_replies import extract_xml_like_data

__all__ = ["OptimizerPromptSymbolSet", "OptimizerPromptSymbolSet2", "OptimizerPromptSymbolSetJSON"]


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
