"""The traced operators as functions: `operators.add(x, y)`; see `operator_table` for how they work.

A `.pyi` beside this file gives their types.
"""

from opto.trace.operators.table import TABLE

globals().update(TABLE)
__all__ = sorted(TABLE)  # pyright: ignore[reportUnsupportedDunderAll]
