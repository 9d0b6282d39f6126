"""Old import path of `retry_with_exponential_backoff`."""

from opto.llm.auto_retry import retry_with_exponential_backoff

__all__ = ["retry_with_exponential_backoff"]
