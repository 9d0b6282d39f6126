"""Mixed: one run tunes prompts, code, numbers and choices. A model writes texts; a search finds numbers and choices."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from opto.cost import Cost
from opto.errors import BudgetExceeded, LoadError, ReplyError
from opto.optimizers.buffers import FIFOBuffer
from opto.optimizers.optimizer import Optimizer, Parameters, Update
from opto.optimizers.optoprime import OptoPrime
from opto.optimizers.problem.problem import unique_parameters
from opto.optimizers.replies.values import same_value
from opto.optimizers.search.axes import Axis, axis_of
from opto.optimizers.search.proposals import SamplerFactory, ScoredPoint, suggest
from opto.optimizers.search.trials import (
    MODEL,
    SEARCH,
    START,
    Trial,
    best_of,
    comparable_scores,
    model_has_rested,
    read_score,
    unsearched_values,
)
from opto.show import text_of
from opto.trace.nodes import ExceptionNode, Node, ParameterNode
from opto.trace.propagators.propagators import Propagator
from opto.trace.propagators.readable import readable
from opto.trace.spaces import Space, plain_value, space_of

__all__ = ["Mixed"]

_log = logging.getLogger(__name__)
_SHOWN = 400  # characters of a feedback that the history keeps


class Mixed(Optimizer):
    """Tunes numbers and choices (`space=Float(…)`, `Int`, `Choice`) by search, everything else by `OptoPrime`.

    Each step takes the score of the last candidate: the feedback is one or holds one (a number; a share such as
    "2 of 4"; a text with one number), or `backward(…, score=…)` or the function `score` gives it; of several the mean.
    Then one side proposes the next candidate: the model while its proposals gain, else every second, then every fourth
    time, and only on a run of the best texts so far; the search, around the best numbers, the rest of the time.
    Higher is better unless `maximize=False`. After `budget` candidates, or when there is nothing left to try, a step
    puts back the best values (and its `reasoning` says why). Without texts no model is needed, and none is made.

    `sampler(seed)` makes the sampler of `optuna` (extra `search`; default TPE); all other options are OptoPrime's.

    Example:
        >>> from opto.trace import GRAPH, node
        >>> from opto.trace.spaces import Choice
        >>> GRAPH.clear()
        >>> right = {"a": "y", "b": "x"}
        >>> parts = {name: node("x", name=name, trainable=True, space=Choice("xyz")) for name in right}
        >>> optimizer = Mixed(list(parts.values()), seed=1)
        >>> while (count := sum(part.data == right[name] for name, part in parts.items())) < 2:
        ...     optimizer.backward(parts["a"] + parts["b"], f"{count} of 2 are right")
        ...     _ = optimizer.step()
        ...     optimizer.zero_feedback()
        >>> [part.data for part in parts.values()], len(optimizer.trials) < 9
        (['y', 'x'], True)
    """

    _SAVED = (*Optimizer._SAVED, "maximize", "by", "asked", "history", "seed", "budget", "writer_state")

    def __init__(  # noqa: PLR0913
        self,
        parameters: Parameters,
        llm: Any = None,
        *,
        seed: int = 0,
        budget: int | None = None,
        maximize: bool = True,
        score: Callable[[Any], float | None] | None = None,
        sampler: SamplerFactory | None = None,
        propagator: Propagator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(parameters, propagator=propagator)
        self.seed, self.budget, self.maximize = seed, budget, maximize
        self.score, self.sampler = score, sampler
        self.trials: list[Trial] = []
        self.by, self.asked = START, False  # of the present values
        self._feedbacks: list[tuple[float | None, str]] = []  # score and text of each feedback since the last step
        self.writer: OptoPrime | None = None
        """The optimizer that asks the model for texts; None where a search is enough."""
        if llm is not None or self._texts():
            options = {"memory_size": 4, "propagator": self.propagator, **options}
            self.writer = OptoPrime(self._texts() or self.parameters, llm, **options)

    # --- scores ---

    def zero_feedback(self) -> None:
        """Forget the feedback on all parameters, and its score."""
        super().zero_feedback()
        self._feedbacks = []

    def backward(self, node: Node[Any], *args: Any, score: float | None = None, **kwargs: Any) -> Any:
        """`node.backward(feedback, …)`, and its `score` where the feedback holds none; a failed call needs none."""
        feedback = args[0] if args else kwargs.pop("feedback", "" if score is None else score)
        number = self._score_of(node, feedback) if score is None else float(score)
        self._feedbacks.append((number, text_of(readable(feedback), _SHOWN)))
        return super().backward(node, feedback, *args[1:], **kwargs)

    def _score_of(self, node: Node[Any], feedback: Any) -> float | None:
        if isinstance(node, ExceptionNode):
            return -math.inf if self.maximize else math.inf
        content = feedback.data if isinstance(feedback, Node) else feedback
        if self.score is None:
            return read_score(content)
        value = self.score(content)
        return None if value is None else float(value)

    def _add_trial(self) -> None:
        """The candidate that ran becomes a trial."""
        feedbacks, self._feedbacks = self._feedbacks, []
        if not feedbacks:
            return
        scores = [score for score, _ in feedbacks if score is not None]
        score = None
        if scores:
            mean = sum(scores) / len(scores)
            score = -math.inf if not math.isfinite(mean) else mean if self.maximize else -mean
        values = {p.py_name: plain_value(p) for p in unique_parameters(self.parameters)}
        feedback = "\n".join(dict.fromkeys(text for _, text in feedbacks))
        self.trials.append(Trial(values, score, feedback, self.by, self.asked))

    @property
    def best(self) -> Trial | None:
        """The best trial so far; its `score` is higher for better also if scores are minimized."""
        return best_of(self.trials)

    @property
    def best_score(self) -> float | None:
        """The best score so far, as it was given."""
        best = self.best
        return None if best is None or best.score is None else best.score if self.maximize else -best.score

    # --- the parts of the model and of the search ---

    def _axes(self) -> dict[str, Axis]:
        found = {p.py_name: axis_of(space_of(p)) for p in unique_parameters(self.parameters) if p.trainable}
        return {name: axis for name, axis in found.items() if axis is not None}

    def _texts(self) -> list[ParameterNode[Any]]:
        return [p for p in unique_parameters(self.parameters) if p.trainable and axis_of(space_of(p)) is None]

    @property
    def llm(self) -> Any:
        """The model of the writer; None where there is none."""
        return None if self.writer is None else self.writer.llm

    @property
    def log(self) -> list[dict[str, Any]] | None:
        """The prompts and replies of the model."""
        return [] if self.writer is None else self.writer.log

    # --- the step ---

    def _step(self, *args: Any, **kwargs: Any) -> Update:
        self._add_trial()
        self.spent = Cost()
        best, axes = best_of(self.trials), self._axes()
        if best is None:
            return self._ask_for_all(*args, **kwargs)
        if self.budget is not None and len(self.trials) >= self.budget:
            return self._best_again(best, f"the budget of {self.budget} candidates is used up")
        self.asked = not axes or self._is_models_turn(axes, best)
        written = self._ask_for_texts(axes, *args, **kwargs) if self.asked else Update()
        if written or not axes:
            self.by = MODEL
            written.update(self._values({name: best.values.get(name) for name in axes}))
            return written
        values = suggest(axes, self._points(axes), seed=self.seed, sampler=self.sampler)
        if values is None:
            return self._best_again(best, "every allowed combination was tried")
        self.by = SEARCH
        return Update(self._values({**best.values, **values}), refused=written.refused)

    def _is_models_turn(self, axes: Mapping[str, Axis], best: Trial) -> bool:
        """The model edits only the best texts, and rests for a while after an edit that gained nothing."""
        if self.writer is None or not self._texts():
            return False
        return unsearched_values(self.trials[-1], axes) == unsearched_values(best, axes) and model_has_rested(
            self.trials
        )

    def _ask_for_texts(self, axes: Mapping[str, Axis], *args: Any, **kwargs: Any) -> Update:
        """The model's proposal for the texts; an empty one if its budget is used up and a search can go on alone."""
        if self.writer is None:
            return Update(reason="none of the parameters is trainable")
        try:
            return self._ask(self.writer, self._texts(), *args, **kwargs)
        except BudgetExceeded as error:
            if not axes:
                raise
            _log.warning("The search goes on without the model. %s", error)
            return Update()

    def _ask(self, writer: OptoPrime, parts: list[ParameterNode[Any]], *args: Any, **kwargs: Any) -> Update:
        writer.parameters, writer.context, writer.blamed = parts, self.context, self.blamed
        memory = writer.memory = FIFOBuffer(writer.memory_size)
        for trial in self.trials[:-1]:
            memory.add(({name: (value, None) for name, value in trial.values.items()}, trial.feedback))
        try:
            found = writer.propose(*args, **kwargs)
        finally:
            self.spent = writer.spent
        return found if isinstance(found, Update) else Update(found)

    def _ask_for_all(self, *args: Any, **kwargs: Any) -> Update:
        """Without a score there is nothing to search by: the model, if there is one, works on all parts."""
        if self.writer is None:
            return Update(reason="no feedback holds a score: give backward(node, score=…) or Mixed(…, score=function)")
        self.by, self.asked = MODEL, True
        return self._ask(self.writer, [p for p in unique_parameters(self.parameters) if p.trainable], *args, **kwargs)

    def _points(self, axes: Mapping[str, Axis]) -> list[ScoredPoint]:
        """The trials as points of the search; not those with values that the present spaces do not hold."""
        spaces = {p.py_name: space_of(p) for p in unique_parameters(self.parameters) if p.py_name in axes}
        levels = zip(self.trials, comparable_scores(self.trials, axes), strict=True)
        return [
            ScoredPoint({name: trial.values[name] for name in axes}, level)
            for trial, level in levels
            if all(_holds(space, trial.values.get(name)) for name, space in spaces.items())
        ]

    def _values(self, plain: Mapping[str, Any]) -> dict[ParameterNode[Any], Any]:
        """The values that differ from the present ones, by parameter."""
        found: dict[ParameterNode[Any], Any] = {}
        for parameter in unique_parameters(self.parameters):
            name, space = parameter.py_name, space_of(parameter)
            changes = parameter.trainable and not same_value(plain_value(parameter), plain.get(name))
            if changes and _holds(space, plain.get(name)):
                found[parameter] = plain[name] if space is None else space.read(plain[name], lambda value: value)
        return found

    def _best_again(self, best: Trial, why: str) -> Update:
        self.by, self.asked = START, False
        why = f"{why}; the best values, with a score of {self.best_score:g}, stand"
        values = self._values(best.values)
        return Update(values, reason=None if values else why, reasoning=why)

    # --- files ---

    @property
    def history(self) -> list[dict[str, Any]]:
        """All trials as plain data."""
        return [asdict(trial) for trial in self.trials]

    @history.setter
    def history(self, trials: list[dict[str, Any]]) -> None:
        try:
            self.trials = [Trial(**trial) for trial in trials]
        except TypeError as error:
            raise LoadError(f"The saved history is damaged: {error}.") from error

    @property
    def writer_state(self) -> dict[str, Any]:
        """The settings of the writer; its memory is the history."""
        kept = () if self.writer is None else (name for name in self.writer._SAVED if name != "memory")
        return {name: getattr(self.writer, name) for name in kept}

    @writer_state.setter
    def writer_state(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if self.writer is not None:
                setattr(self.writer, name, value)


def _holds(space: Space | None, plain: Any) -> bool:
    """Whether the space holds a value from the history; None stands for a part that the trial did not have."""
    if space is None or plain is None:
        return plain is not None
    try:
        return bool(space.plain(space.read(plain, lambda value: value)) == plain)
    except ReplyError:
        return False
