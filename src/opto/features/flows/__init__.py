"""Agents under the names that programs written for the existing library import."""

from opto.agents import ChatHistory, TracedLLM, TraceObject

__all__ = ["ChatHistory", "TraceObject", "TracedLLM"]
