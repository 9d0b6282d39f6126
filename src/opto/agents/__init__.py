"""Ready agents: a language model whose system prompt is a parameter, with or without a memory of the conversation.

May import: `opto.trace`, `opto.llm`, leaves. Read in this order: `history.py` (what was said), `traced_llm.py` (a
conversation on the tape), `learner.py` (one question, one answer).
"""

from opto.agents.history import ChatHistory
from opto.agents.learner import BasicLearner, call_llm
from opto.agents.trace_object import TraceObject
from opto.agents.traced_llm import TracedLLM

__all__ = ["BasicLearner", "ChatHistory", "TraceObject", "TracedLLM", "call_llm"]
