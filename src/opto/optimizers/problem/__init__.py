"""From the graph to the problem: the parts that may change, the recorded run and the feedback, as pure data.

May import: `opto.trace` and the leaves. Read in this order: `problem.py` (the records, and graph → problem),
`folding.py` (a long run in few lines), `uses.py` (how one part was used).
"""
