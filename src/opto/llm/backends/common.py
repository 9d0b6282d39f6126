"""The base of the named backends: default completion options, a profile, an identity."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from opto.llm.abstract import AbstractModel
from opto.llm.base import identity_of, request_options
from opto.llm.embedding import Embeds
from opto.llm.profile import ModelProfile, profile_of

__all__ = ["Backend"]


class Backend(Embeds, AbstractModel):
    """A model whose factory builds an `LLM`; `default_options` hold wherever a call says nothing."""

    def __init__(self, factory: Callable[[], Any], reset_freq: float | None = None) -> None:
        super().__init__(factory, reset_freq)
        self.default_options: dict[str, Any] = {}

    def with_defaults(self, options: Mapping[str, Any]) -> Backend:
        """Set completion options such as temperature for all calls; returns this very model."""
        self.default_options = {**self.default_options, **options}
        return self

    @property
    def profile(self) -> ModelProfile:
        return profile_of(self._live())

    @property
    def price(self) -> Any:
        """The live model's own price, if it has one."""
        return getattr(self._live(), "price", None)

    @property
    def identity(self) -> str:
        defaults = json.dumps(request_options(self.default_options), sort_keys=True, default=repr)
        return f"{identity_of(self._live())}|{defaults}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **self._completed(kwargs))

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        return await super().acall(*args, **self._completed(kwargs))

    def _completed(self, options: dict[str, Any]) -> dict[str, Any]:
        """With the defaults, which are for answers and not for vectors."""
        return options if options.get("embedding") else {**self.default_options, **options}
