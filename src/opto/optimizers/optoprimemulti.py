"""OptoPrimeMulti: several candidate replies to one problem, drawn in one of several ways, and one of them chosen.

`sampling/techniques.py` has the ways to draw.
"""

from __future__ import annotations

import contextvars
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opto.cost import Cost
from opto.errors import BudgetExceeded
from opto.optimizers.formats.own_methods import STOP_WORD, OwnMethods, read_own
from opto.optimizers.formats.texts import fill, prompt_text
from opto.optimizers.llm_optimizer import LLMOptimizer, send_first, stopped
from opto.optimizers.optimizer import Optimizer, Parameters, Update
from opto.optimizers.optoprime import OptoPrime, OptoPrimeV1
from opto.optimizers.optoprime_v2 import OptoPrimeV2
from opto.optimizers.problem.problem import Problem
from opto.optimizers.replies.shapes import Suggestion, clean_name
from opto.optimizers.sampling.medoid import majority
from opto.optimizers.sampling.techniques import TECHNIQUES, Draw, quoted_answers
from opto.registry import implementation

__all__ = ["CandidateSets", "OptoPrimeMulti", "OptoPrimeMultiV2", "OptoprimeBatchOpt"]

OptoprimeBatchOpt = OptoPrime
"""An older name: a batch needs no optimizer of its own, as each output keeps its own feedback."""

_log = logging.getLogger(__name__)
_MOST_THREADS = 16
_SELECTIONS = {
    "moa": "_select_moa",
    "mixture_of_agents": "_select_moa",
    "best_of_n": "_select_bestofn",
    "bestofn": "_select_bestofn",
    "majority": "_select_majority",
}
_SETTINGS = (
    "num_responses",
    "temperature_min_max",
    "selector",
    "generation_technique",
    "selection_technique",
    "experts_list",
)


