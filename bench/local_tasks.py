"""Four small jobs for a small model: what OptoPrime, OptoPrimeV1 and OptoPrimeV2 make of them, seed by seed.

    python bench/local_tasks.py --tasks number,greeting --seeds 0-4 --optimizers OptoPrime

A line of JSON is written for each run as soon as it ends (an interrupted run keeps what it measured, and is
continued: what the file holds is not measured again); a table of solved / seeds and prompt tokens a step ends it.
All three optimizers go through the same loop and gate, with the same examples, the same model and the same time.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opto.cli.demo_agent import Agent, judge_greeting
from opto.cli.demo_customers import draw_customers
from opto.cli.demo_task import BATCH
from opto.errors import ExecutionError, OptoError
from opto.events import Event, listen
from opto.llm import LLM, CachedLLM, LocalLLM, OpenAICompatible
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.trace import GRAPH, bundle, model, node, stop_tracing
from opto.trainer.improve import TrainingPlan, improve
from opto.trainer.rollouts import Judge, Judgement
from opto.trainer.training_events import CandidateTried, StepBegun, StepEnded

OPTIMIZERS: dict[str, Any] = {"OptoPrime": OptoPrime, "OptoPrimeV1": OptoPrimeV1, "OptoPrimeV2": OptoPrimeV2}


@dataclass(frozen=True)
class Job:
    """An agent with its examples; solved if the share of unseen examples that are right reaches `goal`.

    With `batch` it learns from so many examples at first (`TrainingPlan.batch`).
    """

    agent: Callable[[Any], Any]
    parameters: list[Any]
    known: Sequence[Any]
    unseen: Sequence[Any]
    judge: Judge
    goal: float
    batch: int = 0


# --- greeting ---


def greeting(llm: LLM, seed: int) -> Job:
    agent: Any = Agent(llm)
    known, unseen = draw_customers(seed)
    return Job(lambda customer: agent(customer.query), agent.parameters(), known, unseen, judge_greeting, 0.9, BATCH)


# --- a number, found by "too high" and "too low" ---


@bundle()
def fill(amount: int, glass: int) -> int:
    """Pours the amount into a glass and tells how much of the glass is left (negative: it overflows)."""
    return glass - amount


def judge_number(glass: int, left: int) -> Judgement:
    if left == 0:
        return Judgement(1, "Exactly right")
    return Judgement(0, "The amount is too low" if left > 0 else "The amount is too high")


def number(llm: LLM, seed: int) -> Job:
    glass = random.Random(seed).randint(1, 200)
    amount = node(random.Random(seed + 100).randint(1, 200), name="amount", trainable=True)
    return Job(lambda size: fill(amount, size), [amount], [glass], [glass], judge_number, 1)


# --- strange_sort: repair a wrong function ---


@bundle(trainable=True)
def strange_sort(numbers: list[int]) -> list[int]:
    """Sorts strangely: the smallest number first, then the largest of the rest, then the smallest of the rest, ..."""
    return sorted(numbers)


@bundle(trainable=True)
def strange_order(numbers: list[int]) -> list[int]:
    """Puts the numbers into a strange order"""
    return sorted(numbers)


def judge_strange(numbers: list[int], found: Any) -> Judgement:
    wanted = _strange(numbers)
    if found == wanted:
        return Judgement(1, "Correct")
    return Judgement(0, f"Wrong. Expected {wanted}")


def _strange(numbers: list[int]) -> list[int]:
    rest, wanted = sorted(numbers), []
    for turn in range(len(rest)):
        wanted.append(rest.pop(0 if turn % 2 == 0 else -1))
    return wanted


def _lists(seed: int, count: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randint(1, 30) for _ in range(rng.randint(0 if i == 1 else 3, 6))] for i in range(count)]


def _sorting(function: Any, seed: int) -> Job:
    lists = _lists(seed, 26)
    return Job(function, [function.parameter], lists[:6], lists[6:], judge_strange, 1)


def strange(llm: LLM, seed: int) -> Job:
    return _sorting(_fresh(strange_sort), seed)


def strange_blind(llm: LLM, seed: int) -> Job:
    """The same without the rule in the docstring: it must be found in the examples."""
    return _sorting(_fresh(strange_order), seed)


def _fresh(function: Any) -> Any:
    function.parameter._data = _ORIGINAL[function]
    return function


_ORIGINAL = {f: f.parameter.data for f in (strange_sort, strange_order)}


# --- format extraction: a model call and a parse function ---


@bundle(catch_execution_error=False)
def ask(llm: Any, instruction: str, text: str) -> str:
    """Asks a language model and returns its answer."""
    messages = [{"role": "user", "content": f"{instruction}\n{text}"}]
    return str(llm(messages=messages, temperature=0, max_tokens=60).text)


@model
class Reader:
    """Reads the total out of an invoice."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.instruction = node("Find the total", trainable=True, name="instruction")

    def __call__(self, text: str) -> Any:
        return self.parse(ask(self.llm, self.instruction, text))

    @bundle(trainable=True)
    def parse(self, reply):  # type: ignore[no-untyped-def]
        """Turn the reply into a number"""
        return reply


