"""Each file wraps a model and is a model: retry, cache, budget, rate_limit, concurrency, timeout, fallback, recordings.

A wrapper knows no other wrapper, only what passes through: a response, an error class, an event. Read retry for the
pattern; cache has sqlite_store and response_codec beside it, budget has estimates, and metering counts costs.
"""
