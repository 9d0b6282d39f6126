"""The base class that carries the methods by which a node behaves like its value.

Empty here: `opto.trace.operators.methods` attaches them from a table; the `.pyi` beside this file gives their types.
A file of its own, because nodes derive from the class and the operators import nodes.
"""

__all__ = ["ValueMethods"]


class ValueMethods:
    """Carries `+`, `[]`, `.split()`, `.backward()` and the like; see `opto.trace.operators.methods`."""

    __slots__ = ()
