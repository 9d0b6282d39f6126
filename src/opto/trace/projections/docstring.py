"""Keeping a docstring fixed while the code below it changes."""

from __future__ import annotations

from typing import Any

from opto.trace.projections.projection import Projection

__all__ = ["DocstringProjection"]

_QUOTES = '"""'


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
