"""The main job as a function: improve the greeting agent, and measure it on customers it never saw."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opto.cli.demo_agent import Agent, judge_greeting, named_parts
from opto.cli.demo_customers import Customer, draw_customers
from opto.errors import ExecutionError
from opto.events import Event, emit
from opto.llm.base import LLM
from opto.llm.wrappers.cache import CachedLLM
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.optoprime import OptoPrime
from opto.trace.context import stop_tracing
from opto.trace.nodes import Node
from opto.trace.pictures.picture import Picture, draw
from opto.trainer.improve import Improvement, TrainingPlan, improve

__all__ = ["BATCH", "DemoResult", "Measured", "Parts", "Stage", "accuracy", "run_demo"]

BATCH = 10  # customers to begin with; the others join as soon as these are greeted right


@dataclass(frozen=True)
class Stage(Event):
    """The demo begins to do something that may take a while."""

    what: str


@dataclass(frozen=True)
class Parts(Event):
    """The agent is there; `names` maps the optimizer's names of its parts to those of its source."""

    names: Mapping[str, str]


@dataclass(frozen=True)
class Measured(Event):
    """The agent greeted customers it never saw: the share it greeted right, and the wrong ones with what they got."""

    when: str
    accuracy: float
    wrong: tuple[tuple[Customer, Any], ...]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did. `before` and `after` are values of parts by name; `picture` shows one run as a graph."""

    agent: Any
    improvement: Improvement
    unseen_before: float
    unseen_after: float
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    picture: Picture
    cached_calls: int
    paid_calls: int


def run_demo(
    llm: LLM, seed: int = 0, *, plan: TrainingPlan | None = None, optimizer: Optimizer | None = None
) -> DemoResult:
    """Improve the agent on a few customers; the seed chooses them and those who stay unseen.

    The agent's own calls are cached: an edit of code alone runs none of them again. Events tell how it goes.
    """
    known, unseen = draw_customers(seed)
    cached = CachedLLM(llm)
    agent: Any = Agent(cached)
    optimizer = optimizer or OptoPrime(agent.parameters(), llm=llm)
    parts = named_parts(agent)
    emit(Parts({part.py_name: name for name, part in parts.items()}))
    before = {name: part.data for name, part in parts.items()}
    unseen_before = accuracy(agent, unseen, "before")
    emit(Stage(f"Learning from {len(known)} customers, {BATCH} at first"))
    improvement = improve(
        lambda customer: agent(customer.query),
        optimizer,
        known,
        judge_greeting,
        plan=plan or TrainingPlan(steps=60, batch=BATCH),
        rng=random.Random(seed),
    )
    unseen_after = accuracy(agent, unseen, "after")
    stats = cached.stats
    return DemoResult(
        agent,
        improvement,
        unseen_before,
        unseen_after,
        before,
        {name: part.data for name, part in parts.items()},
        draw(_one_run(agent, known[0]), print_limit=200),
        stats.hits,
        stats.misses,
    )


def accuracy(agent: Any, customers: Sequence[Customer], when: str) -> float:
    """The share of customers greeted exactly right; emits `Measured`."""
    emit(Stage(f"Greeting {len(customers)} customers it never saw ({when})"))
    wrong: list[tuple[Customer, Any]] = []
    with stop_tracing():
        for customer in customers:
            greeting = _one_run(agent, customer).data
            if judge_greeting(customer, greeting).score < 1:
                wrong.append((customer, greeting))
    share = 1 - len(wrong) / max(1, len(customers))
    emit(Measured(when, share, tuple(wrong)))
    return share


def _one_run(agent: Any, customer: Customer) -> Node[Any]:
    """The output of the agent, or the error that it raised."""
    try:
        output: Node[Any] = agent(customer.query)
    except ExecutionError as error:
        output = error.exception_node
    return output
