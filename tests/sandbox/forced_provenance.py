"""A pytest plugin: every text put into a code parameter counts as an optimizer's, so it runs in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opto.execution import SuggestedText
from opto.trace.bundle.implementation import Implementation, ImplementationCache


@pytest.fixture(autouse=True)
def forced() -> Iterator[None]:
    given = ImplementationCache.of

    def of(self: ImplementationCache, text: str) -> Implementation:
        changed = isinstance(text, str) and text != self._original
        body = given(self, SuggestedText(text) if changed else text)
        body.text = text
        return body

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImplementationCache, "of", of)
        yield
