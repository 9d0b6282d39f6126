"""Projections, which a new value goes through before it is written into a parameter: their public path.

A projection is a space without words; both live in `opto.trace.spaces`.
"""

from opto.trace.spaces.formatting import BlackCodeFormatter, DocstringProjection
from opto.trace.spaces.space import Projection

__all__ = ["BlackCodeFormatter", "DocstringProjection", "Projection"]
