"""A text as a vector, requested like any other answer, so that each wrapper applies: a budget, a cache, a retry.

The request is one message and the option `embedding=True`; the reply's text is the vector in JSON. What lies
between passes both on without knowing them.
"""

from __future__ import annotations

import json
from typing import Any

from opto.errors import LLMResponseError
from opto.llm.base import LLM, Messages

__all__ = ["Embeds", "embedding_request", "text_to_embed", "vector_of"]


def embedding_request(text: str) -> Messages:
    """The request for the vector of `text`, with the option `embedding=True`."""
    return [{"role": "user", "content": text}]


def text_to_embed(messages: Messages) -> str:
    """The text to embed: the content of the last message."""
    content = messages[-1].get("content") if messages else None
    return content if isinstance(content, str) else ""


def vector_of(response: Any) -> tuple[float, ...]:
    """The vector in a reply.

    >>> from opto.llm.base import Response
    >>> vector_of(Response.of("[1, 0.5]"))
    (1.0, 0.5)
    """
    text = str(response.choices[0].message.content)
    try:
        numbers = json.loads(text)
    except (ValueError, RecursionError):
        numbers = None
    if not isinstance(numbers, list) or not numbers or not all(type(number) in (int, float) for number in numbers):
        raise LLMResponseError("The model gave words, not a vector: embed with a model that is made for it.")
    return tuple(float(number) for number in numbers)


class Embeds:
    """Gives a model that knows the option `embedding`, and whatever wraps one, `embed` and its async twin.

    >>> from opto.llm import Budget, ScriptedLLM
    >>> budget = Budget(calls=1)
    >>> budget.wrap(ScriptedLLM(["[1, 0.5]"])).embed("text"), budget.spent.calls
    ((1.0, 0.5), 1)
    """

    def embed(self: LLM, text: str, **options: Any) -> tuple[float, ...]:
        """The vector of `text`, through all that is wrapped around the model."""
        return vector_of(self(messages=embedding_request(text), embedding=True, **options))

    async def aembed(self: LLM, text: str, **options: Any) -> tuple[float, ...]:
        """`embed` without blocking."""
        return vector_of(await self.acall(messages=embedding_request(text), embedding=True, **options))
