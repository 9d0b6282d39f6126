"""The tape: nodes, operators, `@bundle`, modules, propagation. Standard library only.

Read in this order: `nodes` (the record), `operators` and `methods` (computing with
nodes), `bundle` (functions), `backward` and `propagators` (feedback), `modules`
(agents). May import the standard library and `opto.errors`, `opto.events`.
"""

from opto.errors import ExecutionError
from opto.trace import errors, nodes, operators, propagators
from opto.trace.context import stop_tracing
from opto.trace.methods import attach
from opto.trace.nodes import GRAPH, Node, node

attach()

__all__ = ["GRAPH", "ExecutionError", "Node", "errors", "node", "nodes", "operators", "propagators", "stop_tracing"]
