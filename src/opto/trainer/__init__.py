"""Training: which candidate, on which examples, how sure.

May import `opto.optimizers` and below. Read in this order: `rollouts` (one run), `gate` (is a candidate better),
`attempts` (what was tried), `plan` and `improve` (the loop), `training_events` (by which training tells how it goes).
`opto.optimizers.blame` says which part a step is about.
"""
