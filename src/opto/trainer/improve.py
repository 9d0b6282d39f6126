"""Improve an agent step by step: draw candidates, keep one only if it does better on the examples.

One sampled reply of a small model may be wrong, so nothing is kept unseen. A refused candidate may have been right
before its time: whenever a part changes, refused candidates of all parts get a second chance, and where a step found
nothing they are tried in pairs; neither costs a question. The part with the most blame comes first; the optimizer is
told its name and what was tried for it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice, starmap
from typing import Any

from opto.cost import Cost
from opto.errors import BudgetExceeded
from opto.events import emit
from opto.optimizers.blame.from_runs import blame_from_runs, runs_to_show
from opto.optimizers.optimizer import Update
from opto.optimizers.problem.uses import Focus
from opto.optimizers.replies.values import same_value
from opto.trace.nodes import ParameterNode
from opto.trainer.attempts import Attempts, is_number
from opto.trainer.gate import Candidate, Verdict, best_of, judge_candidate
from opto.trainer.plan import Plan, Proposer, TrainingPlan
from opto.trainer.rollouts import Agent, Judge, Rollout, roll_out
from opto.trainer.training_events import CandidateTried, ImproveEnded, RolloutDone, StepBegun, StepEnded

__all__ = ["Improvement", "Plan", "StepRecord", "TrainingPlan", "improve"]

_HOTTEST = 1.4


class _TimeIsUpError(Exception):
    """The time that the plan allows is over."""


_ENDS = (BudgetExceeded, _TimeIsUpError)


def _end_reason(end: BaseException) -> str:
    return "out of budget" if isinstance(end, BudgetExceeded) else "out of time"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step: the part it was about, its candidates, those accepted in order, and what it cost."""

    step: int
    part: str
    candidates: tuple[Candidate, ...]
    accepted: tuple[Candidate, ...]
    score: float
    spent: Cost
    seconds: float


