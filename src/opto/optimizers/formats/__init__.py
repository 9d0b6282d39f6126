"""Prompt formats: what a model is shown of a problem, how a reply is asked for, and who reads it.

May import: the problem, the replies and the leaves. Read in this order: `lean.py` (the default format, with
`sections.py` and `calls.py`, which write its text), `small.py` (one part at a time, for small models), `classic.py` and
`tags.py` (the two formats of the existing library). All words stand in `prompts/`.
"""
