"""What a new value must satisfy before it is written into a parameter.

May import: the standard library; `black` where code is formatted, when it is installed. Read `projection.py` first,
then `space.py`, the seam of `opto.trace.spaces`.
"""

from opto.trace.projections.code import BlackCodeFormatter
from opto.trace.projections.docstring import DocstringProjection
from opto.trace.projections.projection import Projection

__all__ = ["BlackCodeFormatter", "DocstringProjection", "Projection"]
