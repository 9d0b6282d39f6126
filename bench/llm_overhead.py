"""What the model layer adds to the HTTP library: calls through the whole stack of wrappers beside bare httpx.

One loopback server, one run, measured in turn. Run: python bench/llm_overhead.py [calls]. LiteLLM is measured where
it is installed, its own start not counted.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from loopback import Loopback
from measure import Row

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
ROUNDS = 5
AT_ONCE = 20
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


def per_call(call: Call, calls: int, numbers: Numbers) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        call(numbers.next())
    return (time.perf_counter() - begin) / calls * 1e6


async def per_acall(call: Call, calls: int, numbers: Numbers) -> float:
    async def work(share: int) -> None:
        for _ in range(share):
            await call(numbers.next())

    begin = time.perf_counter()
    await asyncio.gather(*(work(calls // AT_ONCE) for _ in range(AT_ONCE)))
    return (time.perf_counter() - begin) / (calls // AT_ONCE * AT_ONCE) * 1e6


def contenders(url: str, folder: str) -> dict[str, Call]:
    client = httpx.Client(trust_env=False)

    def bare(prompt: list[dict[str, str]]) -> Any:
        response = client.post(f"{url}/chat/completions", json={"model": "m", "messages": prompt, "max_tokens": 100})
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]

    found: dict[str, Call] = {"httpx": bare}
    for name, llm in (("transport", OpenAICompatible(url, "m")), ("stack", stack(url)), ("disk", on_disk(url, folder))):
        found[name] = lambda prompt, llm=llm: llm(prompt, max_tokens=100).text
    if importlib.util.find_spec("litellm"):
        litellm = importlib.import_module("litellm")
        found["litellm"] = lambda prompt: (
            litellm.completion("openai/m", prompt, api_base=url, api_key="k", max_tokens=100).choices[0].message.content
        )
    return found


def acontenders(url: str) -> dict[str, Call]:
    client = httpx.AsyncClient(trust_env=False)

    async def bare(prompt: list[dict[str, str]]) -> Any:
        response = await client.post(
            f"{url}/chat/completions", json={"model": "m", "messages": prompt, "max_tokens": 100}
        )
        return response.json()["choices"][0]["message"]["content"]

    llm = stack(url)
    found: dict[str, Call] = {
        "httpx": bare,
        "stack": lambda p: llm.acall(p, max_tokens=100),
    }
    if importlib.util.find_spec("litellm"):
        litellm = importlib.import_module("litellm")
        found["litellm"] = lambda prompt: litellm.acompletion(
            "openai/m", prompt, api_base=url, api_key="k", max_tokens=100
        )
    return found


def best(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: min(one[name] for one in rounds) for name in rounds[0]}


def show(title: str, times: dict[str, float]) -> None:
    labels = {
        "transport": "OpenAICompatible alone",
        "stack": "whole stack of wrappers",
        "disk": "… recorded and cached on disk too",
        "litellm": "litellm",
    }
    for name, label in labels.items():
        if name in times:
            goal = 1.3 if name == "stack" else None
            print(Row(f"{title}: {label}", times[name], times["httpx"], "µs/call", goal, "bare httpx"))
    print(f"{title}: " + ", ".join(f"{name} {1e6 / value:.0f} calls/s" for name, value in times.items()))


def main(calls: int) -> None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    numbers = Numbers()
    with Loopback() as server, tempfile.TemporaryDirectory() as folder:
        ours = contenders(server.url, folder)
        for call in ours.values():
            per_call(call, 5, numbers)
        show(
            "blocking",
            best([{name: per_call(call, calls, numbers) for name, call in ours.items()} for _ in range(ROUNDS)]),
        )

        async def awaited() -> dict[str, float]:
            theirs = acontenders(server.url)
            rounds = [
                {name: await per_acall(call, calls, numbers) for name, call in theirs.items()}
                for _ in range(ROUNDS + 1)
            ]
            return best(rounds[1:])

        show(f"awaited, {AT_ONCE} at once", asyncio.run(awaited()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
