"""The base of all optimizers, and what a step returns: feedback in, new values of parameters out.

`step` = `propose` (ask for new values) → `project` (make them admissible) → `update` (write them).
A subclass writes `_step`, which returns a dict parameter -> value.
"""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opto.cost import Cost
from opto.errors import ReplyError
from opto.events import Event, emit
from opto.optimizers.blame import Blame, estimate_blame
from opto.optimizers.problem.problem import unique_parameters
from opto.optimizers.problem.uses import Focus
from opto.optimizers.replies.values import same_value
from opto.optimizers.state import read_state, write_state
from opto.trace.bundle.function import FunModule
from opto.trace.containers import ParameterContainer
from opto.trace.nodes import Node, ParameterNode
from opto.trace.propagators.graph_propagator import GraphPropagator, sum_feedback
from opto.trace.propagators.propagators import Propagator
from opto.trace.propagators.readable import exception_line

__all__ = [
    "AbstractOptimizer",
    "Optimizer",
    "Parameters",
    "PartRefused",
    "ReplyAsked",
    "StepDone",
    "Update",
    "refuse",
    "why_refused",
]

_log = logging.getLogger(__name__)
Parameters = list[ParameterNode[Any]] | ParameterContainer
"""What an optimizer is made of: parameters, or the model that holds them."""


class Update(dict[ParameterNode[Any], Any]):
    """New values by parameter; the update also lists refused values and says why it is empty.

    `refused` maps names of parts to the fault of the value suggested for them; `reason` is None when
    something changes, else one sentence; `reasoning` is the model's own, `blame` the estimate that its prompt showed.

    >>> Update(reason="the reply is empty").reason
    'the reply is empty'
    """

    def __init__(
        self,
        values: Mapping[ParameterNode[Any], Any] | None = None,
        *,
        refused: Mapping[str, str] | None = None,
        reason: str | None = None,
        reasoning: str = "",
    ) -> None:
        super().__init__(values or {})
        self.refused = dict(refused or {})
        self.reason = reason
        self.reasoning = reasoning
        self.blame = Blame()


def refuse(update: dict[ParameterNode[Any], Any], name: str, fault: str) -> None:
    """Say, wherever somebody listens, that the value for a part is not believed."""
    if isinstance(update, Update):
        update.refused[name] = fault
    _log.warning("The value suggested for %s is refused: %s", name, fault)
    emit(PartRefused(name, fault))


def why_refused(update: Update) -> str | None:
    """The refused values and the reasons, as one sentence; None if no value was refused."""
    return "; ".join(f"the value for {name} was refused: {fault}" for name, fault in update.refused.items()) or None


@dataclass(frozen=True)
class StepDone(Event):
    """A step ended. `changed` names the parameters with new values; `reason` says why there are none.

    Tokens are None when the server did not count them; `calls` and `seconds` are those of the model.
    """

    optimizer: str
    changed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    applied: bool = True
    calls: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class PartRefused(Event):
    """A suggested value was not believed; the part keeps its value."""

    part: str
    fault: str


@dataclass(frozen=True)
class ReplyAsked(Event):
    """A reply could not be used, and the model was asked once more; the second question quoted `fault`."""

    fault: str


class AbstractOptimizer(ABC):
    """Holds parameters and changes them in `step`."""

    def __init__(self, parameters: Parameters, *args: Any, **kwargs: Any) -> None:
        if isinstance(parameters, ParameterContainer):
            parameters = parameters.parameters()
        assert type(parameters) is list, "parameters is a list, for instance model.parameters(), or the model itself."
        assert parameters, (
            "parameters is empty: mark something with trainable=True; those in a list or dict are found in "
            "opto.trace.containers.Seq and Map."
        )
        assert all(isinstance(p, ParameterNode) for p in parameters), "Each of the parameters is a ParameterNode."
        self.parameters = parameters

    @abstractmethod
    def step(self) -> Any:
        """Change the parameters."""

    @abstractmethod
    def zero_feedback(self) -> None:
        """Forget the feedback on all parameters."""

    @property
    @abstractmethod
    def propagator(self) -> Any:
        """The rule by which feedback reaches the parameters."""


