"""The format of programs written for the existing library: the optimizer's own methods show, ask and read.

Such a program subclasses an optimizer and overrides `construct_prompt`, `call_llm`, `extract_llm_suggestion` …, or
replaces a text such as `representation_prompt`. `OwnMethods` makes a format of them; nothing else knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from opto.optimizers.formats.lean import Message, Prompt
from opto.optimizers.problem.problem import FunctionFeedback, Problem
from opto.optimizers.replies.shapes import Suggestion, clean_name, read_reply

__all__ = ["REPLACEABLE", "STOP_WORD", "HasOwnMethods", "OwnMethods", "read_own"]

STOP_WORD = "TERMINATE"
REPLACEABLE = frozenset(
    {
        "call_llm",
        "construct_prompt",
        "extract_llm_suggestion",
        "final_prompt",
        "output_format_prompt",
        "problem_instance",
        "representation_prompt",
        "user_prompt_template",
    }
)
"""The methods and texts of the first format. An optimizer with one of them replaced is asked through `OwnMethods`."""


class HasOwnMethods(Protocol):
    """An optimizer whose methods may be overridden."""

    max_tokens: int
    prompt_symbols: dict[str, str]

    def construct_prompt(self, summary: FunctionFeedback, mask: list[str] | None = None) -> tuple[str, str]: ...

    def replace_symbols(self, text: str, symbols: Mapping[str, str]) -> str: ...

    @property
    def call_llm(self) -> Callable[..., Any]: ...

    def own_values(self, reply: str) -> tuple[str, Mapping[str, Any]]: ...


class OwnMethods:
    """Shows `summary` (without the bodies under the headings in `mask`) by the optimizer's `construct_prompt`,
    asks by its `call_llm` and reads by its `extract_llm_suggestion`."""

    def __init__(self, optimizer: HasOwnMethods, summary: FunctionFeedback, mask: list[str] | None = None) -> None:
        self.optimizer = optimizer
        self.summary = summary
        self.mask = mask

    def prompt(self, problem: Problem, budget: int, turn: int) -> Prompt:
        """The two prompts as they are sent; they heed no budget."""
        mine = self.optimizer
        texts = mine.construct_prompt(self.summary, mask=self.mask)
        system, user = (mine.replace_symbols(text, mine.prompt_symbols) for text in texts)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return Prompt(messages, {}, self.read, self.ask)

    def ask(self, messages: list[Message], verbose: bool | str) -> str:
        """The reply."""
        system, user = (message["content"] for message in messages)
        mine = self.optimizer
        reply: str = mine.call_llm(system_prompt=system, user_prompt=user, verbose=verbose, max_tokens=mine.max_tokens)
        return reply

    def read(self, reply: str, problem: Problem) -> Suggestion:
        """The suggestion of a reply; none of one that stops the optimization."""
        return Suggestion() if STOP_WORD in reply else read_own(self.optimizer, reply, problem)


def read_own(optimizer: HasOwnMethods, reply: str, problem: Problem) -> Suggestion:
    """The suggestion of a reply in the optimizer's own format, else in any known one."""
    reasoning, own = optimizer.own_values(reply)
    if any(clean_name(key) in problem.names for key in own):
        return Suggestion({clean_name(key): value for key, value in own.items()}, str(reasoning))
    return read_reply(reply, problem)
