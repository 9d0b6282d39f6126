"""One text as one vector."""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import Any

from opto.errors import BudgetExceeded
from opto.llm.backends.hosted import LiteLLMTransport
from opto.llm.base import LLM
from opto.llm.embedding import question, vector_of
from opto.llm.transport.providers import transport_for
from opto.llm.wrappers.retry_by_words import retry_with_exponential_backoff

__all__ = ["embed"]

_log = logging.getLogger(__name__)


def embed(model: str | LLM, text: str, max_retries: int = 10, base_delay: float = 1.0) -> list[float] | None:
    """The embedding of `text`, or None (with a logged warning) when the model does not give one.

    `model` is a name or a model, such as one under a budget: `embed(budget.wrap(llm), text)`. A budget that is used up
    is an error, not None. In new programs `llm.embed(text)` and `await llm.aembed(text)` do the same.
    """
    name = model if isinstance(model, str) else repr(model)
    try:
        return retry_with_exponential_backoff(
            lambda: _embed(model, text), max_retries, base_delay, f"embedding by {name}"
        )
    except BudgetExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - the promise is None, whatever a foreign library raises
        _log.warning("no embedding: %s", error)
        return None


def _embed(model: str | LLM, text: str) -> list[float]:
    llm = _named(model) if isinstance(model, str) else model
    return list(vector_of(llm(messages=question(text), embedding=True)))


def _named(model: str) -> Any:
    if importlib.util.find_spec("litellm") is None:
        return transport_for(model, os.environ)
    return LiteLLMTransport(model, max_retries=1, base_delay=0.0)
