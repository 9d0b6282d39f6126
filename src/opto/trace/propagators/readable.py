"""Feedback as a prompt can show it. Imports `nodes`."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

from opto.show import show, text_of
from opto.trace.nodes import Node

__all__ = ["exception_line", "readable"]

_MOST_ITEMS = 1_000  # of a structure of feedback whose items are looked at
_PLAIN = (str, bool, float, int, type(None))


def readable(feedback: Any, depth: int = 6) -> Any:
    """Feedback with the data of nodes and the type and text of errors in their places, at any depth of structures.

    An object that cannot be printed is a text that names its type. Texts and numbers stay.

    >>> from opto.trace import node
    >>> readable({"error": KeyError("name"), "why": [node("too long")]})
    {'error': "KeyError: 'name'", 'why': ['too long']}
    """
    if type(feedback) in _PLAIN:
        return feedback if type(feedback) is not int else _shown(feedback)
    if isinstance(feedback, Node):
        return readable(feedback._data, depth)
    if isinstance(feedback, BaseException):
        return exception_line(feedback)
    if type(feedback).__module__ == "numpy" and getattr(feedback, "shape", None) == ():
        with suppress(Exception):  # a number of numpy's as Python's: its own text names its type
            return _shown(feedback.item())
    if depth:
        feedback = _with_readable_items(feedback, depth - 1)
    return _shown(feedback)


def _with_readable_items(feedback: Any, depth: int) -> Any:
    """The structure with each of its items readable; anything else as it is."""
    kind = type(feedback)
    if kind is dict and len(feedback) <= _MOST_ITEMS:
        return {_key(key, depth): readable(value, depth) for key, value in feedback.items()}
    if kind in (list, tuple, set, frozenset, deque) and len(feedback) <= _MOST_ITEMS:
        items = [readable(item, depth) for item in feedback]
        with suppress(TypeError):  # an item of a set became a list
            return kind(items)
        return items
    if isinstance(feedback, tuple) and hasattr(kind, "_make") and hasattr(kind, "_fields"):
        with suppress(Exception):  # the class is the program's
            return kind(*[readable(item, depth) for item in feedback])
    if is_dataclass(feedback) and not isinstance(feedback, type):
        values = {f.name: getattr(feedback, f.name, None) for f in fields(feedback) if f.repr}
        if any(isinstance(value, (Node, BaseException)) for value in values.values()):
            shown = ", ".join(f"{key}={show(readable(value, depth), 1_000)}" for key, value in values.items())
            return f"{kind.__name__}({shown})"
    return feedback


def _key(key: Any, depth: int) -> Any:
    """A key of a dict, readable where it can still be one."""
    found = readable(key, depth)
    with suppress(TypeError):
        hash(found)
        return found
    return text_of(found)


def exception_line(error: BaseException) -> str:
    """`Type: text`; only the type where the error has no text.

    >>> exception_line(AssertionError()), exception_line(KeyError("name"))
    ('AssertionError', "KeyError: 'name'")
    """
    return f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")


def _shown(feedback: Any) -> Any:
    """The feedback itself if its text is whole, else the text that stands for it."""
    text = text_of(feedback)
    with suppress(Exception, SystemExit):  # its text is the program's own doing
        return feedback if str(feedback) == text else text
    return text
