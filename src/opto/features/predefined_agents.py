"""Ready agents under the names that programs written for the existing library import."""

from opto.agents import BasicLearner, call_llm

__all__ = ["BasicLearner", "Learner", "call_llm"]

Learner = BasicLearner
