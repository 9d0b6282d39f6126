"""OPRO: the model sees no graph, only the values tried so far and the feedback on each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from opto.optimizers.formats.classic import attempts_text
from opto.optimizers.formats.texts import PromptText
from opto.optimizers.optimizer import Parameters
from opto.optimizers.optoprime import OptoPrimeV1
from opto.optimizers.problem.problem import FunctionFeedback

__all__ = ["OPRO"]


class OPRO(OptoPrimeV1):
    """Optimization by prompting after Yang et al. (2023, arXiv 2309.03409): the model sees every attempt so far.

    `buffer` holds the pairs `(variables, feedback)` of all prompts made, oldest first; nothing is dropped.

    Example:
        >>> from opto.llm.fakes import ScriptedLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> optimizer = OPRO([x], llm=ScriptedLLM(['{"suggestion": {"x0": 4}}']))
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, len(optimizer.buffer)
        (True, 1)
    """

    _SAVED: tuple[str, ...] = (*OptoPrimeV1._SAVED, "buffer")

    default_objective = PromptText("opro_objective")
    user_prompt_template = PromptText("opro_user")
    output_format_prompt_template = PromptText("opro_output_format")
    example_problem_template = PromptText("opro_example_problem")
    example_response_template = PromptText("opro_example_response")
    default_json_keys: ClassVar[Mapping[str, str | None]] = {**OptoPrimeV1.default_json_keys, "answer": None}

    def __init__(self, parameters: Parameters, llm: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(parameters, llm, *args, **kwargs)
        self.buffer: list[tuple[Any, Any]] = []

    def construct_prompt(
        self, summary: FunctionFeedback, mask: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> tuple[str, str]:
        """(system prompt, user prompt); the attempt that the summary is about joins the buffer first."""
        self.buffer.append((summary.variables, summary.user_feedback))
        return super().construct_prompt(summary, mask, *args, **kwargs)

    def _system(self) -> str:
        return self.output_format_prompt

    def _shown(self, summary: FunctionFeedback, mask: list[str] | None) -> str:
        before, _, after = self.user_prompt_template.partition("{attempts}")
        return before + attempts_text(self.buffer) + after.replace("{objective}", self.objective)

    def _past(self) -> str:
        return ""  # the buffer holds what the memory would
