"""Calling the model of an optimizer: one place that counts calls, tokens and seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opto import llm as models
from opto.errors import LLMResponseError
from opto.optimizers.replies.json_replies import CutText

__all__ = ["Tally", "ask", "ask_all", "default_model_maker", "send_by_name", "send_first"]


_COUNTING = threading.Lock()  # candidates are drawn in threads; a lock of one's own would not be copied or pickled


@dataclass
class Tally:
    """What a step has spent so far; tokens stay None while no server counted them."""

    calls: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0

    def add(self, usage: Any, seconds: float) -> None:
        """Count one answered call."""
        with _COUNTING:
            self.calls += 1
            self.seconds += seconds
            self.prompt_tokens = _plus(self.prompt_tokens, _field(usage, "prompt_tokens"))
            self.completion_tokens = _plus(self.completion_tokens, _field(usage, "completion_tokens"))


def _plus(total: int | None, more: Any) -> int | None:
    return total if not isinstance(more, int) else (total or 0) + more


def _field(usage: Any, name: str) -> Any:
    return usage.get(name) if isinstance(usage, dict) else getattr(usage, name, None)


def send_by_name(llm: Any, messages: list[dict[str, str]], **options: Any) -> Any:
    """Call the model with everything by name."""
    return llm(messages=messages, **options)


def send_first(llm: Any, messages: list[dict[str, str]], **options: Any) -> Any:
    """Call `create` of a client that has one, any other model with the messages as the first argument."""
    create = getattr(llm, "create", None)
    return create(messages=messages, **options) if callable(create) else llm(messages, **options)


def ask_all(
    llm: Any,
    messages: list[dict[str, str]],
    tally: Tally,
    *,
    send: Callable[..., Any] = send_by_name,
    clock: Callable[[], float] = time.perf_counter,
    **options: Any,
) -> list[str]:
    """The texts of all choices, a `CutText` where the model stopped at a limit; LLMResponseError if there are none."""
    start = clock()
    response = send(llm, messages, **options)
    tally.add(getattr(response, "usage", None), clock() - start)
    try:
        texts = [_text(choice) for choice in response.choices]
    except (AttributeError, TypeError) as error:
        raise _without_choices(response) from error
    if not texts:
        raise _without_choices(response)
    return texts


def _text(choice: Any) -> str:
    content = choice.message.content
    text = "" if content is None else str(content)
    return CutText(text) if getattr(choice, "finish_reason", None) == "length" else text


def _without_choices(response: Any) -> LLMResponseError:
    return LLMResponseError(f"The model's response (a {type(response).__name__}) has no choices[0].message.content.")


def ask(llm: Any, messages: list[dict[str, str]], tally: Tally, **options: Any) -> str:
    """The text of the first choice, otherwise as `ask_all`."""
    return ask_all(llm, messages, tally, **options)[0]


def default_model_maker() -> Callable[[], Any]:
    """What makes the default model: `opto.utils.llm.LLM` where a program uses or patches it, else `default_llm`.

    The façade is looked up among the loaded modules, because nothing inside imports it; transports are loaded when
    a model is made.
    """
    facade = sys.modules.get("opto.utils.llm")
    return getattr(facade, "LLM", None) or models.default_llm
