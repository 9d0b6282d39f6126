"""Language models behind one seam: something callable with chat messages, with an async twin.

May import the leaves (errors, events) and httpcore; never trace, optimizers or what is above. What
wraps a model is a model, so wrappers compose: `CachedLLM(Retry(OpenAICompatible(url, name)))`.
A name is imported from its file when first used: `import opto.llm` alone loads no transport.

The order that spends least, from the outside in: cache, record, retry, fallback, budget, limits, timeout, transport.

Read in this order: base (the protocol and its records), flow (one implementation for sync and async), http with
address, network, deadline, clients, body, faults, replies and stream (the transport), fakes, profile (what a model can
do); the wrappers: retry, cache with store, record, usage with prices, budget with spending, limit, pace, timeout,
fallback, all of them on shared, forks and finalizers (what copies, child processes and garbage hold); local (a model on
this machine), routes and resolve (which model a user means), abstract and backends (the classes that older programs
construct).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opto.llm.abstract import AbstractModel
    from opto.llm.base import LLM, Choice, Chunk, ChunkChoice, Delta, Message, Messages, Response, Usage, identity_of
    from opto.llm.budget import Budget, Budgeted
    from opto.llm.cache import CachedLLM, CacheStats, MemoryStore, Store
    from opto.llm.fakes import DummyLLM, ScriptedLLM
    from opto.llm.fallback import Fallback, FellBack
    from opto.llm.flow import Effect, Flow, FlowLLM, Wrapper, ask
    from opto.llm.http import EnvKey, OpenAICompatible, Wire
    from opto.llm.limit import Limited, Slots
    from opto.llm.local import LocalLLM
    from opto.llm.pace import Clock, Pace, Paced
    from opto.llm.prices import FREE, LongPrice, Price, PriceTable
    from opto.llm.profile import ModelProfile, profile_of
    from opto.llm.record import RecordLLM, ReplayLLM
    from opto.llm.resolve import default_llm
    from opto.llm.retry import CalledAgain, Retried, Retry, RetryPolicy
    from opto.llm.spending import Forecast, Spending
    from opto.llm.store import SQLiteStore
    from opto.llm.stream import Stream
    from opto.llm.timeout import Timeout
    from opto.llm.usage import Answered, Metered, Spent

__all__ = [
    "FREE",
    "LLM",
    "AbstractModel",
    "Answered",
    "Budget",
    "Budgeted",
    "CacheStats",
    "CachedLLM",
    "CalledAgain",
    "Choice",
    "Chunk",
    "ChunkChoice",
    "Clock",
    "Delta",
    "DummyLLM",
    "Effect",
    "EnvKey",
    "Fallback",
    "FellBack",
    "Flow",
    "FlowLLM",
    "Forecast",
    "Limited",
    "LocalLLM",
    "LongPrice",
    "MemoryStore",
    "Message",
    "Messages",
    "Metered",
    "ModelProfile",
    "OpenAICompatible",
    "Pace",
    "Paced",
    "Price",
    "PriceTable",
    "RecordLLM",
    "ReplayLLM",
    "Response",
    "Retried",
    "Retry",
    "RetryPolicy",
    "SQLiteStore",
    "ScriptedLLM",
    "Slots",
    "Spending",
    "Spent",
    "Store",
    "Stream",
    "Timeout",
    "Usage",
    "Wire",
    "Wrapper",
    "ask",
    "default_llm",
    "identity_of",
    "profile_of",
]

_FILES: dict[str, tuple[str, ...]] = {
    "abstract": ("AbstractModel",),
    "base": (
        "LLM",
        "Choice",
        "Chunk",
        "ChunkChoice",
        "Delta",
        "Message",
        "Messages",
        "Response",
        "Usage",
        "identity_of",
    ),
    "budget": ("Budget", "Budgeted"),
    "cache": ("CacheStats", "CachedLLM", "MemoryStore", "Store"),
    "fakes": ("DummyLLM", "ScriptedLLM"),
    "fallback": ("Fallback", "FellBack"),
    "flow": ("Effect", "Flow", "FlowLLM", "Wrapper", "ask"),
    "http": ("EnvKey", "OpenAICompatible", "Wire"),
    "limit": ("Limited", "Slots"),
    "local": ("LocalLLM",),
    "pace": ("Clock", "Pace", "Paced"),
    "prices": ("FREE", "LongPrice", "Price", "PriceTable"),
    "profile": ("ModelProfile", "profile_of"),
    "record": ("RecordLLM", "ReplayLLM"),
    "resolve": ("default_llm",),
    "retry": ("CalledAgain", "Retried", "Retry", "RetryPolicy"),
    "spending": ("Forecast", "Spending"),
    "store": ("SQLiteStore",),
    "stream": ("Stream",),
    "timeout": ("Timeout",),
    "usage": ("Answered", "Metered", "Spent"),
}
_HOME = {name: file for file, names in _FILES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