class CandidateSets(LLMOptimizer):
    """Draws `num_responses` replies by a technique of `techniques.TECHNIQUES` and chooses one.

    `selection_technique` is `best_of_n`, `moa`, `majority` or anything else for the last; `selector(candidates)`
    replaces it and returns a reply or ready values by name. `step` takes all of these for one step. `llm_profiles`
    names models for the technique `multi_llm`, in rotation.

    Put it before the optimizer whose format it speaks: `class Mine(CandidateSets, OptoPrimeV1)`.
    """

    _SAVED: tuple[str, ...] = (
        *LLMOptimizer._SAVED,
        *(name for name in _SETTINGS if name != "selector"),
        "llm_profiles",
        "llm_weights",
    )

    def __init__(  # noqa: PLR0913
        self,
        parameters: Parameters,
        llm: Any = None,
        *args: Any,
        num_responses: int = 3,
        temperature_min_max: list[float] | None = None,
        selector: Callable[[list[str]], Any] | None = None,
        generation_technique: str = "temperature_variation",
        selection_technique: str = "best_of_n",
        experts_list: list[str] | None = None,
        llm_profiles: list[str | None] | None = None,
        llm_weights: list[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters, llm, *args, **kwargs)
        self.num_responses = num_responses
        self.temperature_min_max = temperature_min_max or [0.0, 1.0]
        self.selector = selector
        self.generation_technique = generation_technique
        self.selection_technique = selection_technique
        self.experts_list = experts_list
        self.llm_profiles = llm_profiles
        self.llm_weights = llm_weights or ([1.0] * len(llm_profiles) if llm_profiles else None)
        self.candidates: list[str] = []
        self.selected_candidate: Any = None
        self._llm_instances: dict[str, Any] = {}

    # --- calls ---

    def call_llm(  # type: ignore[override]
        self,
        system_prompt: str,
        user_prompt: str,
        verbose: bool | str = False,
        max_tokens: int = 4096,
        num_responses: int = 1,
        temperature: float = 0.0,
        llm: Any = None,
    ) -> list[str]:
        """The replies of one call; [] if it fails. A budget that is used up is raised."""
        messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": user_prompt}]
        options: dict[str, Any] = {"max_tokens": max_tokens, "n": num_responses, "temperature": temperature}
        options["response_format"] = {"type": "json_object"} if self.use_json_object_format else None
        try:
            return self._ask_all(messages, verbose, llm=llm, send=send_first, **options)
        except BudgetExceeded:
            raise
        except Exception as error:  # noqa: BLE001 - one candidate less, whatever went wrong with its call
            _log.warning("A call for a candidate failed: %s: %s", type(error).__name__, error)
            return []

    def _parallel_call_llm(self, arg_dicts: list[dict[str, Any]]) -> list[str]:
        """The replies of several calls of `call_llm` at the same time, in the order of the calls."""
        if len(arg_dicts) < 2:
            return [reply for arguments in arg_dicts for reply in self.call_llm(**arguments)]
        _ = self.llm if any(arguments.get("llm") is None for arguments in arg_dicts) else None  # made once, not by each
        with ThreadPoolExecutor(min(len(arg_dicts), _MOST_THREADS)) as pool:
            waiting = [
                pool.submit(contextvars.copy_context().run, lambda a=arguments: self.call_llm(**a))
                for arguments in arg_dicts
            ]
            return [reply for future in waiting for reply in future.result()]

    def _get_llm_for_profile(self, profile: str | None = None) -> Any:
        """The model of a profile, made once; the optimizer's own without a profile or if it cannot be made."""
        if profile is None:
            return self.llm
        if profile not in self._llm_instances:
            try:
                self._llm_instances[profile] = implementation("model factory").get_llm(profile)
            except Exception as error:  # noqa: BLE001 - any backend may refuse in its own way
                _log.warning("No model for the profile %r, the default one is used: %s", profile, error)
                return self.llm
        return self._llm_instances[profile]

    def _get_llms_for_generation(self, num_responses: int) -> list[Any]:
        """A model for each reply, the profiles in rotation."""
        profiles = self.llm_profiles or [None]
        return [self._get_llm_for_profile(profiles[i % len(profiles)]) for i in range(num_responses)]

    # --- choices ---

    def select_candidate(
        self, candidates: list[Any], selection_technique: str = "moa", problem_summary: str = ""
    ) -> Any:
        """The chosen reply; {} if there are no candidates."""
        if len(candidates) < 2:
            return candidates[0] if candidates else {}
        texts = [c if isinstance(c, str) else json.dumps(c, default=str) for c in candidates]
        select = _SELECTIONS.get(selection_technique.lower())
        return getattr(self, select)(candidates, texts, problem_summary) if select else candidates[-1]

    def _select_moa(self, candidates: list[Any], texts: list[str], summary: str = "") -> Any:
        """A new reply that unites the candidates, by one call."""
        return self._ask_about("multi_mix", candidates, texts, summary)

    def _select_bestofn(self, candidates: list[Any], texts: list[str], summary: str = "") -> Any:
        """The candidate that the model calls the best, by one call."""
        return self._ask_about("multi_choose", candidates, texts, summary)

    def _select_majority(self, candidates: list[Any], texts: list[str], summary: str = "") -> Any:
        """The candidate in the middle of the biggest group of similar ones."""
        return candidates[majority(texts)]

    def _suggestion_of(self, picked: Any, problem: Problem) -> Suggestion:
        """What the chosen reply, or ready values by name, suggest."""
        if isinstance(picked, str):
            return read_own(self, picked, self._with_all_parts(problem))
        if not picked:
            return Suggestion(fault="there is no candidate: every call of the model failed, or the selector chose none")
        return Suggestion({clean_name(str(name)): value for name, value in picked.items()})

    def _ask_about(self, system: str, candidates: list[Any], texts: list[str], summary: str) -> Any:
        user = fill("multi_select", problem=summary, answers=quoted_answers(texts))
        replies = self.call_llm(prompt_text(system), user, max_tokens=self.max_tokens, temperature=0.0)
        return replies[0] if replies else candidates[-1]

    # --- the step ---

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

    def propose_each(self, n: int, temperatures: Sequence[float] | None = None) -> Iterator[Update]:
        """`n` proposals, each by a whole step, whose technique sets its own temperatures."""
        return Optimizer.propose_each(self, n, temperatures)

    def _step(self, verbose: bool | str = False, mask: list[str] | None = None, *args: Any, **kwargs: Any) -> Update:
        self.spent = Cost()
        if not self._trainable():
            return Update(reason="none of the parameters is trainable")
        chosen = {k: getattr(self, k) if kwargs.get(k) is None else kwargs[k] for k in _SETTINGS}
        selector, selection = chosen.pop("selector"), chosen.pop("selection_technique")
        summary = self.summarize()
        system, user = (m["content"] for m in OwnMethods(self, summary, mask).prompt(summary.problem, 0, 0).messages)
        self.candidates = self.generate_candidates(summary, system, user, verbose, mask, self.max_tokens, **chosen)
        picked: Any = STOP_WORD
        if not any(reply.strip() == STOP_WORD for reply in self.candidates):
            choose = selector if selector and self.candidates else None
            picked = choose(self.candidates) if choose else self.select_candidate(self.candidates, selection, user)
        self.selected_candidate = picked
        if isinstance(picked, str) and picked.strip() == STOP_WORD:
            return stopped()
        update = self._believe(self._suggestion_of(picked, summary.problem))
        entry = {"system_prompt": system, "user_prompt": user, "response": self.candidates}
        technique = chosen["generation_technique"]
        self._record({**entry, "generation_technique": technique, "llm_profiles": self.llm_profiles}, summary, mask)
        return update


class OptoPrimeMulti(CandidateSets, OptoPrimeV1):  # type: ignore[misc]  # call_llm gives a list
    """OptoPrimeV1 that draws several replies and chooses one; its options are those of `CandidateSets` and
    OptoPrimeV1.

    Example:
        >>> from opto.llm.fakes import DummyLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> llm = DummyLLM(lambda messages, **options: '{"suggestion": {"x0": 4}}')
        >>> optimizer = OptoPrimeMulti([x], llm=llm, selection_technique="majority")
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, len(optimizer.candidates), optimizer.spent.calls
        (True, 3, 3)
    """

    _SAVED: tuple[str, ...] = tuple(dict.fromkeys((*CandidateSets._SAVED, *OptoPrimeV1._SAVED)))


class OptoPrimeMultiV2(CandidateSets, OptoPrimeV2):  # type: ignore[misc]  # call_llm gives a list
    """OptoPrimeV2 that draws several replies and chooses one; its options are those of `CandidateSets` and
    OptoPrimeV2. Tags need no escaping, so candidates of code and long texts survive better than in JSON.

    Example:
        >>> from opto.llm.fakes import DummyLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> llm = DummyLLM(lambda messages, **options: '<variable><name>x0</name><value>4</value></variable>')
        >>> optimizer = OptoPrimeMultiV2([x], llm=llm, selection_technique="majority")
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, len(optimizer.candidates), optimizer.spent.calls
        (True, 3, 3)
    """

    _SAVED: tuple[str, ...] = tuple(dict.fromkeys((*CandidateSets._SAVED, *OptoPrimeV2._SAVED)))
