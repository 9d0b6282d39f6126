"""Fast code by measuring it: the longest increasing subsequence, from a slow and wrong start to n log n.

After the test-time experiment with Trace: the function is trainable code, the feedback says whether a test fails, else
how long a long list took. The oracle reads code and feedback: a wrong answer on equal neighbours makes it compare
strictly; a slow right one makes it look for the reason, repeated work first and then the inner loop.

Run: python bench/runtime_feedback.py [--length 21]
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oracles import Seen, by_rule, print_table

from opto.optimizers import OptoPrime
from opto.trace import GRAPH, bundle

TESTS = (([], 0), ([3], 1), ([1, 2, 3], 3), ([3, 2, 1], 1), ([2, 2, 2], 1), ([10, 9, 2, 5, 3, 7, 101, 18], 4))
FAST, DONE = 0.02, "Right and fast"  # seconds for each list, and what is said then


@bundle(trainable=True)
def longest(numbers: list[int]) -> int:
    """The length of the longest strictly increasing subsequence"""

    def from_here(at: int, least: float) -> int:
        if at == len(numbers):
            return 0
        without = from_here(at + 1, least)
        return max(without, 1 + from_here(at + 1, numbers[at])) if numbers[at] >= least else without

    return from_here(0, float("-inf"))


SQUARE = '''
def longest(numbers: list[int]) -> int:
    """The length of the longest strictly increasing subsequence"""
    ending = []
    for at, number in enumerate(numbers):
        ending.append(1 + max((ending[k] for k in range(at) if numbers[k] < number), default=0))
    return max(ending, default=0)
'''

BISECT = '''
def longest(numbers: list[int]) -> int:
    """The length of the longest strictly increasing subsequence"""
    from bisect import bisect_left
    tails = []
    for number in numbers:
        place = bisect_left(tails, number)
        tails[place : place + 1] = [number]
    return len(tails)
'''


def rule(seen: Seen) -> dict[str, str]:
    """Right first, then fast: strict comparison, then no repeated work, then no inner loop."""
    [(name, code)] = seen.parts.items()
    if "Wrong" in seen.feedback:
        return {name: code.replace(">=", ">")}
    return {name: BISECT if "ending" in code else SQUARE}


@dataclass(frozen=True)
class Tried:
    """One version, and what was said of it."""

    code: str
    feedback: str


def judge(lengths: Sequence[int]) -> tuple[Any, str]:
    """(output, feedback) of the present code: the first failing test, else the first list that takes too long."""
    for numbers, wanted in TESTS:
        found = longest(numbers)
        if found.data != wanted:
            return found, f"Wrong: {wanted} was expected"
    for length in lengths:
        start = time.perf_counter()
        found = longest(rising(length))
        seconds = time.perf_counter() - start
        if seconds >= FAST:
            return found, f"Right, but too slow: {seconds:.3g} s for {length:,} numbers"
    return found, f"{DONE}: {seconds:.3g} s for {length:,} numbers"


def rising(length: int) -> list[int]:
    """Numbers that rise, with noise."""
    rng = random.Random(length)
    return [5 * at + rng.randrange(8) for at in range(length)]


def measure(lengths: Sequence[int], most: int = 6) -> list[Tried]:
    """Judge and rewrite until the code is right and fast; the versions in order."""
    GRAPH.clear()
    longest.parameter._set(ORIGINAL)
    optimizer = OptoPrime([longest.parameter], llm=by_rule(rule))
    tried: list[Tried] = []
    while len(tried) < most:
        output, feedback = judge(lengths)
        tried.append(Tried(longest.parameter.data, feedback))
        if feedback.startswith(DONE):
            break
        optimizer.zero_feedback()
        optimizer.backward(output, feedback)
        optimizer.step()
    return tried


ORIGINAL = longest.parameter.data


def seconds_for(tried: Tried, length: int) -> float:
    longest.parameter._set(tried.code)
    numbers = rising(length)
    start = time.perf_counter()
    longest(numbers)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--length", type=int, default=21, help="of the shorter list that is timed")
    length = parser.parse_args().length
    found = measure((length, 3_000))
    rows = [[str(number), tried.feedback] for number, tried in enumerate(found)]
    print_table("longest increasing subsequence", ["version", "feedback"], rows)
    before, after = (seconds_for(tried, length) for tried in (found[1], found[-1]))
    print(f"on the same {length} numbers: {before:.3g} s before, {after:.2g} s after, {before / after:,.0f}× faster")
    print("reported: 5.81 s before, 0.0126 s after")


if __name__ == "__main__":
    main()
