"""Language models behind one seam: something callable with chat messages, with an async twin.

May import the leaves (errors, events) and httpx; never trace, optimizers or what is above. What
wraps a model is a model, so wrappers compose: `CachedLLM(Retry(OpenAICompatible(url, name)))`.
A name is imported from its file when first used: `import opto.llm` alone loads no transport.

Read in this order: base (the protocol and its records), flow (one implementation for sync and
async), http with clients, faults and replies (the transport), retry, cache, usage, fakes, profile (what a
model can do), local (a model on this machine), routes and resolve (which model a user means),
abstract and backends (the classes that older programs construct).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opto.llm.abstract import AbstractModel
    from opto.llm.base import LLM, Choice, Message, Messages, Response, Usage, identity_of
    from opto.llm.cache import CachedLLM, CacheStats, MemoryStore, Store
    from opto.llm.fakes import DummyLLM, ScriptedLLM
    from opto.llm.flow import Effect, Flow, FlowLLM, Wrapper, ask
    from opto.llm.http import EnvKey, OpenAICompatible, Wire
    from opto.llm.local import LocalLLM
    from opto.llm.profile import ModelProfile, profile_of
    from opto.llm.resolve import default_llm
    from opto.llm.retry import Retried, Retry, RetryPolicy
    from opto.llm.usage import Answered, Metered, Spent

__all__ = [
    "LLM",
    "AbstractModel",
    "Answered",
    "CacheStats",
    "CachedLLM",
    "Choice",
    "DummyLLM",
    "Effect",
    "EnvKey",
    "Flow",
    "FlowLLM",
    "LocalLLM",
    "MemoryStore",
    "Message",
    "Messages",
    "Metered",
    "ModelProfile",
    "OpenAICompatible",
    "Response",
    "Retried",
    "Retry",
    "RetryPolicy",
    "ScriptedLLM",
    "Spent",
    "Store",
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
    "base": ("LLM", "Choice", "Message", "Messages", "Response", "Usage", "identity_of"),
    "cache": ("CacheStats", "CachedLLM", "MemoryStore", "Store"),
    "fakes": ("DummyLLM", "ScriptedLLM"),
    "flow": ("Effect", "Flow", "FlowLLM", "Wrapper", "ask"),
    "http": ("EnvKey", "OpenAICompatible", "Wire"),
    "local": ("LocalLLM",),
    "profile": ("ModelProfile", "profile_of"),
    "resolve": ("default_llm",),
    "retry": ("Retried", "Retry", "RetryPolicy"),
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
