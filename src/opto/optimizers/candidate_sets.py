"""A step that draws several candidate replies in one of several ways and believes one of them, in any format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opto.optimizers.asking import Tally
from opto.optimizers.candidates import CandidateOptimizer
from opto.optimizers.drawing import TECHNIQUES, Draw
from opto.optimizers.llm_optimizer import STOP_WORD, stopped
from opto.optimizers.update import Update

__all__ = ["CandidateSets"]

_SETTINGS = (
    "num_responses",
    "temperature_min_max",
    "selector",
    "generation_technique",
    "selection_technique",
    "experts_list",
)


class CandidateSets(CandidateOptimizer):
    """Draws `num_responses` replies by a technique of `drawing.TECHNIQUES` and chooses one.

    `selection_technique` is `best_of_n`, `moa`, `majority` or anything else for the last; `selector(candidates)`
    replaces it and returns a reply or ready values by name. `step` takes all of these for one step.
    """

    _SAVED: tuple[str, ...] = (
        *CandidateOptimizer._SAVED,
        *(name for name in _SETTINGS if name != "selector"),
        "llm_profiles",
        "llm_weights",
    )

    def __init__(
        self,
        *args: Any,
        num_responses: int = 3,
        temperature_min_max: list[float] | None = None,
        selector: Callable[[list[str]], Any] | None = None,
        generation_technique: str = "temperature_variation",
        selection_technique: str = "best_of_n",
        experts_list: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.num_responses = num_responses
        self.temperature_min_max = temperature_min_max or [0.0, 1.0]
        self.selector = selector
        self.generation_technique = generation_technique
        self.selection_technique = selection_technique
        self.experts_list = experts_list
        self.candidates: list[str] = []
        self.selected_candidate: Any = None

    def generate_candidates(  # noqa: PLR0913
        self,
        summary: Any,
        system_prompt: str,
        user_prompt: str,
        verbose: bool | str = False,
        mask: list[str] | None = None,
        max_tokens: int | None = None,
        num_responses: int = 3,
        generation_technique: str = "temperature_variation",
        temperature_min_max: list[float] | None = None,
        experts_list: list[str] | None = None,
    ) -> list[str]:
        """The replies of the calls that succeeded, in a fixed order; by temperature if the technique gives none."""
        shared = {"verbose": verbose, "max_tokens": max_tokens or self.max_tokens, "num_responses": 1}

        def answers(calls: list[dict[str, Any]]) -> list[str]:
            return self._parallel_call_llm([{**shared, **call} for call in calls])

        low, high = temperature_min_max or self.temperature_min_max
        models = self._get_llms_for_generation if self.llm_profiles else None
        draw = Draw(answers, system_prompt, user_prompt, num_responses, low, high, experts_list, models)
        usual = TECHNIQUES["temperature_variation"]
        technique = TECHNIQUES.get(generation_technique.lower(), usual)
        return technique(draw) or (usual(draw) if technique is not usual else [])

    def _step(self, verbose: bool | str = False, mask: list[str] | None = None, *args: Any, **kwargs: Any) -> Update:
        self.spent = Tally()
        if not self._trainable():
            return Update(reason="none of the parameters is trainable")
        chosen = {k: getattr(self, k) if kwargs.get(k) is None else kwargs[k] for k in _SETTINGS}
        selector, selection = chosen.pop("selector"), chosen.pop("selection_technique")
        summary = self.summarize()
        system, user = self._prompts(summary, mask)
        self.candidates = self.generate_candidates(summary, system, user, verbose, mask, self.max_tokens, **chosen)
        picked: Any = STOP_WORD
        if not any(reply.strip() == STOP_WORD for reply in self.candidates):
            choose = selector if selector and self.candidates else None
            picked = choose(self.candidates) if choose else self.select_candidate(self.candidates, selection, user)
        self.selected_candidate = picked
        if isinstance(picked, str) and picked.strip() == STOP_WORD:
            return stopped()
        update = self._believe(self._suggested(picked, summary.problem))
        entry = {"system_prompt": system, "user_prompt": user, "response": self.candidates}
        technique = chosen["generation_technique"]
        self._record({**entry, "generation_technique": technique, "llm_profiles": self.llm_profiles}, summary, mask)
        return update
