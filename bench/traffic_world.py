"""The traffic light that `traffic.py` tunes: a simulated crossing, and a table of its scores.

The task is that of Cheng, Nie, Swaminathan (2024, arXiv 2406.16218): one crossing of an east-west and a north-south
road, 30 minutes, random demand with an extra stream on the east-west road early and late. The two green times are
whole seconds from 15 to 90; the score is the mean delay of a vehicle plus its deviation between origins and
destinations, lower is better. The simulator (package `uxsim`) is deterministic and takes a second a point, so scores
are kept in `data/traffic.json`. Fill it, or check some of its entries against the simulator, by

    python bench/traffic_world.py --points 23,15 25,15
    python bench/traffic_world.py --fill 10     # ten minutes; goes on where it was left, good regions first
    python bench/traffic_world.py --check 5

The scores are those of the simulator's Python engine, as the paper's are. Its engine in C++ is three times as fast, but
draws other random numbers: it gives scores up to 16 % apart, and 40.16 instead of 35.46 at (23, 15).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import sys
import time
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "data" / "traffic.json"
LOW, HIGH = 15, 90
SECONDS, SLOT, DEMAND = 1_800, 6, 0.25
ARMS = ("W1", "E1", "N1", "S1")


def demands(numpy: object) -> list[tuple[str, str, int, float]]:
    """(from, to, second, vehicles a second) for each slot of six seconds."""
    draw = numpy.random.RandomState(42)  # type: ignore[attr-defined]
    third = SECONDS // 3
    extra = {("W1", "E1"): range(third), ("E1", "W1"): range(2 * third, SECONDS)}
    return [
        (start, end, t, draw.uniform(0, DEMAND) + (DEMAND if t in extra.get((start, end), ()) else 0))
        for start, end in itertools.permutations(ARMS, 2)
        for t in range(0, SECONDS, SLOT)
    ]


class Living(OrderedDict[str, Any]):
    """The simulator's vehicles; its loop asks for their names each second, and gets those that have something to do.

    It would call every vehicle, and those that wait or have not left do nothing. The scores are the same to the digit.
    """

    def __init__(self, world: Any) -> None:
        super().__init__()
        self.world = world
        self.leaving: dict[int, list[str]] = defaultdict(list)

    def __setitem__(self, name: str, vehicle: Any) -> None:
        super().__setitem__(name, vehicle)
        self.leaving[vehicle.departure_time].append(name)

    def keys(self) -> Any:
        """The names of vehicles that drive or leave now, in the order in which they were made."""
        return sorted([*self.world.VEHICLES_RUNNING, *self.leaving.get(self.world.T, ())], key=int)


def crossing(ew: int, ns: int) -> object:
    """The world with `ew` and `ns` seconds of green, ready to run."""
    import numpy

    try:
        import uxsim
    except ImportError:
        sys.exit(f"({ew}, {ns}) is not in the table and simulating it needs uxsim: pip install 'opto-trace[bench]'")
    world = uxsim.World(
        name="crossing",
        deltan=1,
        reaction_time=1,
        tmax=SECONDS,
        print_mode=0,
        save_mode=0,
        show_mode=0,
        random_seed=0,
        duo_update_time=120,
        show_progress=0,
        vehicle_logging_timestep_interval=-1,
    )
    places = {"W1": (-1, 0), "E1": (1, 0), "N1": (0, 1), "S1": (0, -1)}
    nodes = {name: world.addNode(name, x, y) for name, (x, y) in places.items()}
    world.VEHICLES_LIVING = Living(world)
    add = type(world).adddemand.__wrapped__  # without the record of its arguments, a third of the time
    for start, end, t, rate in demands(numpy):
        add(world, nodes[start], nodes[end], t, t + SLOT, rate)
    middle = world.addNode("I1", 0, 0, signal=[ew, ns])
    for group, (one, other) in enumerate((("W1", "E1"), ("N1", "S1"))):
        for a, b in ((nodes[one], middle), (middle, nodes[other])):
            for start, end in ((a, b), (b, a)):
                road = {"length": 500, "free_flow_speed": 10, "jam_density": 0.2, "signal_group": group}
                world.addLink(start.name + end.name, start, end, **road)
    return world


def simulate(ew: int, ns: int) -> float:
    """The score of the two green times; takes a second."""
    import numpy

    world = crossing(ew, ns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that slots with less than a vehicle are empty
        world.exec_simulation()  # type: ignore[attr-defined]
    analyzer = world.analyzer  # type: ignore[attr-defined]
    lost: dict[object, tuple[int, float]] = {}
    for pair, trips in analyzer.od_trips.items():
        least, times = analyzer.od_tt_free[pair], analyzer.od_tt[pair]
        seen = float(numpy.sum(times - least))
        unseen = float(numpy.max(times) + 1 - least) * (trips - len(analyzer.od_tt))
        lost[pair] = trips, (seen + unseen) / trips
    vehicles = sum(trips for trips, _ in lost.values())
    mean = sum(trips * each for trips, each in lost.values()) / vehicles
    return mean + math.sqrt(sum(trips * (each - mean) ** 2 for trips, each in lost.values()) / vehicles)


def read_table() -> dict[tuple[int, int], float]:
    """The scores known so far."""
    if not TABLE.exists():
        return {}
    stored = json.loads(TABLE.read_text())
    return {tuple(map(int, key.split(","))): score for key, score in stored["scores"].items()}  # type: ignore[misc]


def write_table(scores: dict[tuple[int, int], float]) -> None:
    """Keep the scores, in order."""
    lines = [f'  "{ew},{ns}": {score!r}' for (ew, ns), score in sorted(scores.items())]
    TABLE.parent.mkdir(exist_ok=True)
    what = "green seconds east-west,north-south: score (uxsim 1.15.1)"
    new = TABLE.with_suffix(".new")
    new.write_text(f'{{"what": "{what}", "scores": {{\n' + ",\n".join(lines) + "\n}}\n")
    os.replace(new, TABLE)


def missing(scores: Mapping[tuple[int, int], float]) -> Iterator[tuple[int, int]]:
    """The points that the table lacks: a grid of five seconds first, then where the grid around a point is good."""
    every = list(itertools.product(range(LOW, HIGH + 1), repeat=2))
    yield from (point for point in every if not (point[0] % 5 or point[1] % 5) and point not in scores)

    def around(point: tuple[int, int]) -> float:
        corners = itertools.product(*({x - x % 5, x - x % 5 + 5 * (x % 5 > 0)} for x in point))
        return min(scores.get(corner, math.inf) for corner in corners)

    yield from sorted((point for point in every if point not in scores), key=lambda point: (around(point), point))


class Crossing:
    """Scores by table, by the simulator where the table has none; what is simulated is added to the table."""

    def __init__(self) -> None:
        self.scores = read_table()
        self.simulated = 0

    def __call__(self, ew: int, ns: int) -> float:
        if (ew, ns) not in self.scores:
            self.scores[ew, ns] = simulate(ew, ns)
            self.simulated += 1
            write_table({**read_table(), (ew, ns): self.scores[ew, ns]})
        return self.scores[ew, ns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", nargs="*", default=[], metavar="EW,NS", help="simulate these and keep the scores")
    parser.add_argument("--check", type=int, default=0, metavar="N", help="compare N entries with the simulator")
    parser.add_argument("--fill", type=float, default=0, metavar="MINUTES", help="simulate what the table lacks")
    options = parser.parse_args()
    score = Crossing()
    end = time.monotonic() + 60 * options.fill
    for ew, ns in missing(score.scores):
        if time.monotonic() > end:
            break
        score(ew, ns)
    for point in options.points:
        ew, ns = map(int, point.split(","))
        print(f"({ew}, {ns}): {score(ew, ns):.2f}")
    chosen = random.Random(0).sample(sorted(score.scores), min(options.check, len(score.scores)))
    for ew, ns in chosen:
        again = simulate(ew, ns)
        same = math.isclose(again, score.scores[ew, ns], rel_tol=1e-9)
        print(
            f"({ew}, {ns}): {score.scores[ew, ns]:.4f} in the table, {again:.4f} now: {'same' if same else 'DIFFERS'}"
        )
        if not same:
            raise SystemExit("The table does not fit this version of uxsim: delete it and run traffic.py again.")


if __name__ == "__main__":
    main()
