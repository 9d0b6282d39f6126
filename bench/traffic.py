"""Experiment A1: two green times of a traffic light, 50 simulations, feedback is the score (lower is better).

    python bench/traffic.py                 # Mixed, Optuna alone, OptoPrime with an oracle
    python bench/traffic.py --seeds 10 --simulations 50

Needs what it compares with: pip install 'opto-trace[search]', and `uxsim` for points that the table of scores lacks
(see traffic_world.py). The oracle stands in for a language model: it knows nothing but the prompt that OptoPrime sends,
reads the present values, their range, the score and the earlier attempts from it, and searches by rule. That its steps
of 10, 5, 2 and 1 suit this start and this crossing is luck: it shows that the prompt carries what a model would need,
not how a model would do. Everything starts at (15, 15), as in the paper's example.
"""

from __future__ import annotations

import argparse
import logging
import random
import re
import statistics
from collections.abc import Callable

from traffic_world import HIGH, LOW, Crossing

from opto.llm.fakes import DummyLLM
from opto.optimizers import Mixed, OptoPrime
from opto.trace import GRAPH, bundle, node
from opto.trace.spaces import Int

START = (15, 15)
PAPER = {"Trace": 42, "SCATS": 43, "OPRO": 80, "Trace without memory": 180, "Gaussian process": 250, "PSO": 300}
MARKS = (1, 5, 10, 20, 30, 40, 50)
Run = Callable[[Crossing, int, int], list[float]]


def optimized(make: Callable[[list[object]], object], score: Crossing, simulations: int) -> list[float]:
    """The scores of one run, in order."""
    GRAPH.clear()
    green = [node(s, name=n, trainable=True, space=Int(LOW, HIGH)) for s, n in zip(START, ("EW", "NS"), strict=True)]
    optimizer = make(green)
    crossing = bundle("[crossing] Simulates 30 minutes of traffic with these green times.")(score.__call__)
    scores = []
    for _ in range(simulations):
        result = crossing(*green)
        scores.append(result.data)
        optimizer.zero_feedback()  # type: ignore[attr-defined]
        optimizer.backward(result, f"OVERALL SCORE: {result.data:.2f}, lower is better")  # type: ignore[attr-defined]
        optimizer.step()  # type: ignore[attr-defined]
    return scores


def mixed(score: Crossing, seed: int, simulations: int) -> list[float]:
    return optimized(lambda green: Mixed(green, seed=seed, maximize=False), score, simulations)  # type: ignore[arg-type]


def optuna_alone(score: Crossing, seed: int, simulations: int) -> list[float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({"EW": START[0], "NS": START[1]})
    study.optimize(lambda t: score(t.suggest_int("EW", LOW, HIGH), t.suggest_int("NS", LOW, HIGH)), simulations)
    return [trial.value or 0 for trial in study.trials]


class Oracle:
    """Reads every attempt and its score in the prompt, and goes to the nearest untried neighbour of the best one.

    Neighbours are tried in wide steps first, in an order of directions that the seed shuffles.
    """

    def __init__(self, seed: int) -> None:
        self.directions = [(ew, ns) for ew in (-1, 0, 1) for ns in (-1, 0, 1) if ew or ns]
        random.Random(seed).shuffle(self.directions)

    def __call__(self, messages: list[dict[str, str]], **options: object) -> str:
        prompt = messages[1]["content"]
        now = {name: int(value) for name, value in re.findall(r"^(EW0|NS0) \(int\): (\d+)", prompt, re.MULTILINE)}
        seen = {(now["EW0"], now["NS0"]): float(re.findall(r"OVERALL SCORE: ([\d.]+)", results(prompt))[0])}
        for line in re.findall(r"^- (.*OVERALL SCORE.*)$", prompt, re.MULTILINE):
            past = {**now, **{name: int(value) for name, value in re.findall(r"(EW0|NS0)=(\d+)", line)}}
            seen[past["EW0"], past["NS0"]] = float(re.findall(r"OVERALL SCORE: ([\d.]+)", line)[0])
        low, high = map(int, re.findall(r"whole number from (\d+) to (\d+)", prompt)[0])
        ew, ns = min(seen, key=lambda point: seen[point])
        for step in (10, 5, 2, 1):
            for one, other in self.directions:
                point = min(max(ew + step * one, low), high), min(max(ns + step * other, low), high)
                if point not in seen:
                    return f'{{"suggestion": {{"EW0": {point[0]}, "NS0": {point[1]}}}}}'
        return "TERMINATE"


def results(prompt: str) -> str:
    """The part of the prompt that tells the last result."""
    return prompt.split("# Result and feedback")[1].split("\n# ")[0]


def oracle(score: Crossing, seed: int, simulations: int) -> list[float]:
    llm = DummyLLM(Oracle(seed))
    return optimized(lambda green: OptoPrime(green, llm, memory_size=50), score, simulations)  # type: ignore[arg-type]


RUNS: dict[str, Run] = {"Mixed": mixed, "Optuna alone (TPE)": optuna_alone, "OptoPrime + oracle": oracle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--simulations", type=int, default=50)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # an oracle that has tried all its steps says so each time
    score = Crossing()
    marks = [mark for mark in MARKS if mark <= options.simulations]
    print(f"median over {options.seeds} seeds of the best score after n simulations, and the worst seed at the end")
    print(f"{'':22}" + "".join(f"{mark:>8}" for mark in marks) + f"{'worst':>8}")
    for name, run in RUNS.items():
        curves = [run(score, seed, options.simulations) for seed in range(options.seeds)]
        medians = [statistics.median(min(curve[:mark]) for curve in curves) for mark in marks]
        ends = sorted(min(curve) for curve in curves)
        print(f"{name:22}" + "".join(f"{m:8.2f}" for m in medians) + f"{ends[-1]:8.2f}", flush=True)
        print(f"{'':22}each: {' '.join(f'{end:.2f}' for end in ends)}")
    print("\nreported by the paper after 50: " + ", ".join(f"{name} ≈ {value}" for name, value in PAPER.items()))
    least = min(score.scores.values())
    print(f"{score.simulated} points were simulated now, the table has {len(score.scores)}, the least {least:.2f}")


if __name__ == "__main__":
    main()
