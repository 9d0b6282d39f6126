"""TracedLLM: a conversation with a language model whose answers are nodes of the tape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from opto.agents.history import ChatHistory
from opto.llm.abstract import AbstractModel
from opto.llm.base import LLM
from opto.registry import implementation
from opto.trace.bundle import bundle
from opto.trace.modules import Model
from opto.trace.nodes import Node, ParameterNode, node

__all__ = ["TracedLLM"]

_DEFAULT = "You are a helpful assistant."
_COUNTERS: dict[str, Iterator[int]] = {}


class TracedLLM(Model):
    """A language model to talk to; `system_prompt` is a parameter if `trainable`.

    What was said is always noted in `chat_history`; with `chat_history_on` it is sent along. Subclasses write
    `forward` and call `self.chat` in it.

    Example:
        >>> from opto.llm.fakes import DummyLLM
        >>> llm = DummyLLM(lambda messages: f"{len(messages)} messages came")
        >>> agent = TracedLLM("Count.", llm=llm, chat_history_on=True, trainable=True, model_name="counter")
        >>> agent("one").data, agent("two").data
        ('2 messages came', '4 messages came')
        >>> [p.py_name.rstrip("0123456789") for p in agent.parameters()]
        ['system_prompt']
    """

    def __init__(
        self,
        system_prompt: str | Node[Any] | None = None,
        llm: Any = None,
        chat_history_on: bool = False,
        trainable: bool = False,
        model_name: str | None = None,
    ) -> None:
        assert llm is None or isinstance(llm, (AbstractModel, LLM)), (
            f"llm is a model such as LLM() or DummyLLM(...), not a {type(llm).__name__}."
        )
        self.llm = implementation("default model")() if llm is None else llm
        self.system_prompt = _prompt_node(_DEFAULT if system_prompt is None else system_prompt, trainable)
        self.chat_history_on = chat_history_on
        self.chat_history = ChatHistory()
        kind = type(self).__name__
        self.model_name = model_name or f"{kind}{next(_COUNTERS.setdefault(kind, count()))}"

    def forward(self, user_query: Any, chat_history_on: bool | None = None) -> Any:
        """The answer, as a node made of the system prompt, the history that was sent and the question."""
        on = self.chat_history_on if chat_history_on is None else chat_history_on
        history = self.chat_history.get_messages_as_node(self.model_name) if on else []
        said = self.chat_history.get_messages() if on else []
        query = user_query if isinstance(user_query, Node) else node(user_query, name=f"{self.model_name}_user_query")
        llm = self.llm

        @bundle(output_name=f"{self.model_name}_response", catch_execution_error=False)
        def call_llm(*messages: Any) -> str:
            """Asks the language model; the first message is the system prompt, the last the question."""
            system = {"role": "system", "content": messages[0]}
            question = {"role": "user", "content": messages[-1]}
            return str(llm(messages=[system, *said, question]).choices[0].message.content)

        response = call_llm(self.system_prompt, *history, query)
        self.chat_history.add(query, "user")
        self.chat_history.add(response, "assistant")
        return response

    def chat(self, user_query: Any, chat_history_on: bool | None = None) -> Any:
        """One turn of the conversation, whatever a subclass makes of `forward`."""
        return TracedLLM.forward(self, user_query, chat_history_on)


def _prompt_node(prompt: str | Node[Any], trainable: bool) -> Node[Any]:
    """The node of a system prompt; one that was given is kept unless it would have to become a parameter."""
    if isinstance(prompt, Node) and (isinstance(prompt, ParameterNode) or not trainable):
        prompt.trainable = trainable
        return prompt
    made: Node[Any] = node(prompt, name="system_prompt", trainable=trainable)
    return made
