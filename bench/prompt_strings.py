"""What it costs that f-strings are linked: calls with texts while none was formatted, and once some were.

Ratios are what counts: absolute times drift with the machine. Run: python bench/prompt_strings.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from opto.trace import bundle, node, operators

CALLS = 2_000
ROUNDS = 41
TEXT = "Answer the question in one sentence, and name where it comes from. " * 4


@bundle()
def ask(prompt: str, question: str) -> str:
    """Ask."""
    return prompt


def number() -> Any:
    return X + 1


def text() -> Any:
    return T + "Now."


def call() -> Any:
    return ask(TEXT, "Why?")


def operator() -> Any:
    return operators.replace(TEXT, "one", "two")


X, T = node(1), node("Be brief. ")
FORMATTED = node("Be brief and kind.", name="p", trainable=True)


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        run()
    return (time.perf_counter() - start) / CALLS


def main() -> None:
    kinds = {"x + 1": number, 'x + "text"': text, "bundled call": call, "operators.replace": operator}
    before = {name: statistics.median(seconds(run) for _ in range(ROUNDS)) for name, run in kinds.items()}
    for i in range(8):
        f"{FORMATTED} {node(f'another text of a node, the {i}th')}"
    after = {name: statistics.median(seconds(run) for _ in range(ROUNDS)) for name, run in kinds.items()}
    linked = statistics.median(seconds(lambda: ask(f"{FORMATTED} {TEXT}", "Why?")) for _ in range(3))
    for name, base in before.items():
        print(f"{name:20} {base * 1e6:7.2f} µs, with 9 texts remembered {after[name] * 1e6:7.2f} µs", end="")
        print(f", ratio {after[name] / base:5.2f}")
    print(f"a call with an f-string {linked * 1e6:7.2f} µs")


if __name__ == "__main__":
    main()
