# What type checkers see; `__init__.py` imports each name when it is first used.

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
