"""Conversations under the names that programs written for the existing library import."""

from opto.agents import ChatHistory, TracedLLM

__all__ = ["ChatHistory", "TracedLLM"]
