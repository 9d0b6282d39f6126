"""Python's parser, for one text at a time. A leaf.

The interpreter counts the depth of the syntax trees that it makes for all threads together (until 3.13), so that two
threads which parse at once get a SystemError, or a RecursionError, for texts without a fault.
"""

from __future__ import annotations

import ast
import threading
from typing import Any

__all__ = ["literal_of", "tree_of"]

_ALONE = threading.RLock()  # the garbage collector may run code that parses in the midst of it


def tree_of(text: str) -> ast.Module:
    """`ast.parse`.

    >>> tree_of("x = 1").body[0].targets[0].id
    'x'
    """
    with _ALONE:
        return ast.parse(text)


def literal_of(text: str) -> Any:
    """`ast.literal_eval`.

    >>> literal_of("[1, (2, 'three')]")
    [1, (2, 'three')]
    """
    with _ALONE:
        return ast.literal_eval(text)
