"""OPROv2: the problem in words, the present solution and the feedback on the solution, in tagged sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opto.optimizers.formats.classic import held_feedback
from opto.optimizers.formats.tags import OptimizerPromptSymbolSet, Tags, masked_titles, sections, tagged_values
from opto.optimizers.formats.texts import PromptText
from opto.optimizers.optimizer import Parameters
from opto.optimizers.optoprime_v2 import OptoPrimeV2
from opto.optimizers.problem.problem import FunctionFeedback

__all__ = ["OPROPromptSymbolSet", "OPROv2", "ProblemInstance"]

_ORDER = ("instruction", "variables", "feedback")


class OPROPromptSymbolSet(OptimizerPromptSymbolSet):
    """Three sections; a value of the solution stands in `<solution>` tags, replies keep `<variable>`."""

    instruction_section_title = "# Problem Context"
    variables_section_title = "# Solution"
    variable_tag = "solution"

    @property
    def default_prompt_symbols(self) -> dict[str, str]:
        """The titles by the keys of `prompt_symbols`."""
        return {key: getattr(self, f"{key}_section_title") for key in ("variables", "feedback", "instruction")}


@dataclass
class ProblemInstance:
    """The problem as OPROv2 shows it; `str()` renders it."""

    instruction: str
    variables: str
    feedback: Any
    optimizer_prompt_symbol_set: OptimizerPromptSymbolSet

    def __str__(self) -> str:
        return sections(self, _ORDER)

    __repr__ = __str__


class OPROv2(OptoPrimeV2):
    """Optimization by prompting: the model sees no graph, only the solution, its feedback and earlier rounds.

    Say in `objective` what the problem is; `memory_size` rounds are shown.

    Example:
        >>> from opto.llm.fakes import ScriptedLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> llm = ScriptedLLM(["<variable><name>x0</name><value>4</value></variable>"])
        >>> optimizer = OPROv2([x], llm=llm, objective="Guess my number.")
        >>> optimizer.backward(x, "more")
        >>> optimizer.step() == {x: 4}, x.data
        (True, 4)
    """

    representation_prompt_template = PromptText("opro_tags_representation")
    default_objective = PromptText("opro_tags_objective")
    example_reasoning = PromptText("opro_tags_example_reasoning")
    default_symbol_set = OPROPromptSymbolSet

    def __init__(
        self,
        parameters: Parameters,
        llm: Any = None,
        *args: Any,
        memory_size: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters, llm, *args, memory_size=memory_size, **kwargs)

    def problem_instance(self, summary: FunctionFeedback, mask: list[str] | None = None) -> Any:
        """The problem of a summary, long values cut; `mask` lists titles whose body is left empty."""
        symbols = self.optimizer_prompt_symbol_set
        tags = Tags(symbols.variable_tag, symbols.value_tag, symbols.constraint_tag)
        body = {
            "instruction": self._fill(self.objective),
            "variables": tagged_values(summary.variables, tags, self.initial_var_char_limit, self.truncate_expression),
            "feedback": held_feedback(summary.user_feedback, symbols.default_prompt_symbols.values(), symbols.tags),
        }
        masked = masked_titles(mask, symbols.default_prompt_symbols)
        shown: dict[str, Any] = {key: "" if key in masked else text for key, text in body.items()}
        return ProblemInstance(**shown, optimizer_prompt_symbol_set=symbols)
