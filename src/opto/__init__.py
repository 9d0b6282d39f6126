"""Trace: autodiff for AI systems.

Record a Python workflow as a graph (`opto.trace`), then let feedback on its
output rewrite the parts marked trainable (`opto.optimizers`). Importing this
package loads nothing but itself; read `opto.trace` first.

`from opto import node, bundle, model` reaches the names of the tape, which loads then.
"""

from typing import TYPE_CHECKING, Any

from opto.registry import TOP_LEVEL, implementation
from opto.version import __version__

if TYPE_CHECKING:
    from opto.trace import ExecutionError, Module, bundle, model, node, stop_tracing

__all__ = ["ExecutionError", "Module", "__version__", "bundle", "model", "node", "stop_tracing"]


def __getattr__(name: str) -> Any:
    if name in TOP_LEVEL:
        return implementation(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
