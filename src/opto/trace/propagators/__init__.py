"""How feedback walks back over the tape.

Read `propagators.py` (the seam), then `graph_propagator.py` (the default).
May import `opto.trace.nodes`, nothing above.
"""

from opto.trace.propagators.graph_propagator import GraphPropagator, TraceGraph
from opto.trace.propagators.propagators import AbstractFeedback, AbstractPropagator, Propagator, SumPropagator

__all__ = ["AbstractFeedback", "AbstractPropagator", "GraphPropagator", "Propagator", "SumPropagator", "TraceGraph"]
