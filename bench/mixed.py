"""Experiment B6: a prompt, a function, a float, an int and a choice in one run. Search alone, model alone, both.

    python bench/mixed.py --seeds 20 --evaluations 40

The score adds up: 0.4 for four rules that the prompt must state, 0.2 for a function that is right on four numbers,
0.4 for the numbers and the choice (the best temperature depends on the tool). Feedback names one thing that is wrong
with the texts, and gives the score. The oracle stands in for a language model: it knows the prompt that it is sent,
nothing else. What the feedback names it puts right; when nothing is named it changes a number or a choice, within
what the prompt says it must satisfy. One in four of its replies is useless, as those of models are. The search alone
can reach 0.5, as it leaves the texts alone.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import re
import statistics
from typing import Any

from opto.errors import ExecutionError
from opto.execution import set_default_executor
from opto.llm.fakes import DummyLLM
from opto.optimizers import Mixed, OptoPrime
from opto.trace import GRAPH, bundle, node
from opto.trace.spaces import Choice, Code, Float, Int, Text

RULES = ("Greet by name.", "Answer in one sentence.", "Quote the price.", "Say goodbye.")
TOOLS = ("table", "search", "memory", "none")
BEST = {"table": 0.9, "search": 0.35, "memory": 1.4, "none": 1.8}
WORTH = {"table": 0.05, "search": 0.2, "memory": 0.1, "none": 0.0}
MARKS = (1, 5, 10, 20, 30, 40)


def judge(prompt: str, sizes: list[Any], temperature: float, depth: int, tool: str) -> tuple[float, str]:
    """(score from 0 to 1, what to say about it)."""
    missing = [rule for rule in RULES if rule not in prompt]
    wrong = [x for x, size in zip((3, -2, 0, -7), sizes, strict=True) if size != abs(x)]
    warm = math.exp(-(((temperature - BEST[tool]) / 0.2) ** 2))
    deep = math.exp(-(((depth - 7) / 4) ** 2))
    score = 0.1 * (4 - len(missing)) + 0.05 * (4 - len(wrong)) + WORTH[tool] + 0.1 * warm + 0.1 * deep
    if wrong:
        return score, f"size({wrong[0]}) should be {abs(wrong[0])}"
    return score, f"The prompt lacks the rule: {missing[0]}" if missing else "The texts are fine"


class Oracle:
    """See above; `turn` draws what only chance can decide."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def __call__(self, messages: list[dict[str, str]], **options: object) -> str:
        prompt = messages[1]["content"]
        if self.rng.random() < 0.25:
            return "I would rather not change anything."
        feedback = prompt.split("# Result and feedback")[1].split("\n# ")[0]
        lacking = re.search(r"The prompt lacks the rule: (.*?\.)", feedback)
        if "should be" in feedback:
            code = re.search(r"(__code\d+) \(code\):\n```python\n(.*?)\n```", prompt, re.DOTALL)
            if code is not None:
                return self._reply(code[1], code[2].replace("return x", "return abs(x)"))
        elif lacking is not None:
            text = re.search(r"^(prompt\d+) \(text\): (.*)$", prompt, re.MULTILINE)
            if text is not None:
                return self._reply(text[1], f"{text[2]} {lacking[1]}")
        return self._by_chance(prompt)

    def _by_chance(self, prompt: str) -> str:
        found = re.findall(r"^(\w+) \((?:float|int|text)\): .*\n  must satisfy: (.*)$", prompt, re.MULTILINE)
        free = [(name, rule) for name, rule in found if "from" in rule or "one of" in rule]
        if not free:
            return self._reply("nothing", "to say")
        name, rule = self.rng.choice(free)
        if "one of:" in rule:
            return self._reply(name, self.rng.choice(rule.split("one of: ")[1].split(", ")))
        low, high = map(float, re.findall(r"-?[\d.]+", rule)[:2])
        value = self.rng.uniform(low, high)
        return self._reply(name, f"{value:.3f}" if "whole" not in rule else str(round(value)))

    def _reply(self, name: str, value: str) -> str:
        return f"<reasoning>as told</reasoning><variable><name>{name}</name><value>{value}</value></variable>"


class Task:
    """The program and its parameters."""

    def __init__(self) -> None:
        GRAPH.clear()

        @bundle(trainable=True, projections=[Code(imports=[])])
        def size(x: float) -> float:
            return x

        self.size = size
        self.prompt = node("You sell.", name="prompt", trainable=True, space=Text(max_tokens=80))
        self.temperature = node(1.0, name="temperature", trainable=True, space=Float(0, 2))
        self.depth = node(1, name="depth", trainable=True, space=Int(1, 20))
        self.tool = node("none", name="tool", trainable=True, space=Choice(TOOLS))

    @property
    def texts(self) -> list[Any]:
        return [self.prompt, self.size.parameter]

    @property
    def numbers(self) -> list[Any]:
        return [self.temperature, self.depth, self.tool]

    def run(self) -> tuple[Any, float, str]:
        try:
            sizes = [self.size(x) for x in (3, -2, 0, -7)]
        except ExecutionError as error:
            return error.exception_node, 0.0, str(error.exception_node.data)
        found = bundle("[agent] Serves a customer.")(judge)(
            self.prompt, [s.data for s in sizes], self.temperature, self.depth, self.tool
        )
        score, said = found.data
        return sum(sizes) + found[0] if "size(" in said else found, score, said


def run(arm: str, seed: int, evaluations: int) -> tuple[list[float], int]:
    """(scores in order, calls of the model)."""
    task, llm, calls = Task(), Oracle(seed), 0

    def answer(messages: Any, **options: Any) -> str:
        nonlocal calls
        calls += 1
        return llm(messages, **options)

    parameters = {"search alone": task.numbers}.get(arm, [*task.texts, *task.numbers])
    reply = {"reply": "text"}
    optimizer: Any
    if arm == "model alone":
        optimizer = OptoPrime(parameters, DummyLLM(answer), memory_size=10, **reply)
    else:
        optimizer = Mixed(parameters, DummyLLM(answer) if arm == "both" else None, seed=seed, **reply)
    scores: list[float] = []
    for _ in range(evaluations):
        output, score, said = task.run()
        scores.append(score)
        optimizer.zero_feedback()
        optimizer.backward(output, f"{said}. Score {score:.3f}", **({} if arm == "model alone" else {"score": score}))
        optimizer.step()
    return scores, calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=40)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # useless replies are part of the experiment
    marks = [mark for mark in MARKS if mark <= options.evaluations]
    print(f"mean over {options.seeds} seeds of the best score (at most 1.0) after n evaluations; calls of the model")
    print(f"{'':14}" + "".join(f"{mark:>7}" for mark in marks) + f"{'least':>7}{'calls':>7}")
    set_default_executor("unsafe")  # the oracle's code is ours
    for arm in ("search alone", "model alone", "both"):
        runs = [run(arm, seed, options.evaluations) for seed in range(options.seeds)]
        means = [statistics.mean(max(scores[:mark]) for scores, _ in runs) for mark in marks]
        least = min(max(scores) for scores, _ in runs)
        calls = statistics.mean(calls for _, calls in runs)
        print(f"{arm:14}" + "".join(f"{m:7.3f}" for m in means) + f"{least:7.3f}{calls:7.1f}", flush=True)


if __name__ == "__main__":
    main()
