"""What a step returns, and the events by which it tells machines about itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opto.events import Event, emit
from opto.optimizers.blame import Blame
from opto.trace.nodes import ParameterNode

__all__ = ["PartRefused", "ReplyAsked", "StepDone", "Update", "refuse", "why_refused"]

_log = logging.getLogger(__name__)


class Update(dict[ParameterNode[Any], Any]):
    """New values by parameter; it also says what was refused and why it is empty.

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
    """What was refused and why, as one sentence; None if nothing was."""
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
    """A reply could not be used and the model was asked once more; `fault` is what it was told."""

    fault: str
