"""The messages of a conversation, oldest first, of bounded length."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from opto.errors import LLMConfigError, LLMResponseError
from opto.trace.bundle import bundle
from opto.trace.nodes import Node, node
from opto.trace.records import DONE

__all__ = ["ChatHistory"]

_SUFFIX = {"user": "user_query", "assistant": "assistant_response"}
_SUMMARY = "What was said until here, in short:\n"


class ChatHistory:
    """The messages of a conversation; of more than `max_len` the first question and the latest messages stay.

    With `auto_summary=True` and a model, what would be left out is summed up instead, by one call of `llm` when more
    than `max_len` messages are asked for: the summary, a message of the assistant, then stands between the first
    question and the latest half. If that call fails, its error is raised, all messages stay, and the next time it is
    tried again.

    >>> history = ChatHistory(max_len=2)
    >>> for text, role in [("What is 1 + 1?", "user"), ("3", "assistant"), ("2", "assistant")]:
    ...     history.add(text, role)
    >>> [message["content"] for message in history.get_messages()]
    ['What is 1 + 1?', '2']
    """

    def __init__(self, max_len: int = 50, auto_summary: bool = False, llm: Any = None) -> None:
        assert max_len > 0, f"max_len is at least 1, not {max_len}."
        if auto_summary and llm is None:
            raise LLMConfigError(
                "ChatHistory(auto_summary=True) has nobody to write the summary: give llm=…, "
                "or auto_summary=False to leave the oldest messages out."
            )
        if auto_summary and max_len < 3:
            raise LLMConfigError(
                f"max_len={max_len} has no room for a summary between the first message and the last: give 3 or more."
            )
        self.max_len = max_len
        self.auto_summary = auto_summary
        self.llm = llm
        self.messages: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, content: Any, role: str) -> None:
        """Note a message of the `user` or the `assistant`; a node keeps its place in the graph."""
        if role not in _SUFFIX:
            raise ValueError(f"role is 'user' or 'assistant', not {role!r}.")
        self.messages.append({"role": role, "content": content})
        surplus = len(self.messages) - self.max_len
        if surplus > 0 and not self.auto_summary:
            first = self._first()
            dropped = [i for i in range(len(self.messages)) if i != first][:surplus]
            self.messages = [said for i, said in enumerate(self.messages) if i not in dropped]

    def append(self, message: Mapping[str, Any]) -> None:
        """`add` of a message as models take it: `{"role": …, "content": …}`."""
        self.add(message["content"], message["role"])

    def get_messages(self) -> list[dict[str, Any]]:
        """The messages as models take them, nodes replaced by their values."""
        self._sum_up("")
        return [{**said, "content": _value(said["content"])} for said in self.messages]

    def get_messages_as_node(self, llm_name: str = "") -> list[Node[Any]]:
        """A node for each message: the one that was added, unless feedback went through it already, else a new one."""
        self._sum_up(llm_name)
        return [_as_node(said, llm_name) for said in self.messages]

    def _first(self) -> int:
        """The place of the first question, -1 if there is none."""
        return next((i for i, said in enumerate(self.messages) if said["role"] == "user"), -1)

    def _sum_up(self, llm_name: str) -> None:
        """Put one message in the place of the older ones if there are too many."""
        if not self.auto_summary or len(self.messages) <= self.max_len:
            return
        first, cut = self._first(), len(self.messages) - self.max_len // 2
        cut = next((i for i in range(cut, len(self.messages)) if self.messages[i]["role"] == "user"), cut)
        kept = [self.messages[first]] if 0 <= first < cut else []
        older = [said for i, said in enumerate(self.messages[:cut]) if i != first]
        summary = _summary(self.llm, [said["role"] for said in older], [_as_node(said, llm_name) for said in older])
        self.messages = [*kept, {"role": "assistant", "content": summary}, *self.messages[cut:]]


@cache
def _prompt() -> str:
    return (Path(__file__).parent / "prompts" / "summary.txt").read_text(encoding="utf-8")


def _summary(llm: Any, roles: list[str], said: list[Node[Any]]) -> Node[str]:
    """The summary of messages, as a node made of them."""

    @bundle(output_name="summary", catch_execution_error=False)
    def summarize(*messages: Any) -> str:
        """Sums a part of the conversation up."""
        talk = "\n\n".join(f"{role}: {message}" for role, message in zip(roles, messages, strict=True))
        reply = llm(messages=[{"role": "system", "content": _prompt()}, {"role": "user", "content": talk}])
        text = str(reply.choices[0].message.content or "").strip()
        if not text:
            raise LLMResponseError("The model gave an empty summary: the messages stay as they are.")
        return _SUMMARY + text

    made: Node[str] = summarize(*said)
    return made


def _value(content: Any) -> Any:
    return content._data if isinstance(content, Node) else content


def _as_node(said: Mapping[str, Any], llm_name: str) -> Node[Any]:
    content = said["content"]
    if isinstance(content, Node) and not content._flags & DONE:
        return content
    suffix = _SUFFIX[said["role"]]
    made: Node[Any] = node(_value(content), name=f"{llm_name}_{suffix}" if llm_name else suffix)
    return made
