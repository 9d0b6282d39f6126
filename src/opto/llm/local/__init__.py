"""A language model on this machine: weights found or fetched, served by llama.cpp, spoken to over HTTP.

May import the leaves and the rest of `opto.llm`; the package `xllamacpp` is needed by the
child process alone, huggingface_hub and filelock where weights are fetched. Read known_models (the table), weights and
packages (where files come from), server_process and server (the child), local_llm (`LocalLLM`).
"""

from opto.llm.local.known_models import DEFAULT_MODEL, KNOWN_MODELS, KnownModel
from opto.llm.local.local_llm import LocalLLM
from opto.llm.local.progress import Progress, Report, quiet, watch
from opto.llm.local.server_process import close_servers
from opto.llm.local.weights import Sources, find_weights

__all__ = [
    "DEFAULT_MODEL",
    "KNOWN_MODELS",
    "KnownModel",
    "LocalLLM",
    "Progress",
    "Report",
    "Sources",
    "close_servers",
    "find_weights",
    "quiet",
    "watch",
]
