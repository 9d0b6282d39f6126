"""Retrying as programs written for the existing library know it: by the words of an error.

Our own models use `opto.llm.Retry`, which goes by kinds; this one serves foreign libraries whose errors
have no common kinds.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from opto.errors import (
    LLMConnectionError,
    LLMError,
    LLMRateLimitError,
    LLMResponseError,
    LLMServerError,
    LLMTimeoutError,
)
from opto.events import emit
from opto.llm.wrappers.retry import Retried

__all__ = ["retry_with_exponential_backoff"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_RATE = ("rate limit", "rate_limit", "ratelimit", "too many requests", "429", "quota")
_PASSING = (
    *("timeout", "timed out", "connection", "network", "overload", "unavailable", "bad gateway"),
    *("internal server error", "internalservererror", "500", "502", "503", "504", "529"),
)
_LONGEST = 600.0  # seconds; a server that wants more is not waited for
_PASSING_KINDS = (LLMServerError, LLMConnectionError, LLMTimeoutError, LLMResponseError, json.JSONDecodeError)


def retry_with_exponential_backoff(
    func: Callable[[], T], max_retries: int = 10, base_delay: float = 1.0, operation_name: str = "operation"
) -> T:
    """Call `func` up to `max_retries` times while its failures look like passing ones.

    Other errors are raised at once. The last failure is raised as RuntimeError that names operation, attempts
    and cause.
    """
    tries = max(1, max_retries)
    for attempt in range(tries):
        try:
            return func()
        except Exception as error:  # foreign libraries: any kind may be a passing failure
            wait = _wait(error, attempt, base_delay)
            if wait is None:
                raise
            if attempt == tries - 1:
                raise RuntimeError(f"{operation_name} failed after {tries} attempts: {error}") from error
            _log.info("%s: attempt %d failed, next in %.1f s: %s", operation_name, attempt + 1, wait, error)
            emit(Retried(attempt + 1, wait, error))
            time.sleep(wait)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _wait(error: Exception, attempt: int, base_delay: float) -> float | None:
    """Seconds until the next attempt, or None if trying again is no use."""
    words = f"{type(error).__name__} {error}".lower()
    known = isinstance(error, LLMError)  # our own errors have kinds: words in them are not consulted
    if isinstance(error, (LLMRateLimitError, LLMServerError)) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= _LONGEST else None
    if isinstance(error, LLMRateLimitError) or (not known and any(word in words for word in _RATE)):
        return 2.0 * (attempt + 1) ** 2 + attempt
    if isinstance(error, _PASSING_KINDS) or (not known and any(word in words for word in _PASSING)):
        return base_delay * 2.0**attempt + 0.1 * attempt
    return None
