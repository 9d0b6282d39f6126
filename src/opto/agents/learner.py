"""BasicLearner: the smallest agent that can learn, a system prompt and a template around each message."""

from __future__ import annotations

from typing import Any

from opto.registry import implementation
from opto.trace.bundle import bundle
from opto.trace.modules import Model
from opto.trace.nodes import ParameterNode, node

__all__ = ["BasicLearner", "call_llm"]

_HOLE = "{message}"


def call_llm(llm: Any, system_prompt: str, user_prompt_template: str, message: Any) -> str:
    """The answer to `message`, put in place of `{message}` in the template; ValueError if the template has none.

    >>> from opto.llm.fakes import DummyLLM
    >>> call_llm(DummyLLM(lambda messages: messages[1]["content"]), "Be brief.", "Q: {message}", 3)
    'Q: 3'
    """
    if _HOLE not in user_prompt_template:
        raise ValueError(f"The template {user_prompt_template!r} has no {_HOLE}, where the message would go.")
    model = implementation("default model")() if llm is None else llm
    question = user_prompt_template.replace(_HOLE, str(message))
    messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": question}]
    return str(model(messages=messages).choices[0].message.content)


class BasicLearner(Model):
    """Answers each message by one call of a model; its `system_prompt` is what an optimizer may rewrite.

    Example:
        >>> from opto.llm.fakes import DummyLLM
        >>> agent = BasicLearner("Answer in one word.", llm=DummyLLM(lambda messages: messages[1]["content"]))
        >>> agent("Hello").data, [p.data for p in agent.parameters()]
        ('Query: Hello', ['Answer in one word.'])
    """

    def __init__(
        self,
        system_prompt: str = "You're a helpful agent",
        user_prompt_template: str = "Query: {message}",
        llm: Any = None,
    ) -> None:
        self.system_prompt: ParameterNode[str] = ParameterNode(system_prompt, name="system_prompt")
        self.user_prompt_template = node(user_prompt_template, name="user_prompt_template")
        self.llm = implementation("default model")() if llm is None else llm

    @bundle(catch_execution_error=False)
    def model(self, system_prompt: str, user_prompt_template: str, message: Any) -> str:
        """Asks the language model; the message stands in the template."""
        return call_llm(self.llm, system_prompt, user_prompt_template, message)

    def forward(self, message: Any) -> Any:
        """The answer to one message, as a node."""
        return self.model(self.system_prompt, self.user_prompt_template, message)
