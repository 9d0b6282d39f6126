"""Small functions that programs import from `opto.trace.utils`."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from opto.show import text_of
from opto.trace.propagators.graph_propagator import sum_feedback

__all__ = [
    "contain",
    "dedent",
    "escape_json_nested_quotes",
    "for_all_methods",
    "parse_eqs_to_dict",
    "remove_non_ascii",
    "render_opt_step",
    "sum_feedback",
]

_Class = TypeVar("_Class", bound=type)


def contain(container: Iterable[object], node: object) -> bool:
    """Is this very object among them? (`in` would compare the data of nodes.)"""
    return any(item is node for item in container)


def dedent(text: str) -> str:
    """Strips every line on both sides, whatever its depth.

    >>> dedent("  a\\n      b ")
    'a\\nb'
    """
    return "\n".join(line.strip() for line in text.split("\n"))


def remove_non_ascii(text: str) -> str:
    """`text` without its characters beyond ASCII."""
    return text.encode("ascii", "ignore").decode("ascii")


def parse_eqs_to_dict(text: str) -> dict[str, str]:
    """Reads lines `key = value`; a line without `=` continues the value above it, backticks are dropped.

    >>> parse_eqs_to_dict("x = 1\\ngreeting = `Hello\\nthere`")
    {'x': ' 1', 'greeting': ' Hello\\nthere'}
    """
    found: dict[str, str] = {}
    key = None
    for line in filter(None, text.replace("`", "").split("\n")):
        left, equals, right = line.partition("=")
        if equals:
            key = left.strip()
            found[key] = right
        elif key is not None:
            found[key] += "\n" + line
    return found


def for_all_methods(decorator: Callable[[Any], Any]) -> Callable[[_Class], _Class]:
    """Class decorator that applies `decorator` to every method whose name does not start with `__`.

    Static and class methods stay such; constants, properties and nested classes are left alone.
    """

    def decorate(cls: _Class) -> _Class:
        for name, value in list(vars(cls).items()):
            if name.startswith("__") or isinstance(value, type):
                continue
            if isinstance(value, staticmethod | classmethod):
                setattr(cls, name, type(value)(decorator(value.__func__)))
            elif callable(value):
                made = decorator(value)
                setattr(cls, name, made)
                if hasattr(made, "__set_name__"):  # Python tells this only to what stands in a class body
                    made.__set_name__(cls, name)
        return cls

    return decorate


_TEXT_START = r'"(?:name|value)"\s*:\s*"'
_TEXT_END = r'"(?=\s*(?:,\s*"(?:name|value)"\s*:|\}\s*(?:[,\]]|$)))'
_BARE_QUOTE = r'(?<!\\)((?:\\\\)*)"'


def escape_json_nested_quotes(json_str: str) -> str:
    r"""Escapes quotes that a model left bare inside the strings of `{"name": ..., "value": ...}`.

    >>> import json
    >>> json.loads(escape_json_nested_quotes('{"name": "x", "value": "say "hi" now"}'))["value"]
    'say "hi" now'
    """
    starts, ends = re.compile(_TEXT_START), re.compile(_TEXT_END)
    done: list[str] = []
    position = 0
    while start := starts.search(json_str, position):
        end = ends.search(json_str, start.end())
        if end is None:
            break
        inside = re.sub(_BARE_QUOTE, r'\1\\"', json_str[start.end() : end.start()])
        done += [json_str[position : start.end()], inside, '"']
        position = end.end()
    return "".join(done) + json_str[position:]


class _Page:
    """A piece of HTML that notebooks show."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text


def render_opt_step(
    idx: int, optimizer: Any, no_trace_graph: bool = False, no_improvement: bool = False
) -> _Page | None:
    """Shows step `idx` of an optimizer in a notebook: graph, feedback, reasoning and improvement.

    Reads `optimizer.log` and `optimizer.summary_log`. Under IPython the page is displayed at once; elsewhere it is
    returned, to be written to a file (`str(page)`).
    """
    problem = optimizer.summary_log[idx]["problem_instance"]
    reasoning, improvement = _parts_of_reply(optimizer.log[idx]["response"])
    sections = [("Feedback", getattr(problem, "feedback", None)), ("Reasoning", reasoning)]
    if not no_trace_graph:
        sections.insert(0, ("Trace Graph", problem))
    if not no_improvement:
        sections.append(("Improvement", improvement))
    page = _Page(
        f'<div class="opto-step"><h3>Step {idx}</h3>'
        + "".join(_section(title, body) for title, body in sections if body is not None)
        + "</div>"
    )
    if "IPython.display" in sys.modules:  # only then is there a notebook to show it in
        sys.modules["IPython.display"].display(page)
        return None
    return page


def _parts_of_reply(reply: str) -> tuple[Any, Any]:
    """Reasoning and improvement of a reply; one that is not JSON is all reasoning."""
    try:
        parts = json.loads(reply)
    except json.JSONDecodeError:
        return reply, None
    if not isinstance(parts, dict):
        return reply, None
    improvement = parts.get("suggestion") or parts.get("answer")
    if isinstance(improvement, dict):
        improvement = "\n\n".join(f"{name}:\n{text_of(value)}" for name, value in improvement.items())
    return parts.get("reasoning"), improvement


def _section(title: str, body: object) -> str:
    style = "white-space:pre-wrap;border-left:4px solid #5C9BD5;padding:6px 10px;margin:4px 0"
    return f"<h4>{html.escape(title)}</h4><pre style='{style}'>{html.escape(text_of(body))}</pre>"
