"""Blame: which part is at fault, so that the next step is about that part.

May import what `opto.optimizers` may. Read in this order: `counterfactuals.py` (inside one run: what the score would
have been with another value), `recorded_uses.py` (how a run used a part), `from_runs.py` (over many runs: which part's
values occur in failing runs only).
"""

from opto.optimizers.blame.counterfactuals import Blame, estimate_blame

__all__ = ["Blame", "estimate_blame"]
