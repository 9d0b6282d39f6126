"""A model built by a factory: the base class that programs written for the existing library subclass."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["AbstractModel"]


class AbstractModel:
    """Build the callable model with `factory()` when first needed, and again every `reset_freq` seconds.

    Subclasses may override `model` (the callable). Pickles and copies leave the live model
    behind and build it anew.

    >>> AbstractModel(lambda: lambda messages: messages[0]["content"])(messages=[{"content": "echo"}])
    'echo'
    """

    def __init__(self, factory: Callable[[], Any], reset_freq: float | None = None) -> None:
        self.factory = factory
        self.reset_freq = reset_freq
        self._start()

    @property
    def model(self) -> Any:
        """The live callable."""
        return self._live()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the model; the response has `choices[0].message.content`."""
        self._reset_if_old()
        return self.model(*args, **kwargs)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Ask without blocking: by the live model's own `acall`, else in a worker thread."""
        self._reset_if_old()
        live = getattr(self._live(), "acall", None) if type(self).model is AbstractModel.model else None
        if live is None:
            return await asyncio.to_thread(self, *args, **kwargs)
        answer = live(*args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer

    def __getstate__(self) -> dict[str, Any]:
        live = ("_model", "_lock", "_built")
        return {name: value for name, value in self.__dict__.items() if name not in live}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._model: Any = None
        self._built = time.monotonic()

    def _live(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = self.factory()
                self._built = time.monotonic()
            return self._model

    def _reset_if_old(self) -> None:
        if self.reset_freq is None:
            return
        with self._lock:
            if self._model is not None and time.monotonic() - self._built > self.reset_freq:
                self._model = None
