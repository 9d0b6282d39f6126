"""The second format: sections of tagged values, and earlier attempts as rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opto.optimizers.formats.symbols import OptimizerPromptSymbolSet
from opto.optimizers.problem.collect import FunctionFeedback
from opto.optimizers.problem.problem import is_code, kind_of
from opto.optimizers.utils import truncate_expression

__all__ = [
    "MemoryInstance",
    "ProblemInstance",
    "Tags",
    "masked_titles",
    "problem_instance",
    "sections",
    "tagged_values",
]

_CODE_PREFIX = "The code should start with:\n"
_ORDER = ("instruction", "code", "documentation", "variables", "inputs", "others", "outputs", "feedback")


def sections(problem: Any, keys: Iterable[str]) -> str:
    """The fields `keys` of a problem, each under the title that its symbol set gives it."""
    titles = problem.optimizer_prompt_symbol_set.default_prompt_symbols
    return "\n\n".join(f"{titles[key]}\n{getattr(problem, key)}" for key in keys) + "\n"


def masked_titles(mask: Iterable[str] | None, titles: Mapping[str, str]) -> frozenset[str]:
    """The keys of the sections whose body is left empty; titles in `mask` may lack the blank after `#`."""
    masked = {title.replace("# ", "#") for title in mask or ()}
    keys = {key for key, title in titles.items() if title.replace("# ", "#") in masked}
    return frozenset(keys | ({"instruction"} if "#Instruction" in masked else set()))


@dataclass
class ProblemInstance:
    """The problem as the second format shows it; `str()` renders it."""

    instruction: str
    code: str
    documentation: str
    variables: str
    inputs: str
    others: str
    outputs: str
    feedback: Any
    optimizer_prompt_symbol_set: OptimizerPromptSymbolSet

    def __str__(self) -> str:
        return sections(self, _ORDER)

    __repr__ = __str__


@dataclass
class MemoryInstance:
    """An earlier attempt: values `(data, description)` by name and their feedback; `str()` renders round `index`."""

    variables: Mapping[str, tuple[Any, Any]]
    feedback: Any
    optimizer_prompt_symbol_set: OptimizerPromptSymbolSet
    index: int | None = None

    def __str__(self) -> str:
        symbols = self.optimizer_prompt_symbol_set
        name, value, variable = symbols.name_tag, symbols.value_tag, symbols.improved_variable_tag
        blocks = [
            f"<{variable}>\n<{name}>{key}</{name}>\n<{value}>\n{data}\n</{value}>\n</{variable}>"
            for key, (data, _) in self.variables.items()
        ]
        body = "\n".join([*blocks, f"<feedback>\n{self.feedback}\n</feedback>"])
        number = "" if self.index is None else f" {self.index}"
        return f"<round{number}>\n{body}\n</round{number}>"


@dataclass(frozen=True)
class Tags:
    """The tags of one kind of value."""

    node: str
    value: str = "value"
    constraint: str | None = None


def tagged_values(
    values: Mapping[str, tuple[Any, Any]],
    tags: Tags,
    limit: int | None = None,
    truncate: Callable[[Any, int], str] = truncate_expression,
) -> str:
    """One tagged entry a value, blank lines between; values longer than `limit` characters are cut.

    Constraints are shown where the tags have a name for them. Of code only the body is cut.
    """
    entries: list[str] = []
    for name, (value, description) in values.items():
        text = _text(name, value, description, limit, truncate)
        inner = f"<{tags.value}>\n{text}\n</{tags.value}>\n"
        if tags.constraint is not None and description is not None:
            inner += f"<{tags.constraint}>\n{description}\n</{tags.constraint}>\n"
        kind = kind_of(name, value)
        entries.append(f'<{tags.node} name="{name}" type="{kind}">\n{inner}</{tags.node}>\n')
    return "\n".join(entries)


def _text(
    name: str, value: Any, description: str | None, limit: int | None, truncate: Callable[[Any, int], str]
) -> str:
    if limit is None:
        return str(value)
    if not is_code(name):
        return truncate(value, limit)
    signature = (description or "").removeprefix(_CODE_PREFIX)
    code = str(value)
    at = code.find(signature) + len(signature) if signature and signature in code else 0
    return code[:at] + truncate(code[at:], limit)


def problem_instance(
    summary: FunctionFeedback,
    objective: str,
    symbols: OptimizerPromptSymbolSet,
    *,
    mask: Iterable[str] | None = None,
    show: Callable[[Mapping[str, tuple[Any, Any]]], str],
) -> ProblemInstance:
    """The problem of a summary; `show` writes the values that may not change, `mask` lists titles to leave empty."""
    masked = masked_titles(mask, symbols.default_prompt_symbols)

    def body(key: str, text: Any) -> Any:
        return "" if key in masked else text

    tags = Tags(symbols.variable_tag, symbols.value_tag, symbols.constraint_tag)
    return ProblemInstance(
        instruction=body("instruction", objective),
        code=body("code", "\n".join(text for _, text in sorted(summary.graph))),
        documentation=body("documentation", "\n".join(f"[{k}] {v}" for k, v in summary.documentation.items())),
        variables=body("variables", tagged_values(summary.variables, tags)),
        inputs=body("inputs", show(summary.inputs)),
        others=body("others", show(summary.others)),
        outputs=body("outputs", show(summary.output)),
        feedback=body("feedback", summary.user_feedback),
        optimizer_prompt_symbol_set=symbols,
    )
