"""One run of an agent on one example: what came out, how good it was, and how each parameter was used."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from opto.errors import ExecutionError, OptimizerError, SandboxTimeoutError
from opto.optimizers.problem.problem import is_code
from opto.optimizers.problem.show import show
from opto.trace.nodes import ExceptionNode, MessageNode, Node, ParameterNode
from opto.trainer.annotations import keeps_promise
from opto.trainer.deadline import deadline

__all__ = ["Agent", "Judge", "Judgement", "Rollout", "Usage", "roll_out", "run_all", "usages"]

_LONGEST = 2_000


class Judgement(NamedTuple):
    """What a judge says of an output: a score, by convention 1 for perfect, and feedback in words."""

    score: float
    feedback: str


Agent = Callable[[Any], Any]
"""Called with an example; returns a node."""
Judge = Callable[[Any, Any], Judgement]
"""(example, value of the output) -> Judgement."""


class Usage(NamedTuple):
    """How a run used a parameter: what the reading call got beside it and what it made, as texts to compare.

    `broken`: it raised, gave nothing, or gave what the header of its code does not promise. `echo`: it gave back a
    text that it was given.
    """

    inputs: tuple[str, ...]
    value: str
    broken: bool
    level: int
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """A run on `example`. `output` is the node to give feedback to; `failed` says that it raised.

    `endless`: it raised because code that an optimizer wrote ran out of time.
    """

    example: Any
    output: Node[Any]
    score: float
    feedback: str
    usages: Mapping[str, tuple[Usage, ...]]
    failed: bool = False
    endless: bool = False

    @property
    def value(self) -> Any:
        """The value of the output; of a run that raised, the message."""
        return self.output.data


def roll_out(
    agent: Agent, example: Any, judge: Judge, *, parameters: Iterable[ParameterNode[Any]] = (), seconds: float = 0
) -> Rollout:
    """Run and judge; an agent that raises in traced code gets score 0 and its error as feedback.

    The agent gets a copy of the example (where it can be copied), so that no code, good or bad, spoils it for others.
    A score that is no number (NaN) counts as 0.
    With `seconds` a run that takes longer counts as raising (in the main thread of POSIX systems).
    """
    try:
        with deadline(seconds):
            output = agent(_copied(example))
    except ExecutionError as error:
        node = error.exception_node
        feedback = str(node.data).split("\n\n", 1)[0][:_LONGEST]
        return Rollout(example, node, 0.0, feedback, usages(node, parameters), True, _ran_out(error))
    if not isinstance(output, Node):
        raise OptimizerError(f"The agent returned a {type(output).__name__}, not a node: feedback has nowhere to go.")
    score, feedback = _judged(judge(example, output.data))
    return Rollout(example, output, score, feedback, usages(output, parameters))


def _judged(said: Any) -> Judgement:
    """What a judge said, as a number and words; OptimizerError if it is not both."""
    try:
        score, feedback = said
        score = float(score)
    except (TypeError, ValueError) as error:
        raise OptimizerError(f"A judge returns (score, feedback), not {repr(said)[:100]}.") from error
    score = 0.0 if math.isnan(score) else score  # neither better nor worse than any other: as if it had raised
    return Judgement(score, "" if feedback is None else str(feedback))


def _ran_out(error: BaseException | None) -> bool:
    """Whether the sandbox's limit of time is behind an error."""
    while error is not None and not isinstance(error, SandboxTimeoutError):
        error = error.__cause__
    return error is not None


def _copied(example: Any) -> Any:
    """A deep copy; the example itself if it cannot be copied."""
    try:
        return copy.deepcopy(example)
    except (TypeError, ValueError, AttributeError, copy.Error, RecursionError):
        return example


def usages(output: Node[Any], parameters: Iterable[ParameterNode[Any]]) -> dict[str, tuple[Usage, ...]]:
    """By name of a parameter, the calls before `output` that read it. Linear in the size of the run."""
    mine = {id(parameter): parameter.py_name for parameter in parameters}
    found: dict[str, list[Usage]] = {}
    seen = {id(output)}
    queue: list[Node[Any]] = [output]
    for node in queue:  # grows while walked
        if not isinstance(node, MessageNode):
            continue
        for parent in node.parents:
            if id(parent) in mine:
                found.setdefault(mine[id(parent)], []).append(_usage(node))
            if id(parent) not in seen:
                seen.add(id(parent))
                queue.append(parent)
    return {name: tuple(used) for name, used in found.items()}


def _usage(node: MessageNode[Any]) -> Usage:
    others = [show(parent.data, _LONGEST) for parent in node.parents if not isinstance(parent, ParameterNode)]
    broken = (
        isinstance(node, ExceptionNode) or node.data is None or not all(_kept(parent, node) for parent in node.parents)
    )
    value = show(node.data, _LONGEST)
    echo = isinstance(node.data, str) and value in others and not broken  # of other kinds it is often chance
    return Usage(tuple(others), value, broken, node.level, echo)


def _kept(parent: Node[Any], made: Node[Any]) -> bool:
    """Whether what was made by the code of `parent`, if it is code, is of the kind that its header promises."""
    return not is_code(parent.py_name) or not isinstance(parent.data, str) or keeps_promise(parent.data, made.data)


def run_all(
    agent: Agent, examples: Sequence[Any], judge: Judge, *, parameters: Sequence[ParameterNode[Any]], seconds: float = 0
) -> list[Rollout]:
    """One rollout an example, in order."""
    return [roll_out(agent, example, judge, parameters=parameters, seconds=seconds) for example in examples]