@dataclass(frozen=True)
class Invoice:
    text: str
    total: float


def judge_total(invoice: Invoice, found: Any) -> Judgement:
    if isinstance(found, (int, float)) and abs(found - invoice.total) < 0.005:
        return Judgement(1, "Correct")
    return Judgement(0, f"Wrong. Expected the number {invoice.total}")


_INVOICES = (
    "Invoice {n}: {c} chairs at ${p} each. Total due: ${t} by 5 May.",
    "Dear customer, your order {n} of {c} lamps ({p} dollars each) comes to ${t} in total. Thank you!",
    "Order {n} | qty {c} | unit {p} USD | amount payable {t} USD",
    "For {c} tickets at ${p} you pay ${t} altogether. Reference {n}.",
    "We charged ${t} to your card for {c} books at ${p} each (receipt {n}).",
    "Receipt {n}\n{c} x tea ${p}\nTOTAL ${t}",
)


def invoices(seed: int, count: int) -> list[Invoice]:
    rng = random.Random(seed)
    made: list[Invoice] = []
    for i in range(count):
        pieces, cents = rng.randint(2, 40), rng.randint(199, 19_999)
        total = pieces * cents / 100
        form = _INVOICES[i % len(_INVOICES)]
        text = form.format(n=rng.randint(1000, 9999), c=pieces, p=f"{cents / 100:,.2f}", t=f"{total:,.2f}")
        made.append(Invoice(text, total))
    rng.shuffle(made)
    return made


def extraction(llm: LLM, seed: int) -> Job:
    agent: Any = Reader(llm)
    every = invoices(seed, 28)
    return Job(lambda invoice: agent(invoice.text), agent.parameters(), every[:8], every[8:], judge_total, 0.9)


TASKS: dict[str, Callable[[LLM, int], Job]] = {
    "greeting": greeting,
    "number": number,
    "strange_sort": strange,
    "strange_blind": strange_blind,
    "extraction": extraction,
}


# --- running ---


def measure(task: str, optimizer: str, seed: int, llm: LLM, plan: TrainingPlan) -> dict[str, Any]:
    """One run as a record."""
    GRAPH.clear()
    cached = CachedLLM(llm)
    job = TASKS[task](cached, seed)
    before = share(job)
    subject = OPTIMIZERS[optimizer](job.parameters, llm=llm, max_tokens=400)
    start = time.perf_counter()
    done = improve(
        job.agent, subject, job.known, job.judge, plan=replace(plan, batch=job.batch), rng=random.Random(seed)
    )
    seconds = time.perf_counter() - start
    after = share(job)
    prompts = [r.spent.prompt_tokens / r.spent.calls for r in done.steps if r.spent.calls and r.spent.prompt_tokens]
    candidates = [c for r in done.steps for c in r.candidates]
    return {
        "task": task,
        "optimizer": optimizer,
        "seed": seed,
        "solved": after >= job.goal,
        "unseen_before": round(before, 3),
        "unseen_after": round(after, 3),
        "known_before": round(done.before, 3),
        "known_after": round(done.after, 3),
        "end": done.reason,
        "steps": len(done.steps),
        "seconds": round(seconds),
        "questions": done.calls,
        "candidates": len(candidates),
        "usable": sum(bool(c.values) for c in candidates),
        "prompt_tokens_a_question": round(sum(prompts) / len(prompts)) if prompts else None,
        "prompt_tokens_a_step": round(done.prompt_tokens / len(done.steps)) if done.steps else None,
        "values": {p.py_name: p.data for p in job.parameters},
    }


