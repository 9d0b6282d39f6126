"""Formatting of code that an optimizer wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opto.deferred import Deferred
from opto.trace.projections.projection import Projection

if TYPE_CHECKING:
    import logging
    import re
else:
    logging = Deferred("logging")
    re = Deferred("re")

__all__ = ["BlackCodeFormatter"]

_FUNCTION = r"\bdef\b"


class BlackCodeFormatter(Projection):
    """Formats program text with black; everything else passes through unchanged.

    "Everything else": values that are not strings, text without a `def`, text that is not valid Python (judging code
    is not the formatter's work), and all text when black is not installed (extra `format`).
    """

    def project(self, x: Any) -> Any:
        if not isinstance(x, str) or not re.search(_FUNCTION, x):
            return x
        try:
            import black.parsing
        except ImportError:
            logging.getLogger(__name__).info(
                "black is not installed: code stays as written (pip install 'opto-trace[format]')"
            )
            return x
        try:
            return black.format_str(x, mode=black.Mode())
        except black.parsing.InvalidInput:
            return x