@dataclass(frozen=True, slots=True)
class Improvement:
    """What training did. `before` and `after` are means over the examples in `rollouts`, which are those in use at the
    end, under the values at the start and at the end; 0 if no example ran.

    `reason` says why it ended: "solved", "out of steps", "out of time", "out of budget" or "nothing to change".
    """

    before: float
    after: float
    steps: tuple[StepRecord, ...]
    rollouts: tuple[Rollout, ...]
    reason: str
    seconds: float

    @property
    def solved(self) -> bool:
        """Whether every example is solved."""
        return self.reason == "solved"

    @property
    def calls(self) -> int:
        """Questions asked to the model by the optimizer."""
        return sum(record.spent.calls for record in self.steps)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts that a server counted."""
        return sum(record.spent.prompt_tokens or 0 for record in self.steps)


def improve(
    agent: Agent,
    optimizer: Proposer,
    examples: Sequence[Any],
    judge: Judge,
    *,
    plan: TrainingPlan | None = None,
    rng: random.Random | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Improvement:
    """Change the parameters of `optimizer` until the agent solves the examples, or the plan runs out.

    `agent(example)` returns a node, `judge(example, value)` a Judgement. The parameters are left at the
    best values found, also when a `Budget` is used up on the way. The events of `opto.trainer.training_events` tell
    how it goes.

    Example:
        >>> from opto.llm.fakes import ScriptedLLM
        >>> from opto.optimizers import OptoPrime
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> llm = ScriptedLLM(['{"suggestion": {"x0": 7}}', '{"suggestion": {"x0": 4}}'])
        >>> def judge(example, value):
        ...     return (1, "right") if value == 5 else (0, "too high" if value > 5 else "too low")
        >>> done = improve(lambda n: x + n, OptoPrime([x], llm=llm), [1], judge, plan=TrainingPlan(candidates=1))
        >>> done.reason, len(done.steps), x.data
        ('solved', 2, 4)
    """
    return _Improver(agent, optimizer, judge, plan or TrainingPlan(), rng or random.Random(0), clock).run(examples)


class _Improver:
    """The loop and its state: the rollouts of the values in force, and what was tried for each part.

    `starting` holds the scores of the same examples with the values at the start. In a step, `fresh` holds the
    candidates on which nothing is decided yet, `tried` the others.
    """

    def __init__(
        self,
        agent: Agent,
        optimizer: Proposer,
        judge: Judge,
        plan: TrainingPlan,
        rng: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self.agent, self.optimizer, self.judge = agent, optimizer, judge
        self.plan, self.rng, self.clock = plan, rng, clock
        self.spent = Cost()
        self.present: list[Rollout] = []
        self.starting: list[float] = []
        self.waiting: list[Any] = []
        self.attempts = Attempts(plan.kept, plan.perfect)
        self.by_name = {p.py_name: p for p in optimizer.parameters}
        self.originals = {name: p.data for name, p in self.by_name.items()}
        self.step = 0
        self.fresh: list[Candidate] = []
        self.tried: list[Candidate] = []
        self.accepted: list[Candidate] = []
        self.ended: str | None = None
        self.until = math.inf

    def run(self, examples: Sequence[Any]) -> Improvement:
        start = self.clock()
        self.until = start + (self.plan.seconds or math.inf)
        self.waiting = list(examples)
        if not self.waiting:
            raise ValueError("examples is empty: there is nothing to judge the agent by.")
        records: list[StepRecord] = []
        reason, focus = None, self.optimizer.focus
        try:
            while (reason := self._why_stop()) is None:
                records.append(self._one_step())
        except _ENDS as end:
            reason = _end_reason(end)
        finally:
            self.optimizer.focus = focus
        before, after = _mean(self.starting), self._score()
        emit(ImproveEnded(reason, before, after))
        return Improvement(before, after, tuple(records), tuple(self.present), reason, self.clock() - start)

    def _join(self) -> None:
        """Let the next examples join those in use; each runs with the values at the start, too."""
        self.attempts.renew()
        for example in self.waiting[: self.plan.batch or None]:
            rollout = self._roll_out(example, 0)
            changed = {self.by_name[n]: v for n, v in self.originals.items() if not same_value(self.by_name[n].data, v)}
            with _trial(changed):
                first = self._roll_out(example, 0, step=0) if changed else rollout
            del self.waiting[0]
            self.present.append(rollout)
            self.starting.append(first.score)

    def _score(self) -> float:
        return _mean([r.score for r in self.present])

    def _why_stop(self) -> str | None:
        while self._solved(self.present) and self.waiting and self.ended is None:
            self._join()
        if self._solved(self.present) and not self.waiting:
            return "solved"
        if self.ended is not None:
            return self.ended
        if not any(r.uses for r in self.present if r.score < self.plan.perfect):
            return "nothing to change"
        if self.step >= self.plan.steps:
            return "out of steps"
        return "out of time" if self.clock() >= self.until else None

    def _solved(self, rollouts: Iterable[Rollout]) -> bool:
        return all(r.score >= self.plan.perfect for r in rollouts)

    # --- one step ---

    def _one_step(self) -> StepRecord:
        self.step += 1
        start, self.spent = self.clock(), Cost()
        blame = blame_from_runs(self.present, self.attempts.visits, self.plan.perfect)
        part = next(iter(blame))
        emit(StepBegun(self.step, part, blame))
        self._show(part)
        self.tried, self.accepted = [], []
        try:
            self._search(part)
        except _ENDS as end:
            if not self.fresh and not self.tried:
                raise
            self.ended = _end_reason(end)
            self._accept()  # a candidate that passed before the end stays
        seconds, score = self.clock() - start, self._score()
        changed = tuple(dict.fromkeys(name for candidate in self.accepted for name in candidate.values))
        spent = self.spent
        cost = (spent.calls, spent.prompt_tokens, spent.completion_tokens, seconds)
        emit(StepEnded(self.step, part, changed, score, *cost))
        return StepRecord(self.step, part, tuple(self.tried), tuple(self.accepted), score, spent, seconds)

    def _show(self, part: str) -> None:
        """Send the feedback of a few telling runs backward."""
        mixed = list(self.present)
        self.rng.shuffle(mixed)
        plan = self.plan
        self.optimizer.zero_feedback()
        for r in runs_to_show(mixed, part, failing=plan.failing, passing=plan.passing, perfect=plan.perfect):
            self.optimizer.backward(r.output, r.feedback, retain_graph=True)

    def _search(self, part: str) -> None:
        """Draw candidates. If none passes, try pairs; if one passes, try all refused values again."""
        drawn = self._draw(part)
        self.attempts.visits[part] += 1
        accepted = self._accept() or self._pair(drawn)
        while accepted and not self._solved(self.present):
            for values in list(self.attempts.singles()):
                self._retry(values)
            accepted = self._accept()

    def _draw(self, part: str) -> list[Candidate]:
        """Draw candidates and try each at once; stop early if one solves all."""
        drawn: list[Candidate] = []
        for update in self._proposals(part):
            self.spent += self.optimizer.spent
            candidate = self._try(update, leader=best_of(drawn), reason=update.reason)
            drawn.append(candidate)
            if all(map(is_number, candidate.values.values())):
                self.attempts.remember(candidate)  # at once: the next question can already tell of this number
            if candidate.verdict.better and self._solved(candidate.verdict.rollouts):
                break
        return drawn

    def _proposals(self, part: str) -> Iterator[Update]:
        """The optimizer's proposals about the part, one by one, none written."""
        original, visits = self.originals[part], self.attempts.visits[part]
        is_text = isinstance(original, str) and not self.by_name[part].is_code  # short, so more can be drawn
        number = max(self.plan.texts, self.plan.candidates) if is_text else self.plan.candidates
        warmer = 0.0 if is_number(original) else self.plan.warmer * visits
        # every second visit starts afresh: the present value may have learned the wrong thing, and lead astray
        start = original if visits % 2 and not is_number(original) else None
        temperatures = [max(t, min(t + warmer, _HOTTEST)) for t in self.plan.temperatures]
        seed = self.rng.randrange(2**31)
        for i in range(number):
            self._check_time()
            self.optimizer.focus = Focus(part, tuple(self.attempts.shown[part]), seed + i, start)
            yield from self.optimizer.propose_each(1, [temperatures[i % len(temperatures)]])

    def _pair(self, drawn: Sequence[Candidate]) -> bool:
        """Try each refused candidate with refused values of other parts, until one pair passes."""
        fresh = [(name, value) for candidate in drawn for name, value in candidate.values.items()]
        for values in islice(chain.from_iterable(starmap(self.attempts.pairs, fresh)), self.plan.pairs):
            if self._retry(values).verdict.better:
                break
        return self._accept()

    def _retry(self, values: Mapping[str, Any]) -> Candidate:
        """Try refused values again, now that something else has changed."""
        return self._try({self.by_name[name]: value for name, value in values.items()}, again=True)

    def _try(
        self,
        update: Mapping[ParameterNode[Any], Any],
        *,
        again: bool = False,
        leader: Candidate | None = None,
        reason: str | None = None,
    ) -> Candidate:
        """Run a proposal behind the gate; `reason` says why it is empty. The values in force stay in force."""
        number = len(self.tried) + len(self.fresh) + 1
        fresh = {p: v for p, v in update.items() if p.trainable and not same_value(v, p.data)}
        values = {p.py_name: v for p, v in fresh.items()}
        if not values:
            verdict = Verdict(False, reason or "it changes nothing")
        elif self.attempts.test(values):
            verdict = Verdict(False, "it was tried before")
        else:
            old = {p.py_name: p.data for p in fresh}
            with _trial(fresh):
                verdict = judge_candidate(
                    self.present,
                    lambda example: self._roll_out(example, number),
                    old=old,
                    new=values,
                    perfect=self.plan.perfect,
                    leader=leader.verdict.rollouts if leader else (),
                )
        candidate = Candidate(values, verdict)
        self.fresh.append(candidate)
        score = verdict.standing.score / len(self.present) if verdict.standing else None
        emit(CandidateTried(self.step, number, values, score, verdict.better, verdict.reason, again))
        return candidate

    def _accept(self) -> bool:
        """Write the best of the fresh candidates, if one passed; remember the others with what was said about them."""
        candidates, self.fresh = self.fresh, []
        self.tried += candidates
        accepted = best_of(candidates)
        for candidate in candidates:
            if candidate is not accepted:
                self.attempts.remember(candidate)
        if accepted is None:
            return False
        before = {name: self.by_name[name].data for name in accepted.values}
        self.attempts.accept(accepted.values, before, self.present)
        self.optimizer.update({self.by_name[name]: value for name, value in accepted.values.items()})
        self.present = list(accepted.verdict.rollouts)
        self.accepted.append(accepted)
        return True

    # --- one run ---

    def _roll_out(self, example: Any, candidate: int, step: int | None = None) -> Rollout:
        if candidate:
            self._check_time()
        parameters, seconds = self.optimizer.parameters, self.plan.run_seconds
        rollout = roll_out(self.agent, example, self.judge, parameters=parameters, seconds=seconds)
        step = self.step if step is None else step
        emit(RolloutDone(step, candidate, example, rollout.value, rollout.feedback, rollout.score))
        return rollout

    def _check_time(self) -> None:
        if self.clock() >= self.until:
            raise _TimeIsUpError


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / max(1, len(scores))


@contextmanager
def _trial(values: Mapping[ParameterNode[Any], Any]) -> Generator[None, None, None]:
    """The values are in force inside the block; afterwards the parameters are as they were."""
    with ExitStack() as stack:
        for parameter, value in values.items():
            stack.enter_context(parameter.trial(value))
        yield
