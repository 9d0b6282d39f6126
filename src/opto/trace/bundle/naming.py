"""How bundled functions and their results are named and described. Imports: the names of nodes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opto.deferred import Deferred
from opto.trace.nodes import get_op_name

if TYPE_CHECKING:
    import inspect
else:
    inspect = Deferred("inspect")

__all__ = ["CODE_NAME", "EVAL", "EVAL_TEXT", "describe", "exception_description", "qualified_name"]

EVAL = "eval"
EVAL_TEXT = "[eval] Runs the Python function that the code string __code defines on the other inputs."
CODE_NAME = "__code"


def qualified_name(fun: Any) -> str:
    """Where a function is defined: `outer.inner`, `Foo.add`."""
    name = getattr(fun, "__qualname__", None) or getattr(fun, "__name__", None) or type(fun).__name__
    return str(name).replace("<locals>.", "")


def describe(fun: Any, description: str | None) -> tuple[str, str]:
    """Operator name and full description of a bundled function; a given text has to start with `[op]`.

    Raises ValueError if it does not.
    """
    if description is not None:
        return get_op_name(description), description
    name = qualified_name(fun)
    return name, f"[{name}] {inspect.cleandoc(getattr(fun, '__doc__', None) or '')}"


def exception_description(name: str) -> str:
    """The description of the node that a failed call of operator `name` leaves."""
    return f"[exception] The operator {name} raised an exception instead of returning a value."
