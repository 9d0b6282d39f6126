"""What traced values say of themselves, under the older import path."""

from opto.agents import TraceObject

__all__ = ["TraceObject"]
