"""Trace: autodiff for AI systems.

Record a Python workflow as a graph (`opto.trace`), then let feedback on its
output rewrite the parts marked trainable (`opto.optimizers`). Importing this
package loads nothing but itself; read `opto.trace` first.
"""

from opto.version import __version__

__all__ = ["__version__"]
