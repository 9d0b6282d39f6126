"""OptoPrimeV2: the problem in tagged sections, the reply in tags (or as the symbol set says)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opto.optimizers.formats.tags import (
    MemoryInstance,
    OptimizerPromptSymbolSet,
    OptimizerPromptSymbolSet2,
    OptimizerPromptSymbolSetJSON,
    ProblemInstance,
    Tags,
    problem_instance,
    tagged_values,
)
from opto.optimizers.formats.texts import PromptText, prompt_text
from opto.optimizers.llm_optimizer import LLM
from opto.optimizers.optimizer import Parameters
from opto.optimizers.optoprime import OptoPrime
from opto.optimizers.problem.problem import FunctionFeedback
from opto.optimizers.replies.json_replies import drop_blank_code
from opto.optimizers.replies.tags_and_fences import extract_xml_like_data
from opto.optimizers.utils import truncate_expression

__all__ = [
    "LLM",
    "MemoryInstance",
    "OptimizerPromptSymbolSet",
    "OptimizerPromptSymbolSet2",
    "OptimizerPromptSymbolSetJSON",
    "OptoPrimeV2",
    "ProblemInstance",
    "extract_xml_like_data",
]

_PLACEHOLDERS = (
    "variables_section_title",
    "inputs_section_title",
    "outputs_section_title",
    "others_section_title",
    "feedback_section_title",
    "instruction_section_title",
    "code_section_title",
    "documentation_section_title",
    "node_tag",
    "variable_tag",
    "value_tag",
    "constraint_tag",
)


class OptoPrimeV2(OptoPrime):
    """OptoPrime with values in tags, which need no escaping: code and long texts survive better than in JSON.

    `initial_var_char_limit` cuts values that may not change; `optimizer_prompt_symbol_set` names titles,
    tags and the form of replies; `truncate_expression(value, limit)` does the cutting.

    Example:
        >>> from opto.llm.fakes import ScriptedLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> reply = "<reasoning>r</reasoning><variable><name>x0</name><value>4</value></variable>"
        >>> optimizer = OptoPrimeV2([x], llm=ScriptedLLM([reply]))
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, x.data
        (True, 4)
    """

    _SAVED: tuple[str, ...] = (
        *(name for name in OptoPrime._SAVED if name not in ("json_keys", "_own_texts", "highlight_variables")),
        "initial_var_char_limit",
    )

    representation_prompt_template = PromptText("tags_representation")
    default_objective = PromptText("tags_objective")
    user_prompt_template = PromptText("classic_user")
    example_prompt = PromptText("classic_example")
    example_reasoning = PromptText("tags_example_reasoning")
    final_prompt = PromptText("tags_final")
    default_symbol_set: type[OptimizerPromptSymbolSet] = OptimizerPromptSymbolSet

    def __init__(
        self,
        parameters: Parameters,
        llm: Any = None,
        *args: Any,
        max_tokens: int = 8192,
        initial_var_char_limit: int = 2000,
        optimizer_prompt_symbol_set: OptimizerPromptSymbolSet | None = None,
        truncate_expression: Callable[[Any, int], str] = truncate_expression,
        **kwargs: Any,
    ) -> None:
        self.optimizer_prompt_symbol_set = optimizer_prompt_symbol_set or self.default_symbol_set()
        self.default_prompt_symbols = self.optimizer_prompt_symbol_set.default_prompt_symbols
        super().__init__(parameters, llm, *args, max_tokens=max_tokens, **kwargs)
        self.highlight_variables = False  # the last lines name the variables anyway
        self.initial_var_char_limit = initial_var_char_limit
        self.truncate_expression = truncate_expression
        self.use_json_object_format = self.use_json_object_format and self.optimizer_prompt_symbol_set.expect_json
        self.initialize_prompt()

    def _model_class(self) -> Any:
        return LLM

    def initialize_prompt(self) -> None:
        """Fill titles and tags of the symbol set into the prompts."""
        self.representation_prompt = self._fill(self.representation_prompt_template)
        self.output_format_prompt = self.optimizer_prompt_symbol_set.output_format

    def _fill(self, template: str) -> str:
        """`template` with `{…_tag}` and `{…_section_title}` (without its `# `) replaced."""
        for name in _PLACEHOLDERS:
            template = template.replace("{" + name + "}", getattr(self.optimizer_prompt_symbol_set, name).lstrip("# "))
        return template

    # --- the prompt ---

    @staticmethod
    def repr_node_value(
        node_dict: Mapping[str, tuple[Any, Any]],
        node_tag: str = "node",
        value_tag: str = "value",
        constraint_tag: str = "constraint",
    ) -> str:
        """One tagged entry a value; a constraint for variables and for code that has a description."""
        constrained = {k: v for k, v in node_dict.items() if node_tag == "variable" or "__code" in k}
        return "\n".join(
            tagged_values({k: v}, Tags(node_tag, value_tag, constraint_tag if k in constrained else None))
            for k, v in node_dict.items()
        )

    def repr_node_value_compact(
        self, node_dict: Mapping[str, tuple[Any, Any]], node_tag: str = "node", value_tag: str = "value"
    ) -> str:
        """`repr_node_value` without constraints, values cut to `initial_var_char_limit`."""
        return tagged_values(
            node_dict, Tags(node_tag, value_tag), self.initial_var_char_limit, self.truncate_expression
        )

    def problem_instance(self, summary: FunctionFeedback, mask: list[str] | None = None) -> Any:
        """The problem of a summary; `mask` lists titles whose body is left empty."""
        symbols = self.optimizer_prompt_symbol_set
        return problem_instance(
            summary,
            self._fill(self.objective),
            symbols,
            mask=mask,
            show=lambda values: self.repr_node_value_compact(values, symbols.node_tag, symbols.value_tag),
        )

    def _past(self) -> str:
        symbols = self.optimizer_prompt_symbol_set
        rounds = [
            str(MemoryInstance(variables, feedback, symbols, index))
            for index, (variables, feedback) in enumerate(self.memory, 1)
        ]
        return "\n\n".join([prompt_text("classic_memory"), *rounds]) if rounds else ""

    def _example(self) -> str:
        summary = FunctionFeedback(
            graph=[(1, "add0 = add(x=price0, y=y)"), (2, "multiply0 = multiply(x=add0, y=count0)")],
            documentation={"add": "The sum of x and y.", "multiply": "The product of x and y."},
            others={"add0": (6, None)},
            roots={},
            output={"multiply0": (18, None)},
            user_feedback="The result should be 30.",
            variables={"price0": (5, "a whole number above zero")},
            inputs={"y": (1, None), "count0": (3, None)},
        )
        shown = type(self).problem_instance(self, summary)
        shown.instruction = self._fill(self.default_objective)
        symbols = self.optimizer_prompt_symbol_set
        reply = symbols.example_output(self.example_reasoning, {"price0": 9})
        text = self.example_prompt.replace("{example_problem}", str(shown)).replace("{example_response}", reply)
        return text + "\n"

    # --- the call and the reply ---

    def call_llm(
        self, system_prompt: str, user_prompt: str, verbose: bool | str = False, max_tokens: int = 4096
    ) -> str:
        """The reply of one call; errors of the model propagate."""
        messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": user_prompt}]
        form = {"type": "json_object"} if self.use_json_object_format else None
        return self._ask(messages, verbose, max_tokens=max_tokens, response_format=form)

    def extract_llm_suggestion(self, response: str) -> dict[str, Any]:  # type: ignore[override]
        """`{"reasoning": str, "variables": {name: value}}`, read by the symbol set."""
        found = self.optimizer_prompt_symbol_set.output_response_extractor(response)
        return {**found, "variables": drop_blank_code(found.get("variables") or {})}

    def own_values(self, reply: str) -> tuple[str, Mapping[str, Any]]:
        found = self.extract_llm_suggestion(reply)
        return str(found.get("reasoning", "")), found["variables"]
