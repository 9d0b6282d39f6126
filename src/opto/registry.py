"""Implementations by name, loaded at first use: the one place where a text names a module of ours. A leaf.

A folder that must not import another asks here for the object that serves it. `tests/test_architecture.py` checks
that each row exists, and that no other file names a module in a text.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["IMPLEMENTATIONS", "PRELOADED_IN_SANDBOX", "PROGRAMS", "TOP_LEVEL", "implementation"]

IMPLEMENTATIONS: dict[str, str] = {
    "node of a text made of nodes": "opto.trace.operators.table:make_format_node",
    "ExecutionError": "opto.trace:ExecutionError",
    "Module": "opto.trace:Module",
    "bundle": "opto.trace:bundle",
    "model": "opto.trace:model",
    "node": "opto.trace:node",
    "stop_tracing": "opto.trace:stop_tracing",
    "default model": "opto.utils.llm:LLM",
    "model factory": "opto.utils.llm:LLMFactory",
    "picture": "opto.trace.pictures.picture:draw",
    "literal of a value": "opto.values:literal",
    "digraph": "opto.trace.pictures.picture:digraph",
    "picture of a walk": "opto.trace.pictures.picture:draw_walk",
    "NodeVizStyleGuide": "opto.trace.pictures.style:NodeVizStyleGuide",
    "NodeVizStyleGuideColorful": "opto.trace.pictures.style:NodeVizStyleGuideColorful",
    "executor process": "opto.sandbox.process:ProcessExecutor",
    "executor monty": "opto.sandbox.monty:MontyExecutor",
    "sandbox zygote": "opto.sandbox.worker.zygote:main",
    "executor unsafe": "opto.sandbox.unsafe:UnsafeExecutor",
}
"""`module:attribute` by the name under which other folders ask for it."""


TOP_LEVEL = ("ExecutionError", "Module", "bundle", "model", "node", "stop_tracing")
"""The names that `from opto import ...` reaches."""

PRELOADED_IN_SANDBOX = ("opto.trace",)
"""Packages that code in a sandbox is likely to need: its first process imports them if the program has."""

PROGRAMS = ("opto.cli", "opto.features")
"""Packages of ours that are programs: agents that they define are exported like those of users."""


def implementation(name: str) -> Any:
    """The object under `name`, looked up anew each time: a test that replaces it in its module is obeyed.

    >>> implementation("default model").__name__
    'LLM'
    """
    module, _, attribute = IMPLEMENTATIONS[name].partition(":")
    return getattr(import_module(module), attribute)
