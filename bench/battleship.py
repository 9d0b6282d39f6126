"""Battleship: a player whose thinking and acting are trainable code, rewritten while it plays.

The task of Cheng, Nie, Swaminathan (2024, arXiv 2406.16218, section 5.4): each iteration is one shot, and the feedback
says what became of it. The oracle reads the player's code, the board that it was shown and the feedback out of the
prompt, and writes the function that the complaint is about anew.

Run: python bench/battleship.py [--trials 10] [--iterations 20]
"""

from __future__ import annotations

import argparse
import logging
import random
import re
import statistics
from collections.abc import Mapping
from typing import Any

from oracles import Seen, by_rule, print_table

from opto.optimizers import OptoPrime
from opto.trace import GRAPH, bundle, model

SIZE, SHIPS = 8, (5, 4, 3, 3, 2)
Square = tuple[int, int]


# --- the game ---


class Sea:
    """A board with hidden ships. It is shown as rows of `.` (unknown), `X` (hit) and `o` (miss)."""

    def __init__(self, rng: random.Random) -> None:
        self.ships: set[Square] = set()
        self.shots: dict[Square, str] = {}
        for length in SHIPS:
            self.ships |= self._place(rng, length)

    def _place(self, rng: random.Random, length: int) -> set[Square]:
        while True:
            start, along = rng.randrange(SIZE - length + 1), rng.randrange(SIZE)
            squares = {(start + k, along) for k in range(length)}
            if rng.random() < 0.5:
                squares = {(column, row) for row, column in squares}
            if not squares & self.ships:
                return squares

    def shown(self) -> str:
        return "/".join("".join(self.shots.get((r, c), ".") for c in range(SIZE)) for r in range(SIZE))

    def fire(self, shot: Any) -> str:
        """What became of a shot, as feedback."""
        if not (isinstance(shot, tuple) and len(shot) == 2 and all(x in range(SIZE) for x in shot)):
            return f"Wrong: {shot!r} is no square (row, column)."
        if shot in self.shots:
            return "Wasted: this square was fired at before."
        self.shots[shot] = "X" if shot in self.ships else "o"
        return "Hit." if shot in self.ships else "Miss."

    @property
    def share(self) -> float:
        """The share of ship squares that are hit."""
        return sum(what == "X" for what in self.shots.values()) / len(self.ships)


@model
class Player:
    """Thinks, then acts."""

    def __call__(self, board: str) -> Any:
        return self.act(board, self.reason(board))

    @bundle(trainable=True)
    def reason(self, board):  # type: ignore[no-untyped-def]
        """Squares (row, column) to fire at, the best first. Board: rows of . unknown, X hit, o miss"""
        return []

    @bundle(trainable=True)
    def act(self, board, plan):  # type: ignore[no-untyped-def]
        """The square (row, column) to fire at"""
        return (0, 0)


# --- the oracle: three lessons, each for a complaint ---

ACT = '''
def act(self, board, plan):
    """The square (row, column) to fire at"""
    rows = board.split("/")
    every = [(r, c) for r in range(len(rows)) for c in range(len(rows[r]))]
    return next((r, c) for r, c in [*plan, *every] if rows[r][c] == ".")
'''

FOLLOW = '''
def reason(self, board):
    """Squares (row, column) to fire at, the best first. Board: rows of . unknown, X hit, o miss"""
    rows = board.split("/")
    hits = [(r, c) for r in range(len(rows)) for c in range(len(rows[r])) if rows[r][c] == "X"]
    near = [(r + a, c + b) for r, c in hits for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    return [(r, c) for r, c in near if 0 <= r < len(rows) and 0 <= c < len(rows)]
'''

COUNT = '''
def reason(self, board):
    """Squares (row, column) to fire at, the best first. Board: rows of . unknown, X hit, o miss"""
    rows = board.split("/")
    size = len(rows)
    likely = {(r, c): 0 for r in range(size) for c in range(size)}
    for length in (5, 4, 3, 3, 2):
        for start in range(size - length + 1):
            for along in range(size):
                for down in (True, False):
                    ship = [(start + k, along) if down else (along, start + k) for k in range(length)]
                    what = [rows[r][c] for r, c in ship]
                    if "o" not in what:
                        for square in ship:
                            likely[square] += 2 ** what.count("X")
    return sorted(likely, key=lambda square: -likely[square])
'''


def rule(seen: Seen) -> dict[str, str]:
    """Code that fires without looking: choose among unknown squares, the planned ones first. A miss beside a hit: plan
    to follow hits. Other misses: count the places that ships could have. Both parts may change at once.
    """
    codes = {re.findall(r"def (\w+)", code)[0]: (name, code) for name, code in seen.parts.items()}
    (act, acting), (reason, thinking) = codes["act"], codes["reason"]
    changes = {} if "next(" in acting else {act: ACT}
    if "Miss" not in seen.feedback or "likely" in thinking:
        return changes
    board = next((m[0] for line in seen.lines if (m := re.search(r"[.Xo/]{71}", line.arguments))), "")
    return {**changes, reason: FOLLOW if "X" in board and "hits" not in thinking else COUNT}


# --- playing ---


def play(seed: int, iterations: int, *, start: Mapping[str, str], train: bool) -> list[float]:
    """The share of ship squares hit after each shot, by a player that starts with the functions in `start`."""
    GRAPH.clear()
    player: Any = Player()
    for function, code in start.items():
        getattr(player, function).parameter._set(code.strip())
    optimizer = OptoPrime(player.parameters(), llm=by_rule(rule))
    sea, shares = Sea(random.Random(seed)), list[float]()
    for _ in range(iterations):
        shot = player(sea.shown())
        feedback = sea.fire(shot.data)
        shares.append(sea.share)
        if train and feedback != "Hit.":
            optimizer.zero_feedback()
            optimizer.backward(shot, feedback)
            optimizer.step()
    return shares


ARMS: dict[str, dict[str, Any]] = {
    "OptoPrime": {"start": {}, "train": True},
    "enumeration, row by row": {"start": {"act": ACT}, "train": False},
    "the last code from the first shot": {"start": {"act": ACT, "reason": COUNT}, "train": False},
}


def measure(trials: int, iterations: int) -> dict[str, list[list[float]]]:
    """For each arm the shares of each trial, by iteration."""
    return {arm: [play(seed, iterations, **how) for seed in range(trials)] for arm, how in ARMS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=20)
    options = parser.parse_args()
    logging.getLogger("opto").setLevel(logging.ERROR)  # a rule that is content changes nothing
    found = measure(options.trials, options.iterations)
    shown = [n for n in (5, 10, 15, 20, 30, 40) if n <= options.iterations]
    rows = [
        [arm, *(f"{statistics.fmean(run[n - 1] for run in runs):.0%}" for n in shown)] for arm, runs in found.items()
    ]
    print_table(
        f"battleship: ship squares hit, mean of {options.trials} trials, by shots", ["arm", *map(str, shown)], rows
    )
    print("reported: Trace ≈ 60 % at its plateau, enumeration ≈ 28 %, OPRO ≈ 10-16 %")


if __name__ == "__main__":
    main()
