"""What was said in a conversation, oldest first, of bounded length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opto.trace.nodes import Node, node
from opto.trace.records import DONE

__all__ = ["ChatHistory"]

_SUFFIX = {"user": "user_query", "assistant": "assistant_response"}


class ChatHistory:
    """The messages of a conversation; of more than `max_len` the first question and the latest messages stay.

    `auto_summary=True` of older programs holds as long as nothing is left out: a message that would have to be summed
    up raises NotImplementedError and is not noted.

    >>> history = ChatHistory(max_len=2)
    >>> for text, role in [("What is 1 + 1?", "user"), ("3", "assistant"), ("2", "assistant")]:
    ...     history.add(text, role)
    >>> [message["content"] for message in history.get_messages()]
    ['What is 1 + 1?', '2']
    """

    def __init__(self, max_len: int = 50, auto_summary: bool = False) -> None:
        assert max_len > 0, f"max_len is at least 1, not {max_len}."
        self.max_len = max_len
        self.auto_summary = auto_summary
        self.messages: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, content: Any, role: str) -> None:
        """Note a message of the `user` or the `assistant`; a node keeps its place in the graph."""
        if role not in _SUFFIX:
            raise ValueError(f"role is 'user' or 'assistant', not {role!r}.")
        if self.auto_summary and len(self.messages) >= self.max_len:
            raise NotImplementedError(
                f"The history holds its {self.max_len} messages, and there is no summary of what would be left out: "
                "give a larger max_len, or auto_summary=False to leave the oldest messages out."
            )
        self.messages.append({"role": role, "content": content})
        surplus = len(self.messages) - self.max_len
        if surplus > 0:
            first = next((i for i, said in enumerate(self.messages) if said["role"] == "user"), -1)
            dropped = [i for i in range(len(self.messages)) if i != first][:surplus]
            self.messages = [said for i, said in enumerate(self.messages) if i not in dropped]

    def append(self, message: Mapping[str, Any]) -> None:
        """`add` of a message as models take it: `{"role": …, "content": …}`."""
        self.add(message["content"], message["role"])

    def get_messages(self) -> list[dict[str, Any]]:
        """The messages as models take them, nodes replaced by their values."""
        return [{**said, "content": _value(said["content"])} for said in self.messages]

    def get_messages_as_node(self, llm_name: str = "") -> list[Node[Any]]:
        """A node for each message: the one that was added, unless feedback went through it already, else a new one."""
        return [_as_node(said, llm_name) for said in self.messages]


def _value(content: Any) -> Any:
    return content._data if isinstance(content, Node) else content


def _as_node(said: Mapping[str, Any], llm_name: str) -> Node[Any]:
    content = said["content"]
    if isinstance(content, Node) and not content._flags & DONE:
        return content
    suffix = _SUFFIX[said["role"]]
    made: Node[Any] = node(_value(content), name=f"{llm_name}_{suffix}" if llm_name else suffix)
    return made
