"""The first format: a problem under `#Headings`, and the reply as a JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.collect import FunctionFeedback
from opto.optimizers.problem.problem import is_code, kind_of

__all__ = [
    "DEFAULT_SYMBOLS",
    "ProblemInstance",
    "attempts_text",
    "constraint_lines",
    "memory_text",
    "problem_instance",
    "value_lines",
]

DEFAULT_SYMBOLS = {
    "variables": "#Variables",
    "constraints": "#Constraints",
    "inputs": "#Inputs",
    "outputs": "#Outputs",
    "others": "#Others",
    "feedback": "#Feedback",
    "instruction": "#Instruction",
    "code": "#Code",
    "documentation": "#Documentation",
}
_ORDER = (
    "instruction",
    "code",
    "documentation",
    "variables",
    "constraints",
    "inputs",
    "others",
    "outputs",
    "feedback",
)


@dataclass
class ProblemInstance:
    """The problem as the first format shows it; `str()` renders it."""

    instruction: str
    code: str
    documentation: str
    variables: str
    constraints: str
    inputs: str
    others: str
    outputs: str
    feedback: Any

    def __str__(self) -> str:
        return "\n\n".join(f"{DEFAULT_SYMBOLS[key]}\n{getattr(self, key)}" for key in _ORDER) + "\n"

    __repr__ = __str__


def value_lines(values: Mapping[str, tuple[Any, Any]]) -> str:
    """One line a value: `(float) x0=1.0`, code as `(code) __code0:def …`."""
    return "\n".join(
        f"(code) {name}:{value}" if is_code(name) else f"({type(value).__name__}) {name}={value}"
        for name, (value, _) in values.items()
    )


def constraint_lines(values: Mapping[str, tuple[Any, Any]]) -> str:
    """`(float) x0: description` for each value that has a description."""
    return "\n".join(
        f"({kind_of(name, value)}) {name}: {description}"
        for name, (value, description) in values.items()
        if description is not None
    )


def problem_instance(summary: FunctionFeedback, objective: str, mask: Iterable[str] | None = None) -> ProblemInstance:
    """The problem of a summary; the bodies under the headings listed in `mask` are left empty."""
    masked = set(mask or ())

    def body(key: str, text: Any) -> Any:
        return "" if DEFAULT_SYMBOLS[key] in masked else text

    return ProblemInstance(
        instruction=body("instruction", objective),
        code=body("code", "\n".join(text for _, text in sorted(summary.graph))),
        documentation=body("documentation", "\n".join(f"[{k}] {v}" for k, v in summary.documentation.items())),
        variables=body("variables", value_lines(summary.variables)),
        constraints=body("constraints", constraint_lines(summary.variables)),
        inputs=body("inputs", value_lines(summary.inputs)),
        others=body("others", value_lines(summary.others)),
        outputs=body("outputs", value_lines(summary.output)),
        feedback=body("feedback", summary.user_feedback),
    )


def attempts_text(memory: Iterable[tuple[Mapping[str, tuple[Any, Any]], Any]]) -> str:
    """Values and the feedback they got, one JSON object an attempt."""
    attempts = [
        json.dumps(
            {"variables": {k: _writable(v[0]) for k, v in variables.items()}, "feedback": _writable(feedback)},
            indent=4,
            default=str,
        )
        for variables, feedback in memory
    ]
    return "\n\n".join(attempts)


def _writable(value: Any) -> Any:
    """The value, or its text if JSON has no form for its keys or its loops."""
    try:
        json.dumps(value, default=str)
    except (TypeError, ValueError):
        return str(value)
    return value


def memory_text(memory: Iterable[tuple[Mapping[str, tuple[Any, Any]], Any]]) -> str:
    """`attempts_text` under a line of introduction; empty if nothing is remembered."""
    attempts = attempts_text(memory)
    return f"{prompt_text('classic_memory')}\n\n{attempts}" if attempts else ""
