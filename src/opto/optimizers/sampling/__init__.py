"""Several replies to one problem: ways to draw them, and ways to choose one.

May import what `opto.optimizers` may. Read in this order: `techniques.py` (ways to draw), `medoid.py` (the reply that
most others resemble), `candidates.py` (the step of an optimizer that draws several replies).
"""
