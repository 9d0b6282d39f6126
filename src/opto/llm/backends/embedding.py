"""One text as one vector."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from typing import Any

from opto.llm.auto_retry import retry_with_exponential_backoff
from opto.llm.routes import transport_for

__all__ = ["embed"]

_log = logging.getLogger(__name__)


def embed(model: str, text: str, max_retries: int = 10, base_delay: float = 1.0) -> list[float] | None:
    """The embedding of `text`, or None (with a logged warning) when the model does not give one."""
    try:
        return retry_with_exponential_backoff(
            lambda: _embed(model, text), max_retries, base_delay, f"embedding by {model}"
        )
    except Exception as error:  # noqa: BLE001 - the promise is None, whatever a foreign library raises
        _log.warning("no embedding: %s", error)
        return None


def _embed(model: str, text: str) -> list[float]:
    if importlib.util.find_spec("litellm") is None:
        return list(transport_for(model, os.environ).embed(text))
    reply: Any = importlib.import_module("litellm").embedding(model=model, input=text)
    return list(reply.data[0]["embedding"])
