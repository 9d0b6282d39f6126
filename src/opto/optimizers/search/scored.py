"""An optimizer that keeps scores: every candidate that ran becomes a trial in a history that can be saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from opto.errors import LoadError
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.problem.collect import unique_parameters
from opto.optimizers.problem.show import cut_middle
from opto.optimizers.search.trials import START, Trial, best_of, read_score
from opto.trace.nodes import ExceptionNode, Node, ParameterNode
from opto.trace.spaces import plain_value

__all__ = ["ScoredOptimizer"]

_SHOWN = 400


class ScoredOptimizer(Optimizer):
    """Reads a score from what `backward` is given; `_observe`, at the start of a step, turns it into a trial."""

    _SAVED: tuple[str, ...] = (*Optimizer._SAVED, "maximize", "by", "asked", "history")

    def __init__(
        self,
        parameters: list[ParameterNode[Any]],
        *,
        maximize: bool = True,
        score: Callable[[Any], float | None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(parameters, **options)
        self.maximize, self.score = maximize, score
        self.trials: list[Trial] = []
        self.by, self.asked = START, False  # of the present values
        self._heard: list[tuple[float | None, str]] = []

    def zero_feedback(self) -> None:
        """Forget the feedback on all parameters, and its score."""
        super().zero_feedback()
        self._heard = []

    def backward(self, node: Node[Any], *args: Any, score: float | None = None, **kwargs: Any) -> Any:
        """`node.backward(feedback, …)`, and its `score` where the feedback holds none; a failed call needs none."""
        feedback = args[0] if args else kwargs.pop("feedback", "" if score is None else score)
        heard = self._read(node, feedback) if score is None else float(score)
        self._heard.append((heard, cut_middle(str(feedback), _SHOWN)))
        return super().backward(node, feedback, *args[1:], **kwargs)

    def _read(self, node: Node[Any], feedback: Any) -> float | None:
        if isinstance(node, ExceptionNode):
            return -math.inf if self.maximize else math.inf
        said = feedback.data if isinstance(feedback, Node) else feedback
        if self.score is None:
            return read_score(said)
        value = self.score(said)
        return None if value is None else float(value)

    def _observe(self) -> None:
        """The candidate that ran becomes a trial."""
        heard, self._heard = self._heard, []
        if not heard:
            return
        scores = [score for score, _ in heard if score is not None]
        score = None
        if scores:
            mean = sum(scores) / len(scores)
            score = -math.inf if not math.isfinite(mean) else mean if self.maximize else -mean
        values = {p.py_name: plain_value(p) for p in unique_parameters(self.parameters)}
        feedback = "\n".join(dict.fromkeys(text for _, text in heard))
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
