"""One run of an agent on one example: its output, its score, and how it used each parameter."""

from __future__ import annotations

import copy
import math
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

from opto.errors import ExecutionError, OptimizerError, RunTimeoutError, SandboxTimeoutError
from opto.optimizers.blame.recorded_uses import RecordedUse, recorded_uses
from opto.show import show, text_of
from opto.trace.nodes import Node, ParameterNode
from opto.trace.propagators.readable import readable

__all__ = ["Agent", "Judge", "Judgement", "Rollout", "roll_out", "time_limit"]

_LONGEST = 2_000
_AGAIN = 1.0  # for code that swallows the first; a failed call must be recorded by then, on a busy machine too


class Judgement(NamedTuple):
    """The verdict of a judge on an output: a score, by convention 1 for perfect, and feedback in words."""

    score: float
    feedback: str


Agent = Callable[[Any], Any]
"""Called with an example; returns a node."""
Judge = Callable[[Any, Any], Judgement]
"""(example, value of the output) -> Judgement."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A run on `example`. `output` is the node to give feedback to; `failed` says that it raised.

    `endless`: it raised because code that an optimizer wrote ran out of time.
    """

    example: Any
    output: Node[Any]
    score: float
    feedback: str
    uses: Mapping[str, tuple[RecordedUse, ...]]
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
        with time_limit(seconds):
            output = agent(_copy_of(example))
    except ExecutionError as error:
        node = error.exception_node
        feedback = text_of(node.data).split("\n\n", 1)[0][:_LONGEST]
        return Rollout(example, node, 0.0, feedback, recorded_uses(node, parameters), True, _is_timeout(error))
    if not isinstance(output, Node):
        raise OptimizerError(f"The agent returned a {type(output).__name__}, not a node: feedback has nowhere to go.")
    score, feedback = _checked(judge(example, output.data))
    return Rollout(example, output, score, feedback, recorded_uses(output, parameters))


def _checked(said: Any) -> Judgement:
    """The score as a number and the feedback as words; OptimizerError if the judge did not return both."""
    try:
        score, feedback = said
        score = float(score)
    except (TypeError, ValueError) as error:
        raise OptimizerError(f"A judge returns (score, feedback), not {show(said, 100)}.") from error
    score = 0.0 if math.isnan(score) else score  # neither better nor worse than any other: as if it had raised
    return Judgement(score, "" if feedback is None else text_of(readable(feedback)))


def _is_timeout(error: BaseException | None) -> bool:
    """Whether the sandbox's limit of time is behind an error."""
    while error is not None and not isinstance(error, SandboxTimeoutError):
        error = error.__cause__
    return error is not None


def _copy_of(example: Any) -> Any:
    """A deep copy; the example itself if it cannot be copied."""
    try:
        return copy.deepcopy(example)
    except (TypeError, ValueError, AttributeError, copy.Error, RecursionError):
        return example


@contextmanager
def time_limit(seconds: float) -> Generator[None, None, None]:
    """Raise RunTimeoutError in the block after `seconds`; 0 sets no limit.

    (No TimeoutError: a library that waits for a server would take that for one of its own.)
    Works by a timer signal, so only in the main thread of a POSIX system; elsewhere, and where the program
    uses that signal itself, there is no limit.
    """
    if seconds <= 0 or not _can_limit_time():
        yield
        return

    def ring(_signal: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        raise RunTimeoutError(f"it took longer than {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _can_limit_time() -> bool:
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, signal.SIG_IGN)
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )
