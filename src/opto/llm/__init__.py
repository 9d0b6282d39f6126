"""Language models behind one seam: something callable with chat messages, with an async twin.

May import the leaves; third-party packages only in transport (httpx2) and local; never trace, optimizers or what is
above. What wraps a model is a model, so wrappers compose: `CachedLLM(Retry(OpenAICompatible(url, name)))`. The order
that spends least, from the outside in: cache, record, retry, fallback, budget, rate limit, concurrency, metering,
timeout, transport. Start processes by spawn: a model that was used before a fork must not be used in the child.

Read in this order: base (the protocol and its records), flow (one implementation for sync and async), stream, fakes;
`transport/` (HTTP in, our responses and errors out); `wrappers/` (each wraps an LLM and is one) on shared (what copies
of a wrapper hold together), profile (what a model can do) and prices; `local/` (a model on this machine); resolve
(which model a user means); abstract and `backends/` (the classes that older programs construct); embedding.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "abstract": "AbstractModel",
    "base": "LLM Choice Chunk ChunkChoice Delta Message Messages Response TokenUsage Usage identity_of",
    "fakes": "DummyLLM ScriptedLLM",
    "flow": "Effect Flow FlowLLM Wrapper ask",
    "local": "LocalLLM",
    "prices": "FREE LongPrice Price PriceTable",
    "profile": "ModelProfile profile_of",
    "resolve": "default_llm",
    "stream": "Stream",
    "transport.openai_compatible": "EnvKey OpenAICompatible Wire",
    "wrappers.budget": "Budget Budgeted",
    "wrappers.cache": "CacheStats CachedLLM MemoryStore Store",
    "wrappers.concurrency": "Limited Slots",
    "wrappers.estimates": "Forecast",
    "wrappers.fallback": "Fallback FellBack",
    "wrappers.metering": "Answered Metered",
    "wrappers.rate_limit": "Clock Pace Paced",
    "wrappers.recordings": "RecordLLM ReplayLLM",
    "wrappers.retry": "CalledAgain Retried Retry RetryPolicy",
    "wrappers.sqlite_store": "SQLiteStore",
    "wrappers.timeout": "Timeout",
}
"""The public names by their modules, which are imported when a name is first used: httpx2 and asyncio take 150 ms."""
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll] - it reads `__init__.pyi`


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
