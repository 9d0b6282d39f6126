"""Prompt formats: what a model is shown of a problem, how a reply is asked for, and who reads it.

May import: the problem, the replies and the leaves. Read in this order: `lean.py` (what a format is, and the default
one, whose lines of calls `calls.py` writes), `small.py` (one part at a time, for small models), `classic.py` and
`tags.py` (the two formats of the existing library), `own_methods.py` (a program's own methods as a format). All words
stand in `prompts/`.
"""
