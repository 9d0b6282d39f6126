"""Tables of cases for the kinds of faults: `case` is a row that holds today, `fails` one for a later change.

A row that begins to hold is an error (the mark is strict) until its `fails(kind, …)` becomes `case(…)`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from opto.llm import Choice, Message, Response, ScriptedLLM
from opto.optimizers import OptoPrime
from opto.trace import GRAPH, node

__all__ = ["Believed", "J", "case", "fails", "is_open", "listed", "response", "row", "step_on"]


def is_open(kind: int, *, run: bool = True) -> Any:
    """The mark of a test that fails today because of a kind of fault; `run` is False if the failure ends pytest."""
    return pytest.mark.xfail(strict=True, run=run, reason=f"kind {kind}")


def case(name: str, *values: Any) -> Any:
    """A row of a table that holds today."""
    return pytest.param(*values, id=name)


def fails(kind: int, name: str, *values: Any) -> Any:
    """A row of a table that fails today."""
    return pytest.param(*values, id=name, marks=is_open(kind, run="exits" not in name))


def row(kind: int, name: str, *values: Any, failing: bool) -> Any:
    """A row of a product of tables; `failing` says whether it fails today."""
    return fails(kind, name, *values) if failing else case(name, *values)


def listed(kind: int, table: dict[str, Any], failing: set[str]) -> list[Any]:
    """The rows of a shared table, one value a row; `failing` names those that fail this test today."""
    return [row(kind, name, value, failing=name in failing) for name, value in table.items()]


def J(value: Any) -> str:
    """The reply in JSON that suggests a value for p0."""
    return json.dumps({"suggestion": {"p0": value}})


def response(text: Any, finish: str | None = "stop", **message: Any) -> Response:
    """A model's answer with a reason for its end."""
    return Response((Choice(Message(text, **message), finish),))


@dataclass
class Believed:
    """What a step made of the replies."""

    value: Any
    update: Any
    llm: Any

    @property
    def said(self) -> str:
        """All that the step says about a change that it did not make."""
        return f"{self.update.reason} {self.update.refused}"

    @property
    def question(self) -> str:
        """All texts of the last question."""
        return "\n".join(str(message["content"]) for message in self.llm.calls[-1]["messages"])


def step_on(*replies: Any, value: Any = "A", optimizer: Any = OptoPrime, **options: Any) -> Believed:
    """Step an optimizer whose only parameter is p0; the model gives the replies in order, then the last one again."""
    GRAPH.clear()
    p = node(value, name="p", trainable=True)
    llm = ScriptedLLM([*replies, replies[-1], replies[-1]])
    asking = optimizer([p], llm=llm, **options)
    asking.zero_feedback()
    asking.backward(p.clone(), "not good enough")
    update = asking.step()
    return Believed(p.data, update, llm)
