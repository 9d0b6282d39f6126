"""Several replies to one problem: ways to draw them, and the reply that most others resemble.

May import what `opto.optimizers` may. Read in this order: `techniques.py`, `medoid.py`; `optoprimemulti.py` uses them.
"""
