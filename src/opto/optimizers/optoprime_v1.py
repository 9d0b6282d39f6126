"""OptoPrimeV1: the problem under `#Headings`, the reply as a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from opto.errors import BudgetExceeded
from opto.optimizers.formats.classic import (
    DEFAULT_SYMBOLS,
    constraint_lines,
    memory_text,
    problem_instance,
    value_lines,
)
from opto.optimizers.formats.texts import PromptText, prompt_text
from opto.optimizers.llm_optimizer import LLMOptimizer
from opto.optimizers.problem.collect import FunctionFeedback
from opto.optimizers.replies.json_replies import read_json_reply
from opto.optimizers.utils import print_color
from opto.trace.nodes import ParameterNode

__all__ = ["OptoPrimeV1"]


class OptoPrimeV1(LLMOptimizer):
    """The optimizer of Cheng, Nie, Swaminathan (2024, arXiv 2406.16218): one call of a model a step.

    `json_keys` renames the fields of the reply (`answer: None` drops that field), `prompt_symbols` the
    headings; `highlight_variables` asks for the variables by name once more at the end.

    Example:
        >>> from opto.llm.fakes import ScriptedLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> optimizer = OptoPrimeV1([x], llm=ScriptedLLM(['{"suggestion": {"x0": 4}}']))
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, x.data
        (True, 4)
    """

    _SAVED: tuple[str, ...] = (
        *LLMOptimizer._SAVED,
        "prompt_symbols",
        "json_keys",
        "output_format_prompt",
        "highlight_variables",
        "use_json_object_format",
    )

    representation_prompt = PromptText("classic_representation")
    output_format_prompt_template = PromptText("classic_output_format")
    default_objective = PromptText("classic_objective")
    user_prompt_template = PromptText("classic_user")
    example_prompt = PromptText("classic_example")
    example_problem_template = PromptText("classic_example_problem")
    example_response_template = PromptText("classic_example_response")
    final_prompt = PromptText("classic_final")
    default_prompt_symbols = DEFAULT_SYMBOLS
    default_json_keys: ClassVar[Mapping[str, str | None]] = {
        "reasoning": "reasoning",
        "answer": "answer",
        "suggestion": "suggestion",
    }

    def __init__(
        self,
        parameters: list[ParameterNode[Any]],
        llm: Any = None,
        *args: Any,
        json_keys: Mapping[str, str | None] | None = None,
        highlight_variables: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters, llm, *args, **kwargs)
        self.json_keys: dict[str, str | None] = {**self.default_json_keys, **(json_keys or {})}
        self.highlight_variables = highlight_variables
        self.output_format_prompt = self._with_keys(self.output_format_prompt_template, "classic_answer_line")

    def _with_keys(self, template: str, answer_line: str) -> str:
        keys = self.json_keys
        answer = f"{prompt_text(answer_line).format(answer=keys['answer'])}\n" if keys["answer"] else ""
        return template.format(reasoning=keys["reasoning"], suggestion=keys["suggestion"], answer_line=answer)

    # --- the prompt ---

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
        return problem_instance(summary, self.objective, mask)

    def _compose(self, summary: FunctionFeedback, mask: list[str] | None) -> tuple[str, str]:
        pieces = [self._example()] if self.include_example else []
        pieces.append(self._shown(summary, mask))
        pieces.append(self._notes())
        past = self._past()
        if past:
            pieces.append(past + "\n\n")
        if self.highlight_variables:
            names = ", ".join(summary.variables)
            pieces.append(prompt_text("classic_highlight").replace("{names}", names) + "\n\n")
        return self._system(), "".join([*pieces, self.final_prompt])

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

    # --- the call and the reply ---

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

    def _own_values(self, reply: str) -> tuple[str, Mapping[str, Any]]:
        found = self.extract_llm_suggestion(reply)
        reasoning, _ = read_json_reply(reply, "suggestion", self.json_keys["reasoning"] or "reasoning")
        return str(reasoning), found
