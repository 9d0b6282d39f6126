"""The traced operators as functions: `operators.add(x, y)`; read `table.py` first.

`methods.py` attaches them to nodes. A `.pyi` beside this file gives their types.
"""

from opto.trace.operators.table import TABLE

globals().update(TABLE)
__all__ = sorted(TABLE)  # pyright: ignore[reportUnsupportedDunderAll]
