"""Answers in any format: a prompt template and the code that takes the answer out of the reply, trained jointly.

The question of Cheng, Nie, Swaminathan (2024, arXiv 2406.16218, section 5.3) on three tasks of BIG-Bench Hard
(Suzgun et al. 2022, data/bbh, MIT): 15 examples to train on, one epoch; a change is kept unless the 5 validation
examples get worse; then 60 others. The model that answers is scripted: it works the answer out from the question,
errs now and then, answers in whatever format, and asks back unless it is told to give the answer alone, which it
obeys half the time. The oracle that optimizes sees a reply and the right answer, and notes what stands around it.

    python bench/format_repair.py
    python bench/format_repair.py --local    # 20 unseen items of two tasks with the model on this machine
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import logging
import random
import re
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from oracles import Oracle, Seen, by_rule, print_table

from opto.errors import ExecutionError
from opto.llm import LLM, CachedLLM, LocalLLM
from opto.optimizers import OptoPrime
from opto.trace import GRAPH, bundle, model, node, stop_tracing
from opto.trainer.improve import TrainingPlan, improve
from opto.trainer.rollouts import Judgement

DATA = Path(__file__).parent / "data" / "bbh"
Item = Mapping[str, str]

# --- the agent ---


@bundle(catch_execution_error=False)
def ask(llm: Any, template: str, question: str) -> str:
    """Asks a model the question, put into the template, or after it."""
    content = template.replace("{question}", question) if "{question}" in template else f"{template}\n{question}"
    return str(llm(messages=[{"role": "user", "content": content}], temperature=0, max_tokens=120).text)


@model
class Answerer:
    """Asks, and takes the answer out of the reply."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.template = node("{question}", name="template", description="contains {question}", trainable=True)

    def __call__(self, question: str) -> Any:
        return self.extract(ask(self.llm, self.template, question))

    @bundle(trainable=True)
    def extract(self, reply):  # type: ignore[no-untyped-def]
        """Take the answer out of the reply"""
        return reply


def judge(item: Item, answer: Any) -> Judgement:
    if str(answer).strip() == item["target"]:
        return Judgement(1, "Correct")
    return Judgement(0, f"Wrong. The answer is {item['target']}")


def accuracy(agent: Any, items: Sequence[Item]) -> float:
    right = 0.0
    with stop_tracing():
        for item in items:
            with contextlib.suppress(ExecutionError):
                right += judge(item, agent(item["input"]).data).score
    return right / len(items)


# --- the scripted model: knows the answer, and no format ---

_NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_KINDS = {
    "fruits": "apple banana blackberr grape nectarine orange peach plum raspberr strawberr",
    "vegetables": "broccoli cabbage carrot cauliflower celery garlic lettuce onion potato yam",
    "musical instruments": "accordion clarinet drum flute piano trombone trumpet violin",
    "animals": "bear cat chicken cow dog donkey duck fish frog goat mouse mice pig rabbit snail snake",
    "objects": "bed car chair couch fridge lamp microwave oven stove table toaster",
}


def _count(have: str, kind: str) -> str:
    counted = 0
    for thing in re.split(r", and |, | and ", have):
        number, name = thing.split(" ", 1)
        counted += _NUMBERS[number] * any(word.startswith(tuple(_KINDS[kind].split())) for word in name.split())
    return str(counted)


SOLVERS: dict[str, Callable[..., str]] = {
    r"((?:(?:True|False|and|or|not|[()]) ?)+) is": lambda text: str(eval(text)),
    r"I have (.*)\. How many (.*) do I have": _count,
    r"List: (.*)": lambda text: " ".join(sorted(text.split())),
}

FORMATS = (
    "{answer}",
    "The answer is **{answer}**.",
    "Let me take it step by step, as it is easy to slip here.\nSo the answer is: {answer}",
    "Answer: {answer}\nLet me know if I can do anything else for you!",
    "```\n{answer}\n```",
    "Could you tell me what you need this for?",
)
ALONE = "Reply with the answer alone."


def scripted(messages: Sequence[Mapping[str, str]]) -> str:
    """The reply to a question: what it says and in which format depends on the prompt alone."""
    prompt = messages[-1]["content"]
    question, answer = next((m[0], solve(*m.groups())) for p, solve in SOLVERS.items() if (m := re.search(p, prompt)))
    mood = random.Random(zlib.crc32(question.encode()))
    if mood.random() < 0.05:
        answer = {"True": "False", "False": "True"}.get(answer) or answer.rpartition(" ")[0] or f"{int(answer) + 1}"
    form, obeys = mood.choice(FORMATS), mood.random() < 0.5
    told = ALONE in prompt
    if told and (obeys or form is FORMATS[-1]):
        form = FORMATS[0] if obeys else mood.choice(FORMATS[:-1])
    return form.replace("{answer}", answer)


# --- the oracle that optimizes ---

