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
    from opto.llm.base import (
        LLM,
        Choice,
        Chunk,
        ChunkChoice,
        Delta,
        Message,
        Messages,
        Response,
        TokenUsage,
        Usage,
        identity_of,
    )
    from opto.llm.fakes import DummyLLM, ScriptedLLM
    from opto.llm.flow import Effect, Flow, FlowLLM, Wrapper, ask
    from opto.llm.local import LocalLLM
    from opto.llm.prices import FREE, LongPrice, Price, PriceTable
    from opto.llm.profile import ModelProfile, profile_of
    from opto.llm.resolve import default_llm
    from opto.llm.stream import Stream
    from opto.llm.transport.openai_compatible import EnvKey, OpenAICompatible, Wire
    from opto.llm.wrappers.budget import Budget, Budgeted
    from opto.llm.wrappers.cache import CachedLLM, CacheStats, MemoryStore, Store
    from opto.llm.wrappers.concurrency import Limited, Slots
    from opto.llm.wrappers.estimates import Forecast
    from opto.llm.wrappers.fallback import Fallback, FellBack
    from opto.llm.wrappers.metering import Answered, Metered
    from opto.llm.wrappers.rate_limit import Clock, Pace, Paced
    from opto.llm.wrappers.recordings import RecordLLM, ReplayLLM
    from opto.llm.wrappers.retry import CalledAgain, Retried, Retry, RetryPolicy
    from opto.llm.wrappers.sqlite_store import SQLiteStore
    from opto.llm.wrappers.timeout import Timeout

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
    "Store",
    "Stream",
    "Timeout",
    "TokenUsage",
    "Usage",
    "Wire",
    "Wrapper",
    "ask",
    "default_llm",
    "identity_of",
    "profile_of",
]

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
"""Names by the module that has them, which is imported when a name is first used: httpx2 alone takes 100 ms."""
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
