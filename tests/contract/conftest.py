"""Shared fixtures: every test starts with an empty registry and leaves the switches as it found them."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from opto.trace.nodes import GRAPH, NAME_SCOPES


@pytest.fixture(autouse=True)
def fresh_registry() -> Iterator[None]:
    GRAPH.clear()
    yield
    for switch, default in (("LEGACY_GRAPH_BEHAVIOR", False), ("ALLOW_NESTED_GRAPHS", False), ("TRACE", True)):
        if getattr(GRAPH, switch) is not default:
            setattr(GRAPH, switch, default)
    NAME_SCOPES.clear()
    bundle_module = sys.modules.get("opto.trace.bundle")
    if bundle_module is not None:
        bundle_module.disable_external_dependencies_check(None)
    GRAPH.clear()


@pytest.fixture
def shallow_stack() -> Callable[[int], Any]:
    """A context manager that leaves only a few frames of recursion."""

    @contextmanager
    def limit(frames: int = 200) -> Iterator[None]:
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(len(inspect.stack(0)) + frames)
        try:
            yield
        finally:
            sys.setrecursionlimit(before)

    return limit


@pytest.fixture
def scripted() -> Callable[..., tuple[Any, list[dict[str, Any]]]]:
    """`scripted(reply, ...)` gives a DummyLLM that returns the replies in turn (the last one for ever), and its calls.

    A reply is a text, an exception to raise, a dict (sent as JSON) or a function of the messages.
    """
    from opto.utils.llm import DummyLLM

    def make(*replies: Any) -> tuple[Any, list[dict[str, Any]]]:
        calls: list[dict[str, Any]] = []

        def answer(*args: Any, **kwargs: Any) -> Any:
            messages = kwargs.get("messages", args[0] if args else None)
            calls.append({**kwargs, "messages": messages})
            reply = replies[min(len(calls), len(replies)) - 1]
            if isinstance(reply, BaseException):
                raise reply
            if callable(reply):
                reply = reply(messages)
            return json.dumps(reply) if isinstance(reply, dict) else reply

        return DummyLLM(answer), calls

    return make
