"""Numbers and choices, tried without a model: the history of a run, and which point to try next.

May import what `opto.optimizers` may. Read in this order: `axes.py` (a space as coordinates), `surrogate.py` (a cheap
model of the score), `proposals.py` (the next point), `trials.py` (the history). `mixed.py` puts them to use.
"""
