"""The model classes that programs written for the existing library construct by name.

Each is an `AbstractModel` that builds its transport when first called, so that constructing
needs neither network, key nor package. May import the leaves and the rest of `opto.llm`; litellm and
autogen are imported when used. Read common, then hosted, then factory.
"""

from opto.llm.backends.autogen_backend import AutoGenLLM, auto_construct_oai_config_list_from_env
from opto.llm.backends.factory import BACKENDS, LLM, LLMFactory
from opto.llm.backends.hosted import CustomLLM, EmbeddedLLM, LiteLLM, embed

__all__ = [
    "BACKENDS",
    "LLM",
    "AutoGenLLM",
    "CustomLLM",
    "EmbeddedLLM",
    "LLMFactory",
    "LiteLLM",
    "auto_construct_oai_config_list_from_env",
    "embed",
]