CODE = '''
def extract(self, reply):
    """Take the answer out of the reply"""
    for before, after in {marks}:
        if before in reply:
            rest = reply.rsplit(before, 1)[1]
            return (rest.split(after, 1)[0] if after else rest).strip()
    return reply.strip()
'''


def rule(seen: Seen) -> dict[str, str]:
    """A reply that holds the answer: note what stands around it. One that does not: ask for the answer alone."""
    target = seen.feedback.removeprefix("Wrong. The answer is ")
    shown = [line.result if line.function == "ask" else line.arguments.removeprefix("reply=") for line in seen.lines]
    reply = str(ast.literal_eval(shown[0]))
    marks = marks_around(reply, target)
    code = next((name for name, value in seen.parts.items() if "def extract" in value), None)
    if marks and code:
        found = ast.parse(seen.parts[code].strip())
        known = next((ast.literal_eval(n) for n in ast.walk(found) if isinstance(n, ast.List)), [])
        return {code: CODE.replace("{marks}", repr([*known, marks] if marks not in known else known))}
    return {
        name: f"{value}\n{ALONE}" for name, value in seen.parts.items() if "{question}" in value and ALONE not in value
    }


def marks_around(reply: str, target: str) -> tuple[str, str] | None:
    """What stands before and after the answer; long replies were cut in the middle, so its two ends are looked for."""
    start, end = reply.find(target[:12]), reply.rfind(target[-12:])
    if start < 0 or end < 0 or len(reply) == len(target):
        return None
    return reply[max(0, start - 15) : start], reply[end + len(target[-12:]) :][:3]


# --- training ---


def items(task: str) -> list[Item]:
    found: list[Item] = json.loads((DATA / f"{task}.json").read_text(encoding="utf-8"))["examples"]
    return found


TASKS = ("boolean_expressions", "object_counting", "word_sorting")
ARMS: dict[str, Callable[[Any], list[Any]]] = {
    "template": lambda agent: [agent.template],
    "code": lambda agent: [agent.extract.parameter],
    "both": lambda agent: agent.parameters(),
}


def train(task: str, arm: str, count: int = 60) -> tuple[float, float]:
    """Accuracy on unseen items before and after one epoch."""
    GRAPH.clear()
    agent: Any = Answerer(Oracle(scripted))
    parameters, every = ARMS[arm](agent), items(task)
    known, check, unseen = every[:15], every[15:20], every[20 : 20 + count]
    before = accuracy(agent, unseen)
    optimizer = OptoPrime(parameters, llm=by_rule(rule))
    best = accuracy(agent, check)
    for item in known:
        answer = agent(item["input"])
        verdict = judge(item, answer.data)
        if verdict.score < 1:
            kept = [p.data for p in parameters]
            optimizer.zero_feedback()
            optimizer.backward(answer, verdict.feedback)
            optimizer.step()
            now = accuracy(agent, check)
            if now < best:
                for parameter, value in zip(parameters, kept, strict=True):
                    parameter._set(value)
            best = max(now, best)
    return before, accuracy(agent, unseen)


def train_locally(task: str, llm: LLM, seconds: float) -> tuple[float, float]:
    """The same with one real model for both, 20 known and 20 unseen items."""
    GRAPH.clear()
    agent: Any = Answerer(CachedLLM(llm))
    every = items(task)
    before = accuracy(agent, every[20:40])
    print(f"{task}: {before:.0%} before; training …", file=sys.stderr, flush=True)
    optimizer = OptoPrime(agent.parameters(), llm=llm, max_tokens=400)
    plan = TrainingPlan(steps=8, seconds=seconds)
    done = improve(lambda item: agent(item["input"]), optimizer, every[:20], judge, plan=plan, rng=random.Random(0))
    values = {p.py_name: p.data for p in agent.parameters()}
    print(f"{task}: {done.before:.0%} → {done.after:.0%} of 20 known items, {values}", file=sys.stderr, flush=True)
    return before, accuracy(agent, every[20:40])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--local", action="store_true", help="use the model on this machine")
    parser.add_argument("--seconds", type=float, default=900, help="for each task with the model on this machine")
    options = parser.parse_args()
    if options.local:
        llm = LocalLLM()
        pairs = [(task, *train_locally(task, llm, options.seconds)) for task in TASKS[:2]]
        rows = [[task, f"{before:.0%}", f"{after:.0%}"] for task, before, after in pairs]
        print_table("BIG-Bench Hard with the local model, 20 unseen items", ["task", "before", "after"], rows)
        return
    logging.getLogger("opto").setLevel(logging.ERROR)  # a rule that is content changes nothing
    table = []
    for task in TASKS:
        found = {arm: train(task, arm) for arm in ARMS}
        table.append([task, f"{found['both'][0]:.0%}", *(f"{after:.0%}" for _, after in found.values())])
    head = ["task", "before", *(f"{arm} trained" for arm in ARMS)]
    print_table("answer format, accuracy on 60 unseen items", head, table)


if __name__ == "__main__":
    main()
