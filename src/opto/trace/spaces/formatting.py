"""Projections of program text: formatting by black, and a docstring that stays."""

from __future__ import annotations

import logging
import re
from typing import Any

from opto.trace.spaces.space import Projection

__all__ = ["BlackCodeFormatter", "DocstringProjection"]

_FUNCTION = r"\bdef\b"
_QUOTES = '"""'


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


class DocstringProjection(Projection):
    """Puts `docstring` between the first pair of triple double quotes; text without such a pair is unchanged."""

    def __init__(self, docstring: str) -> None:
        self.docstring = docstring

    def project(self, x: Any) -> Any:
        parts = x.split(_QUOTES, 2) if isinstance(x, str) else []
        if len(parts) < 3:
            return x
        inside = self.docstring.replace(_QUOTES, r"\"\"\"")
        return f"{parts[0]}{_QUOTES}{inside}{_QUOTES}{parts[2]}"