def share(job: Job) -> float:
    """The share of unseen examples that are right."""
    right = 0.0
    with stop_tracing():
        for example in job.unseen:
            try:
                right += job.judge(example, job.agent(copy.deepcopy(example)).data).score >= 1
            except ExecutionError:
                continue
    return right / len(job.unseen)


def watch(event: Event) -> None:
    """Progress for people, on standard error."""
    if isinstance(event, StepBegun):
        print(f"  step {event.step} {event.part}", file=sys.stderr)
    elif isinstance(event, CandidateTried) and (event.better or not event.again):
        shown = str(list(event.values.values()))[:300]
        print(f"    {event.score} {event.better} {event.reason}: {shown}", file=sys.stderr)
    elif isinstance(event, StepEnded):
        print(
            f"    -> {event.score:.2f} {event.prompt_tokens} tokens {event.seconds:.0f} s", file=sys.stderr, flush=True
        )


def table(records: Iterable[dict[str, Any]]) -> str:
    """Solved / seeds and prompt tokens, by task and optimizer."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["task"], record["optimizer"]), []).append(record)
    heads = ("solved", "before", "after", "usable", "tokens/question", "tokens/step", "s/run")
    lines = [f"{'task':14} {'optimizer':12} " + " ".join(f"{head:>{max(7, len(head))}}" for head in heads)]
    for (task, optimizer), group in sorted(groups.items()):
        drawn = sum(r["candidates"] for r in group)
        cells = (
            f"{sum(r['solved'] for r in group)} / {len(group)}",
            f"{_mean(group, 'unseen_before'):.0%}",
            f"{_mean(group, 'unseen_after'):.0%}",
            f"{sum(r['usable'] for r in group) / drawn:.0%}" if drawn else "",
            f"{_mean(group, 'prompt_tokens_a_question'):.0f}",
            f"{_mean(group, 'prompt_tokens_a_step'):.0f}",
            f"{_mean(group, 'seconds'):.0f}",
        )
        row = " ".join(f"{cell:>{max(7, len(head))}}" for head, cell in zip(heads, cells, strict=True))
        lines.append(f"{task:14} {optimizer:12} {row}")
    return "\n".join(lines)


def _mean(group: Sequence[dict[str, Any]], key: str) -> float:
    values = [r[key] for r in group if r[key] is not None]
    return float(sum(values)) / max(1, len(values))


def _seeds(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(seed) for seed in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="number,strange_sort,extraction,greeting", help=f"of {', '.join(TASKS)}")
    parser.add_argument("--seeds", default="0-4", help="as 0-4 or 0,3")
    parser.add_argument("--optimizers", default="OptoPrime,OptoPrimeV1,OptoPrimeV2")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--candidates", type=int, default=4, help="drawn for each step; of a text twice as many")
    parser.add_argument("--seconds", type=float, default=400, help="for each run; looked at between steps, 0: no bound")
    parser.add_argument("--out", type=Path, default=Path("local_tasks.jsonl"))
    parser.add_argument("--llm", metavar="URL", help="an OpenAI-compatible server instead of the local model")
    parser.add_argument("--model", metavar="NAME")
    options = parser.parse_args()
    llm: LLM = OpenAICompatible(options.llm, options.model) if options.llm else LocalLLM()
    plan = TrainingPlan(
        steps=options.steps, candidates=options.candidates, texts=2 * options.candidates, seconds=options.seconds
    )
    lines = options.out.read_text(encoding="utf-8").splitlines() if options.out.exists() else []
    records = [json.loads(line) for line in lines]
    known = {(r["task"], r["optimizer"], r["seed"]) for r in records}
    for task in options.tasks.split(","):
        for optimizer in options.optimizers.split(","):
            for seed in _seeds(options.seeds):
                if (task, optimizer, seed) in known:
                    continue
                print(f"{task} {optimizer} seed {seed}", file=sys.stderr, flush=True)
                with listen(watch):
                    try:
                        record = measure(task, optimizer, seed, llm, plan)
                    except OptoError as error:
                        print(f"  failed: {error}", file=sys.stderr)
                        continue
                records.append(record)
                with options.out.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(record) + "\n")
    print(table(records))


if __name__ == "__main__":
    main()
