"""Old import path of `retry_with_exponential_backoff`."""

from opto.llm.backends.retry_by_words import retry_with_exponential_backoff

__all__ = ["retry_with_exponential_backoff"]
