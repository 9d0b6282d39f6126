"""A run killed at a random moment and started again: it pays for no answer twice and ends where it would have ended.

A small optimization (OptoPrime, one call a step) asks a loopback server through a cache on disk. Each trial kills it
with SIGKILL at a random moment and starts it again. The server counts.

Run: python bench/resume_after_kill.py [trials] [seed]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loopback import Loopback

from opto.llm import CachedLLM, OpenAICompatible, SQLiteStore
from opto.optimizers import OptoPrime
from opto.trace import node

STEPS = 20


def optimize(url: str, path: str) -> None:
    """The run: each answer decides the next question. Tells its begin, each step that used an answer, and its end."""
    llm = CachedLLM(OpenAICompatible(url, "gpt-4o"), SQLiteStore(path))
    x = node(1, name="x", trainable=True)
    optimizer = OptoPrime([x], llm=llm)
    print("begin", flush=True)
    for step in range(STEPS):
        optimizer.zero_feedback()
        optimizer.backward(x + 1, f"Step {step}: the result should be larger.")
        optimizer.step()
        print("used", flush=True)
    print("end", x.data, flush=True)


def start(url: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, "run", url, str(path)], stdout=subprocess.PIPE, text=True)


def begun(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"


def whole_run(server: Loopback, path: Path) -> tuple[str, float]:
    """The last line of an undisturbed run, and the seconds that it took from its beginning."""
    process = start(server.url, path)
    begun(process)
    begin = time.monotonic()
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith("end"):
        assert line, "the run failed"
    seconds = time.monotonic() - begin
    process.communicate()
    assert process.returncode == 0
    return line, seconds


@dataclass(frozen=True)
class Trial:
    """What was seen: steps that used an answer, answers on disk, calls that the server answered before and after."""

    used: int
    kept: int
    before: int
    after: int
    same_end: bool

    @property
    def paid_again(self) -> int:
        """Calls of the second run beyond those that the first had no answer for."""
        return self.after - (STEPS - self.kept)


def trial(path: Path, moment: float, expected: str) -> Trial:
    with Loopback() as server:
        process = start(server.url, path)
        begun(process)
        time.sleep(moment)
        process.kill()
        out, _ = process.communicate()
        store = SQLiteStore(path)
        kept = len(store)
        store.close()
        before = sum(server.counts())
        end, _ = whole_run(server, path)
        after = sum(server.counts()) - before
    return Trial(out.count("used"), kept, before, after, end == expected)


def main(trials: int, seed: int) -> int:
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        with Loopback() as server:
            expected, seconds = whole_run(server, Path(folder) / "whole.db")
            assert sum(server.counts()) == STEPS
        seen = [trial(Path(folder) / f"{k}.db", draw.uniform(0, seconds), expected) for k in range(trials)]
    broken = sum(one.used < STEPS for one in seen)
    flying = sum(one.before > one.kept for one in seen)
    unsafe = sum(one.used > one.kept for one in seen)
    again = sum(one.paid_again for one in seen)
    strayed = sum(not one.same_end for one in seen)
    print(f"{trials} runs of {STEPS} calls, killed at random moments (seed {seed}); {broken} before their last step")
    print(f"answers used that were not on disk:         {unsafe}  goal 0 {verdict(unsafe)}")
    print(f"completed calls paid again:                 {again}  goal 0 {verdict(again)}")
    print(f"other parameters at the end:                {strayed}  goal 0 {verdict(strayed)}")
    print(f"(killed while a call was under way: {flying}; the server had answered it, nobody had it yet)")
    return 0 if unsafe == again == strayed == 0 else 1


def verdict(count: int) -> str:
    return "met" if count == 0 else "MISSED"


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        optimize(sys.argv[2], sys.argv[3])
    else:
        numbers = [int(argument) for argument in sys.argv[1:]]
        sys.exit(main(*[*numbers, *(50, 0)[len(numbers) :]]))
