"""The tape: nodes, operators, `@bundle`, modules, propagation. Standard library only.

Read in this order: `context`, `records` and `nodes` (the record), `operators` (computing with nodes), `bundle`
(functions), `formatted` (f-strings), `spaces` (allowed values), `backward` and `propagators` (feedback), `containers`
and `modules` (agents), `saving`, `replay`. The tape does not import `pictures`. May import the standard library and the
leaves of `opto`.
"""

from opto.errors import ExecutionError
from opto.trace import (
    broadcast,
    containers,
    errors,
    modules,
    nodes,
    operators,
    projections,
    propagators,
    utils,
)
from opto.trace.broadcast import apply_op

# `bundle` is a submodule and a function: importing the submodule here, before the name is bound to the
# function, makes `opto.trace.bundle` the function in whatever order a program imports the two.
from opto.trace.bundle import bundle
from opto.trace.containers import NodeContainer
from opto.trace.context import stop_tracing
from opto.trace.modules import Model, Module, model
from opto.trace.nodes import GRAPH, Node, node
from opto.trace.operators.methods import attach_methods
from opto.trace.saving.sandbox_reductions import register_reducers

attach_methods()
register_reducers()

__all__ = [
    "GRAPH",
    "ExecutionError",
    "Model",
    "Module",
    "Node",
    "NodeContainer",
    "apply_op",
    "broadcast",
    "bundle",
    "containers",
    "errors",
    "model",
    "modules",
    "node",
    "nodes",
    "operators",
    "projections",
    "propagators",
    "stop_tracing",
    "utils",
]
