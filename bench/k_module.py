"""Experiment B4: four modules with five variants each, 625 configurations; the score is the share that is right.

    python bench/k_module.py --seeds 100

How many evaluations until all are right, the last one included. `Mixed` is the product's own, with nothing set but
its seed; it gets the bare score and searches. Reported elsewhere: OpenEvolve 52.3 on average.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable

from opto.optimizers import Mixed
from opto.trace import GRAPH, bundle, node
from opto.trace.spaces import Choice

MODULES = ("loader", "cleaner", "ranker", "writer")
VARIANTS = ("v1", "v2", "v3", "v4", "v5")
MOST = 625


@bundle()
def pipeline(loader: str, cleaner: str, ranker: str, writer: str) -> str:
    """Runs the four modules in a row."""
    return f"{loader} {cleaner} {ranker} {writer}"


def optimized(seed: int) -> int:
    """Evaluations that Mixed needs."""
    GRAPH.clear()
    rng = random.Random(seed)
    goal = [rng.choice(VARIANTS) for _ in MODULES]
    parts = [node(rng.choice(VARIANTS), name=name, trainable=True, space=Choice(VARIANTS)) for name in MODULES]
    optimizer = Mixed(parts, seed=seed)
    for evaluations in range(1, MOST + 1):
        output = pipeline(*parts)
        right = sum(part.data == wanted for part, wanted in zip(parts, goal, strict=True))
        if right == len(MODULES):
            return evaluations
        optimizer.zero_feedback()
        optimizer.backward(output, right / len(MODULES))
        optimizer.step()
    return MOST


def sampler_alone(seed: int) -> int:
    """Evaluations that a sampler of Optuna (TPE) needs."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = random.Random(seed)
    goal = [rng.choice(VARIANTS) for _ in MODULES]
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for evaluations in range(1, MOST + 1):
        trial = study.ask()
        picked = [trial.suggest_categorical(name, VARIANTS) for name in MODULES]
        right = sum(one == other for one, other in zip(picked, goal, strict=True))
        if right == len(MODULES):
            return evaluations
        study.tell(trial, right)
    return MOST


def hill_climbing(seed: int) -> int:
    """Evaluations if one module at a time is changed at random and kept if no fewer are right."""
    rng = random.Random(seed)
    goal = [rng.choice(VARIANTS) for _ in MODULES]
    now = [rng.choice(VARIANTS) for _ in MODULES]
    right, evaluations = sum(map(str.__eq__, now, goal)), 1
    while right < len(MODULES):
        changed = [*now]
        changed[rng.randrange(len(now))] = rng.choice(VARIANTS)
        found, evaluations = sum(map(str.__eq__, changed, goal)), evaluations + 1
        if found > right:
            now, right = changed, found
    return evaluations


ARMS: dict[str, Callable[[int], int]] = {
    "Mixed, bare score": optimized,
    "Optuna alone (TPE)": sampler_alone,
    "hill climbing": hill_climbing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    print(f"evaluations until all four are right, {options.seeds} seeds\n{'':20}{'mean':>8}{'median':>8}{'worst':>8}")
    for name, arm in ARMS.items():
        found = [arm(seed) for seed in range(options.seeds)]
        print(f"{name:20}{statistics.mean(found):8.1f}{statistics.median(found):8.1f}{max(found):8d}", flush=True)


if __name__ == "__main__":
    main()