class Optimizer(AbstractOptimizer):
    """An optimizer whose subclass says in `_step` which values to try next.

    Example:
        >>> from opto.trace import node
        >>> class Halve(Optimizer):
        ...     def _step(self, **options):
        ...         return {p: p.data / 2 for p in self.parameters}
        >>> x = node(8.0, trainable=True)
        >>> optimizer = Halve([x])
        >>> optimizer.backward(x + 1, "too high")
        >>> optimizer.step() == {x: 4.0}, x.data
        (True, 4.0)
    """

    _SAVED: tuple[str, ...] = ("context",)
    """Attributes that `save` writes, beside the class."""

    keep_broken: bool = False
    """Whether `step` leaves code that cannot be defined as the current value; else the last good one is put back."""

    focus: Focus | None = None
    """The part that the next proposals are about, set by a trainer; an optimizer that shows all parts ignores it."""

    spent: Cost = Cost()
    """The cost of the calls for the last proposal, so far."""

    blamed: Blame = Blame()
    """The last estimate of which part is at fault; empty if none was asked for since feedback was forgotten."""

    def __init__(
        self,
        parameters: Parameters,
        *args: Any,
        propagator: Propagator | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters)
        _warn_of_equal_names(self.parameters)
        propagator = self.default_propagator() if propagator is None else propagator
        assert isinstance(propagator, Propagator), "propagator is a Propagator object."
        self._propagator = propagator
        self.context: str | None = None

    @property
    def propagator(self) -> Propagator:
        """The rule by which feedback reaches the parameters."""
        return self._propagator

    def default_propagator(self) -> Propagator:
        """The propagator used when none is given."""
        return GraphPropagator()

    @property
    def trace_graph(self) -> Any:
        """The sum of the feedback on the parameters; `_step` usually starts from this graph."""
        return sum_feedback(unique_parameters(self.parameters))

    def zero_feedback(self) -> None:
        """Forget the feedback on all parameters, and who was blamed."""
        for parameter in self.parameters:
            parameter.zero_feedback()
        self.blamed = Blame()

    def blame(
        self,
        output: Node[Any],
        alternatives: Mapping[Node[Any], Sequence[Any]],
        score: Callable[[Any], float],
        free: Iterable[FunModule] = (),
        runs: Iterable[Node[Any]] = (),
    ) -> Blame:
        """Estimate which part is at fault at `output` (see `blame.estimate_blame`); the next prompts show it."""
        mine = [p for p in unique_parameters(self.parameters) if p.trainable]
        self.blamed = estimate_blame(output, mine, alternatives, score, free, runs)
        return self.blamed

    def backward(self, node: Node[Any], *args: Any, **kwargs: Any) -> Any:
        """`node.backward(feedback, …)` with this optimizer's propagator."""
        send: Any = getattr(node, "backward", None)
        if send is None:
            raise TypeError(
                f"Feedback goes to a node, not to a value of type {type(node).__name__}: give x, not x.data."
            )
        return send(*args, propagator=self.propagator, **kwargs)

    def set_context(self, text: str | None) -> None:
        """Say more to the model in the next prompts; None takes it back."""
        self.context = text

    def step(self, bypassing: bool = False, *args: Any, **kwargs: Any) -> Update:
        """Propose, project and (unless `bypassing`) write new values; returns them.

        The result is a dict parameter -> value whose `reason` says why it is empty or changes nothing.
        """
        proposed = self.propose(*args, **kwargs)
        update = proposed if isinstance(proposed, Update) else Update(proposed)
        update.blame = self.blamed
        self.project(update)
        changed = tuple(p.py_name for p, value in update.items() if p.trainable and not same_value(value, p._data))
        if not bypassing:
            self.update(update)
            if not self.keep_broken:
                self._take_back(update)
                changed = tuple(name for name in changed if name not in update.refused)
        if not changed and update.reason is None:
            present = "the proposed values are the present ones" if update else "nothing was proposed"
            update.reason = why_refused(update) or present
        self._tell(update, changed, applied=not bypassing)
        return update

    def propose(self, *args: Any, **kwargs: Any) -> dict[ParameterNode[Any], Any]:
        """New values, not yet projected or written."""
        return self._step(*args, **kwargs)

    def propose_each(self, n: int, temperatures: Sequence[float] | None = None) -> Iterator[Update]:
        """`n` proposals, projected but not written, each made when it is taken, so that a caller may stop early.

        An optimizer that asks at a temperature of its own ignores `temperatures`.
        """
        for _ in range(n):
            yield self.step(bypassing=True)

    @abstractmethod
    def _step(self, *args: Any, **kwargs: Any) -> dict[ParameterNode[Any], Any]:
        """New values by parameter; unknown keyword arguments come from trainers and are ignored."""

    def project(self, update: dict[ParameterNode[Any], Any]) -> None:
        """Apply to each value, in place, the projections of its parameter, in order.

        A value that a projection refuses (SpaceError) is left out, and listed in the update's `refused`.
        """
        for parameter, value in list(update.items()):
            if not parameter.trainable:
                continue
            try:
                for projection in parameter.projections:
                    value = projection.project(value)
                update[parameter] = value
            except ReplyError as error:
                del update[parameter]
                refuse(update, parameter.py_name, str(error))

    def update(self, update: dict[ParameterNode[Any], Any]) -> None:
        """Write the values into the parameters that are trainable."""
        for parameter, value in update.items():
            if parameter.trainable:
                parameter.change(value)

    def _take_back(self, update: Update) -> None:
        """Put back the last good value of parameters whose new code cannot be defined."""
        for parameter in list(update):
            error = parameter.fault() if parameter.trainable else None
            if error is not None and parameter.rollback():
                del update[parameter]
                refuse(update, parameter.py_name, f"its code cannot be defined: {exception_line(error)}")

    def _tell(self, update: Update, changed: tuple[str, ...], *, applied: bool) -> None:
        if update.reason is not None:
            _log.warning("%s changed nothing: %s", type(self).__name__, update.reason)
        elif changed:
            _log.info("%s %s %s", type(self).__name__, "changed" if applied else "would change", ", ".join(changed))
        refused, cost = tuple(update.refused.items()), self.spent
        prompt, completion = (None, None) if cost.uncounted else (cost.prompt_sum, cost.completion_sum)
        emit(
            StepDone(
                type(self).__name__,
                changed,
                refused,
                update.reason,
                applied,
                cost.calls,
                prompt,
                completion,
                cost.seconds,
            )
        )

    # --- copies and files ---

    def __copy__(self) -> Any:
        """The same parameter nodes, and everything else shared too."""
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """The same parameter nodes, a copy of everything else."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        memo.update((id(p), p) for p in self.parameters)
        for key, value in vars(self).items():
            copied = list(value) if key == "parameters" else self._copy_attribute(key, value, memo)
            setattr(twin, key, copied)
        return twin

    def _copy_attribute(self, key: str, value: Any, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(value, memo)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the parameters: the program that unpickles an optimizer sets its parameters again."""
        return {k: v for k, v in self.__dict__.items() if k != "parameters"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in {"parameters": [], **state}.items():
            setattr(self, key, value)

    def save(self, path: str | Path) -> None:
        """Write settings and memory, without parameters and model, as JSON; folders are made as needed."""
        write_state(Path(path), type(self).__name__, {key: getattr(self, key) for key in self._SAVED})

    def load(self, path: str | Path) -> None:
        """Read what `save` wrote; parameters, model and propagator stay. LoadError if it is no such file."""
        for key, value in read_state(Path(path), self._SAVED).items():
            setattr(self, key, value)


def _warn_of_equal_names(parameters: Iterable[ParameterNode[Any]]) -> None:
    names = Counter(p.name for p in unique_parameters(parameters))
    for name, count in names.items():
        if count > 1:
            _log.warning(
                "%d parameters are called %s, as after GRAPH.clear(): a value for one goes to all of them. "
                "Give each a name of its own: node(..., name=...).",
                count,
                name,
            )
