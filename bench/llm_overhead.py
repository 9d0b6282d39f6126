"""What the model layer adds to the HTTP library: calls through the whole stack of wrappers beside bare httpx2.

One loopback server, one process, measured in many short rounds, each arm in turn and each round beginning with another
one. A round gives the ratio of each arm to the bare library; shown is the median of the rounds and the middle half of
them, so that what else the machine does falls on all arms alike, and the ratio of the fastest tenth of both, which is
what remains when the machine has nothing else to do. Once by the clock on the wall, which counts the server's share
too, and once by this process's processor time, which does not: the stricter number.

The transport stands on httpx2. LiteLLM is measured where it is installed, its own start not counted.

Run: python bench/llm_overhead.py [rounds].
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from loopback import Loopback

from opto.llm import (
    LLM,
    Budget,
    CachedLLM,
    Fallback,
    Limited,
    Metered,
    OpenAICompatible,
    Pace,
    Paced,
    RecordLLM,
    Retry,
    SQLiteStore,
    Timeout,
)

Call = Callable[[list[dict[str, str]]], Any]
CALLS = 10  # in a round, by each arm
ROUNDS = 120
AT_ONCE = 20
GOAL = 1.3
PROMPT = "Improve this prompt: answer with the word that fits best. " * 40


def messages(k: int) -> list[dict[str, str]]:
    return [{"role": "system", "content": "You improve prompts."}, {"role": "user", "content": f"{k} {PROMPT}"}]


def stack(url: str) -> LLM:
    """Every wrapper that a careful run holds between itself and the server, without a disk."""
    budget = Budget(calls=10**9, tokens=10**12, money=10**9, seconds=10**9, prices={"m": (1, 1)})
    pace = Pace(requests=10**9, tokens=10**12)
    inner = Paced(Limited(Metered(Timeout(OpenAICompatible(url, "m"), 60)), 64), pace)
    return CachedLLM(Retry(Fallback([budget.wrap(inner)])))


def on_disk(url: str, folder: str) -> LLM:
    """The same, each answer recorded and cached on disk before it is used."""
    inner: Any = stack(url)
    return CachedLLM(RecordLLM(inner.llm, Path(folder) / "run.jsonl"), SQLiteStore(Path(folder) / "answers.db"))


class Numbers:
    """A new request each time: no cache may answer."""

    def __init__(self) -> None:
        self.k = 0

    def next(self) -> list[dict[str, str]]:
        self.k += 1
        return messages(self.k)


@dataclass(frozen=True)
class Took:
    """Microseconds a call, on the wall and of the processor."""

    wall: float
    processor: float


class Watch:
    """What passes between its making and `took`."""

    def __init__(self) -> None:
        self.begin = time.perf_counter(), time.process_time()

    def took(self, calls: int) -> Took:
        wall, processor = time.perf_counter() - self.begin[0], time.process_time() - self.begin[1]
        return Took(wall / calls * 1e6, processor / calls * 1e6)


def per_call(call: Call, numbers: Numbers) -> Took:
    watch = Watch()
    for _ in range(CALLS):
        call(numbers.next())
    return watch.took(CALLS)


async def per_acall(call: Call, numbers: Numbers) -> Took:
    async def work(share: int) -> None:
        for _ in range(share):
            await call(numbers.next())

    share = 2
    watch = Watch()
    await asyncio.gather(*(work(share) for _ in range(AT_ONCE)))
    return watch.took(share * AT_ONCE)


def contenders(url: str, folder: str) -> dict[str, Call]:
    client = httpx2.Client(trust_env=False)

    def bare(prompt: list[dict[str, str]]) -> Any:
        response = client.post(f"{url}/chat/completions", json={"model": "m", "messages": prompt, "max_tokens": 100})
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]

    found: dict[str, Call] = {"httpx2": bare}
    for name, llm in (("transport", OpenAICompatible(url, "m")), ("stack", stack(url)), ("disk", on_disk(url, folder))):
        found[name] = lambda prompt, llm=llm: llm(prompt, max_tokens=100).text
    if importlib.util.find_spec("litellm"):
        litellm = importlib.import_module("litellm")
        found["litellm"] = lambda prompt: (
            litellm.completion("openai/m", prompt, api_base=url, api_key="k", max_tokens=100).choices[0].message.content
        )
    return found


def acontenders(url: str) -> dict[str, Call]:
    client = httpx2.AsyncClient(trust_env=False)

    async def bare(prompt: list[dict[str, str]]) -> Any:
        response = await client.post(
            f"{url}/chat/completions", json={"model": "m", "messages": prompt, "max_tokens": 100}
        )
        return response.json()["choices"][0]["message"]["content"]

    llm = stack(url)
    found: dict[str, Call] = {
        "httpx2": bare,
        "stack": lambda p: llm.acall(p, max_tokens=100),
    }
    if importlib.util.find_spec("litellm"):
        litellm = importlib.import_module("litellm")
        found["litellm"] = lambda prompt: litellm.acompletion(
            "openai/m", prompt, api_base=url, api_key="k", max_tokens=100
        )
    return found


def fastest(times: list[float]) -> float:
    """The mean of the fastest tenth."""
    return statistics.fmean(sorted(times)[: max(1, len(times) // 10)])


def turns(names: list[str], rounds: int) -> list[list[str]]:
    """The order of the arms in each round."""
    return [names[k % len(names) :] + names[: k % len(names)] for k in range(rounds)]


LABELS = {
    "transport": "OpenAICompatible alone",
    "stack": "whole stack of wrappers",
    "disk": "… recorded and cached on disk too",
    "litellm": "litellm",
}


def show(title: str, rounds: list[dict[str, Took]]) -> None:
    for clock in ("wall", "processor"):
        times = {name: [getattr(one[name], clock) for one in rounds] for name in rounds[0]}
        for name, label in LABELS.items():
            if name not in times:
                continue
            ratios = [ours / bare for ours, bare in zip(times[name], times["httpx2"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            quiet = fastest(times[name]) / fastest(times["httpx2"])
            verdict = f"  goal ≤ {GOAL:g}× {'met' if middle <= GOAL else 'MISSED'}" if name == "stack" else ""
            ours, bare = statistics.median(times[name]), statistics.median(times["httpx2"])
            print(
                f"{title}, {clock}: {label:<36}{ours:>7.0f} µs/call, bare httpx2 {bare:>5.0f} µs"
                f"{middle:>7.2f}× ({low:.2f} to {high:.2f}), fastest tenth {quiet:.2f}×{verdict}"
            )
    print(
        f"{title}, calls a second: "
        + ", ".join(f"{name} {1e6 / statistics.median(one[name].wall for one in rounds):.0f}" for name in rounds[0])
    )


def blocking(url: str, folder: str, rounds: int, numbers: Numbers) -> list[dict[str, Took]]:
    arms = contenders(url, folder)
    for call in arms.values():
        per_call(call, numbers)  # connections, certificates, imports
    return [{name: per_call(arms[name], numbers) for name in order} for order in turns(list(arms), rounds)]


async def awaited(url: str, rounds: int, numbers: Numbers) -> list[dict[str, Took]]:
    arms = acontenders(url)
    for call in arms.values():
        await per_acall(call, numbers)
    return [{name: await per_acall(arms[name], numbers) for name in order} for order in turns(list(arms), rounds)]


def main(rounds: int) -> None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    numbers = Numbers()
    with Loopback() as server, tempfile.TemporaryDirectory() as folder:
        show("blocking", blocking(server.url, folder, rounds, numbers))
        show(f"awaited, {AT_ONCE} at once", asyncio.run(awaited(server.url, rounds, numbers)))
    print("load average: " + ", ".join(f"{load:.1f}" for load in os.getloadavg()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
