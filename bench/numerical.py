"""Numbers by feedback alone: random arithmetic graphs, one trainable leaf, "larger" or "smaller" as the only feedback.

The task of Cheng, Nie, Swaminathan (2024, arXiv 2406.16218, section 5.1). The oracle reads the recorded graph out of
the prompt, narrows down the wanted output from the feedback so far, and solves the graph for the leaf. The masked arm
gets the same prompts without the recorded calls: what the graph is worth.

Run: python bench/numerical.py [--trials 300] [--steps 10]
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from oracles import Line, Seen, by_rule, print_table

from opto.optimizers import OptoPrime
from opto.optimizers.formats.lean import JsonReplies, Prompt
from opto.optimizers.problem.problem import Problem
from opto.trace import GRAPH, node

LARGER, SMALLER = "The output should be larger.", "The output should be smaller."
Function = Callable[[float], float]

# --- the tasks ---

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
}


@dataclass(frozen=True)
class Task:
    """Each step takes two earlier values: the leaf is value 0, the constants follow."""

    constants: tuple[float, ...]
    steps: tuple[tuple[str, int, int], ...]
    start: float
    goal: float

    def run(self, leaf: Any) -> Any:
        values: list[Any] = [leaf, *self.constants]
        for operation, left, right in self.steps:
            values.append(OPERATIONS[operation](values[left], values[right]))
        return values[-1]


def draw_task(rng: random.Random) -> Task:
    """A graph of eight calls whose output, at the start, is 0.5 to 10 away from the goal."""
    while True:
        constants = tuple(rng.uniform(-2, 2) for _ in range(4))
        steps: list[tuple[str, int, int]] = []
        reached = [0]  # values that depend on the leaf
        for at in range(5, 13):
            pair = [reached[-1] if at == 12 else rng.choice(reached), rng.randrange(at)]
            rng.shuffle(pair)
            steps.append((rng.choice(list(OPERATIONS)), *pair))
            reached.append(at)
        start, hidden = rng.uniform(-3, 3), rng.uniform(-3, 3)
        task = Task(constants, tuple(steps), start, 0.0)
        if 0.5 <= abs(task.run(start) - task.run(hidden)) <= 10:
            return replace(task, goal=task.run(hidden))


# --- the oracle ---


def graph_of(lines: Sequence[Line], leaf: str) -> Function:
    """The recorded calls as a function of the leaf."""

    def output(x: float) -> float:
        known = {leaf: x}
        for line in lines:
            left, right = (_value(text, known) for text in line.arguments.split(", "))
            known[line.name] = OPERATIONS[line.function](left, right)
        return known[lines[-1].name]

    return output


def _value(text: str, known: dict[str, float]) -> float:
    """`2.5`, `add0`, or `2.5 @add0`: a value with the name that stands for it later."""
    value, _, name = text.partition(" @")
    if value in known or name in known:
        return known.get(value, known.get(name, 0.0))
    found = float(value)
    if name:
        known[name] = found
    return found


def solve(function: Function, goal: float, near: float) -> float:
    """The x next to `near` where the function comes to `goal`, or as near to it as it gets."""
    grid = [near + side * k / 100 for k in range(1, 1_201) for side in (1, -1)]
    best = near
    for x in grid:
        inner = x - (0.01 if x > near else -0.01)
        low, high = function(inner) - goal, function(x) - goal
        if low * high <= 0:
            return bisected(function, goal, inner, x)
        best = x if abs(high) < abs(function(best) - goal) else best
    return best


def bisected(function: Function, goal: float, a: float, b: float) -> float:
    for _ in range(50):
        middle = (a + b) / 2
        if (function(a) - goal) * (function(middle) - goal) <= 0:
            b = middle
        else:
            a = middle
    return (a + b) / 2


def next_point(tried: Sequence[tuple[float, str]]) -> float:
    """Where to look for the goal: half-way between what was too small and too large, else twice as far."""
    small = max((value for value, said in tried if said == LARGER), default=None)
    large = min((value for value, said in tried if said == SMALLER), default=None)
    if small is not None and large is not None:
        return (small + large) / 2
    return small + 2 ** (len(tried) - 1) if small is not None else (large or 0) - 2 ** (len(tried) - 1)


def rule(seen: Seen) -> dict[str, float]:
    """With the graph: search among outputs. Without: search among leaves for where the feedback turns."""
    [(leaf, now)] = seen.parts.items()
    tried = [*((float(value), said) for value, said in seen.attempts), (float(now), seen.feedback)]
    if seen.lines:
        output = graph_of(seen.lines, leaf)
        goal = next_point([(output(x), said) for x, said in tried])
        return {leaf: solve(output, goal, tried[-1][0])}
    return {leaf: _where_it_turns(tried)}


def _where_it_turns(tried: Sequence[tuple[float, str]]) -> float:
    """Half-way between neighbours with different feedback; until there are two, further out on both sides in turn."""
    ordered = sorted(tried)
    turns = [(a, b) for (a, said), (b, other) in pairwise(ordered) if said != other]
    if turns:
        return sum(min(turns, key=lambda pair: pair[1] - pair[0])) / 2
    reach = (len(tried) + 1) // 2
    return tried[0][0] + (reach if len(tried) % 2 else -reach)


class Masked(JsonReplies):
    """The same prompt without the recorded calls."""

    def prompt(self, problem: Problem, budget: int, turn: int) -> Prompt:
        return super().prompt(replace(problem, calls=(), given={}), budget, turn)


# --- running ---

ARMS: dict[str, Any] = {"graph": None, "masked graph": Masked()}


def errors(task: Task, arm: str, steps: int) -> Iterator[float]:
    """The distance to the goal before the first step and after each."""
    GRAPH.clear()
    x: Any = node(task.start, name="x", trainable=True)
    optimizer = OptoPrime([x], llm=by_rule(rule), reply=ARMS[arm], memory_size=steps)
    for left in range(steps, -1, -1):
        y = task.run(x)
        yield abs(y.data - task.goal)
        if left and y.data != task.goal:
            optimizer.zero_feedback()
            optimizer.backward(y, LARGER if y.data < task.goal else SMALLER)
            optimizer.step()


def measure(trials: int, steps: int) -> dict[str, list[list[float]]]:
    """For each arm the errors of each trial, by step."""
    tasks = [draw_task(random.Random(seed)) for seed in range(trials)]
    return {arm: [list(errors(task, arm, steps)) for task in tasks] for arm in ARMS}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    found = measure(options.trials, options.steps)
    shown = [*range(0, options.steps, 2), options.steps]
    rows: list[list[object]] = []
    for trials in sorted({min(30, options.trials), options.trials}):
        for arm, runs in found.items():
            means = (statistics.fmean(run[step] for run in runs[:trials]) for step in shown)
            rows.append([f"{arm}, {trials} trials", *means])
    title = "numerical optimization: mean |y − y*|, by step (goal ≤ 0.1 at step 10)"
    print_table(title, ["arm", *map(str, shown)], rows)
    print("reported at step 10: Adam ≈ 0.4, Trace ≈ 0.8, Trace with masked graph ≈ 1.4")


if __name__ == "__main__":
    main()
