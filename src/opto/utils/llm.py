"""Language models under the names that programs written for the existing library import.

>>> DummyLLM(lambda messages: "fine")(messages=[]).choices[0].message.content
'fine'
"""

from opto.llm.abstract import AbstractModel
from opto.llm.backends import (
    LLM,
    AutoGenLLM,
    CustomLLM,
    LiteLLM,
    LLMFactory,
    auto_construct_oai_config_list_from_env,
    embed,
)
from opto.llm.fakes import DummyLLM
from opto.utils.auto_retry import retry_with_exponential_backoff

__all__ = [
    "LLM",
    "AbstractModel",
    "AutoGenLLM",
    "CustomLLM",
    "DummyLLM",
    "LLMFactory",
    "LiteLLM",
    "auto_construct_oai_config_list_from_env",
    "embed",
    "retry_with_exponential_backoff",
]
