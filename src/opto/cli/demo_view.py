"""What a person sees of the demo: one line for what happens, then what changed. Texts only."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping
from functools import singledispatchmethod
from typing import Any

from opto.cli.demo_task import DemoResult, Measured, Parts, Stage
from opto.events import Event
from opto.optimizers.formats.small import tidy_code
from opto.trainer.training_events import CandidateTried, RolloutDone, StepBegun, StepEnded

__all__ = ["Watcher", "diffs", "summary"]

_WIDE = 100


class Watcher:
    """Listens to events and writes a line for each that a person wants to know."""

    def __init__(self, write: Callable[[str], object] = print, clock: Callable[[], float] = time.perf_counter) -> None:
        self.write = write
        self.clock = clock
        self.start = clock()
        self.names: dict[str, str] = {}
        self.example: RolloutDone | None = None
        self.learning = False

    def __call__(self, event: Event) -> None:
        self.tell(event)

    @singledispatchmethod
    def tell(self, event: Event) -> None:
        """Write the line for an event; most events have none."""

    def line(self, text: str) -> None:
        self.write(f"[{self.clock() - self.start:5.0f} s] {text}")

    def name(self, part: str) -> str:
        """A part's name as the program's author knows it."""
        return self.names.get(part, part)

    @tell.register
    def parts(self, event: Parts) -> None:
        self.names = dict(event.names)

    @tell.register
    def stage(self, event: Stage) -> None:
        self.line(f"{event.what} …")

    @tell.register
    def measured(self, event: Measured) -> None:
        self.line(f"{event.accuracy:.0%} greeted right")
        for customer, greeting in event.wrong[:3]:
            self.write(f"          {customer.query} -> {_short(repr(greeting))}, wanted {customer.greeting!r}")
        if len(event.wrong) > 3:
            self.write(f"          … and {len(event.wrong) - 3} more")

    @tell.register
    def rollout(self, event: RolloutDone) -> None:
        if not self.learning:
            self.line(f"{event.score:.1f}  {event.example} -> {_short(repr(event.value))}  {event.feedback[:_WIDE]}")
        elif event.step and (self.example is None or event.score > self.example.score):
            self.example = event  # the best shows what a candidate is good for

    @tell.register
    def begun(self, event: StepBegun) -> None:
        self.learning = True
        blame = event.blame[event.part]  # below zero after many tries that led nowhere
        self.line(
            f"Step {event.step}: a better {self.name(event.part)}" + (f" (blame {blame:.1f})" if blame > 0 else "")
        )
        self.example = None

    @tell.register
    def tried(self, event: CandidateTried) -> None:
        if event.again and not event.better:
            self.example = None
            return
        score = "     " if event.score is None else f"{event.score:5.0%}"
        mark = "+" if event.better else "-"
        for value in event.values.values() or ["nothing"]:
            chance = "second chance, " if event.again else ""
            self.line(f"  {mark} {score}  {chance}{event.reason}: {_short(' '.join(str(value).split()), 2 * _WIDE)}")
        best = self.example
        if best is not None:
            self.write(f"                     {best.example} -> {_short(repr(best.value))}  {best.feedback[:_WIDE]}")
        self.example = None

    @tell.register
    def ended(self, event: StepEnded) -> None:
        done = f"{', '.join(map(self.name, event.changed))} changed" if event.changed else "nothing kept"
        tokens = f"{event.prompt_tokens or 0} + {event.completion_tokens or 0} tokens"
        self.line(f"  {done}; score {event.score:.0%}, {tokens}, {event.seconds:.0f} s")


def _short(text: str, length: int = _WIDE) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def diffs(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A unified diff of every part that changed."""
    pieces: list[str] = []
    for name, old in before.items():
        new = after[name]
        if old == new:
            continue
        was, now = tidy_code(old).split("\n"), tidy_code(new).split("\n")
        lines = difflib.unified_diff(was, now, f"{name} before", f"{name} after", lineterm="", n=9)
        pieces.append("\n".join(lines))
    return "\n\n".join(pieces) or "No part changed."


def summary(result: DemoResult) -> str:
    """The figures of a run in a few lines."""
    done = result.improvement
    steps = done.steps
    kept = sum(bool(record.accepted) for record in steps)
    written = sum(record.spent.completion_tokens or 0 for record in steps)
    lines = [
        f"Customers it learned from: {done.before:.0%} -> {done.after:.0%} ({done.reason}).",
        f"Customers it never saw:    {result.unseen_before:.0%} -> {result.unseen_after:.0%}.",
        f"{len(steps)} steps ({kept} kept), {done.calls} questions by the optimizer, {done.seconds:.0f} s.",
        f"The optimizer's model read {done.prompt_tokens} tokens and wrote {written}.",
        f"The agent asked its model {result.paid_calls} times; {result.cached_calls} answers came from the cache.",
    ]
    return "\n".join(lines)
