"""Old import path of `retry_with_exponential_backoff`."""

from opto.llm.wrappers.retry_by_words import retry_with_exponential_backoff

__all__ = ["retry_with_exponential_backoff"]
