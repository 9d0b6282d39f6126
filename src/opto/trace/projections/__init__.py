"""What a new value must satisfy before it is written into a parameter: the public path of projections.

A projection is a space without words; both live in `opto.trace.spaces`.
"""

from opto.trace.spaces.formatting import BlackCodeFormatter, DocstringProjection
from opto.trace.spaces.space import Projection

__all__ = ["BlackCodeFormatter", "DocstringProjection", "Projection"]
