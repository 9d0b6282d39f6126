"""Texts that nodes gave to f-strings, and how they are found again in the arguments of traced calls.

`format(node)` gives the text of the node's value and remembers, in the current context, which node gave it (`memory`).
An argument that holds a remembered text is linked to the node: `recognition` finds the text, `nodes.make_argument`
makes the link. Nothing is hidden in the text. How surely a text is found again is written down in
docs/decisions/0018-texts-made-of-nodes.md. May import `context` and `records`.
"""

from opto.trace.formatted.memory import (
    ACTIVE,
    LINKABLE,
    end_of_call,
    forget_finished,
    remember,
    remember_printed,
    warn_of_lost_texts,
)
from opto.trace.formatted.recognition import Recognised, plain_values, recognised

__all__ = [
    "ACTIVE",
    "LINKABLE",
    "Recognised",
    "end_of_call",
    "forget_finished",
    "plain_values",
    "recognised",
    "remember",
    "remember_printed",
    "warn_of_lost_texts",
]
