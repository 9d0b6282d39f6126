"""Read what a model answered: the contract's two formats to the letter, and a ladder for everything else.

`read_json_reply` follows the rules of the first format (a JSON object), `extract_xml_like_data` those
of the second (tags). `read_reply` tries every known shape in turn (tags, JSON, mended JSON, fences, lines
`name: value`) and says what was wrong when none fits.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from opto.optimizers.patches import find_patches
from opto.optimizers.problem import Problem, is_code
from opto.optimizers.repair import loads_lenient
from opto.optimizers.utils import (
    extract_first_top_level_block,
    extract_reasoning_and_remainder,
    extract_top_level_blocks,
    strip_nested_blocks,
)

__all__ = [
    "Suggestion",
    "clean_name",
    "drop_blank_code",
    "extract_xml_like_data",
    "read_fence",
    "read_json_reply",
    "read_reply",
    "unfenced",
]

_RESCUE_START = re.compile(r'"suggestion"\s*:\s*\{')
_RESCUE_PAIR = re.compile(r'"([^"\n]*)"\s*:\s*"((?:[^"\\]|\\.)*)"')
_FENCE = re.compile(r"(?<!`)(`{3,})(?!`)[ \t]*([\w+-]*)[^\n`]*\n(.*?)(?:\n[ \t]*\1|\Z)", re.DOTALL)
_NAMED = re.compile(r"<(variable|part) name=[\"']([^\"'>\n]{1,200})[\"'][^>\n]{0,200}>")
_THOUGHTS = ("think", "thinking", "thought")
_MOST_FENCES = 100  # a reply with more is no list of parts
_WRAPPERS = ("suggestion", "suggestions", "changes", "updates", "variables", "parts", "parameters", "answer")
_NAME_KEYS = ("name", "part", "parameter", "variable")
_VALUE_KEYS = ("value", "new_value", "text", "code", "content")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a reply proposes: values by part name; `fault` says why there are none, or what was passed over."""

    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reasoning: str = ""
    fault: str | None = None
    stop: bool = False


def clean_name(name: str) -> str:
    """The part name meant by a key: blanks, quotes and one colon before trailing digits are dropped.

    >>> clean_name(" `int:0` ")
    'int0'
    """
    return re.sub(r":(?=\d+$)", "", name.strip().strip("`'\"<>").strip(), count=1)


def drop_blank_code(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without code entries that are only blanks."""
    return {k: v for k, v in values.items() if not (is_code(k) and isinstance(v, str) and not v.strip())}


# --- the first format: a JSON object ---


def read_json_reply(text: str, suggestion_key: str, reasoning_key: str) -> tuple[Any, dict[str, Any]]:
    """(reasoning, suggestion) of a reply in the first format; an unreadable one gives `("", {})`."""
    text = _first_fenced(text)
    body = _load_object(text)
    keys = {k.strip(): v for k, v in body.items()}
    suggestion: Any = keys.get(suggestion_key.strip(), keys)
    if not isinstance(suggestion, dict):
        suggestion = keys
    if not suggestion:
        suggestion = _rescue_pairs(text)
    return keys.get(reasoning_key.strip(), ""), drop_blank_code(suggestion)


def _first_fenced(text: str) -> str:
    pieces = text.split("```")
    if len(pieces) < 3:
        return text
    return pieces[1].strip().removeprefix("json")


def _load_object(text: str) -> dict[str, Any]:
    found = _strict(text)
    if found is _NOTHING:
        start, end = text.find("{"), text.rfind("}")
        found = _strict(text[start : end + 1]) if 0 <= start < end else None
    return found if isinstance(found, dict) else {}


_NOTHING = object()


def _strict(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING


def _rescue_pairs(text: str) -> dict[str, Any]:
    """`"name": "text"` pairs after `"suggestion": {`, for replies that are JSON but for raw newlines and the like."""
    start, end = _RESCUE_START.search(text), text.rfind("}")
    if start is None or end < start.end():
        return {}
    return {k: _unescape(v) for k, v in _RESCUE_PAIR.findall(text[start.end() : end])}


def _unescape(text: str) -> str:
    """The text meant by the inside of a JSON string that may hold raw newlines."""
    loaded = _strict('"' + text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t") + '"')
    return loaded if isinstance(loaded, str) else text


# --- the second format: tags ---


def extract_xml_like_data(
    text: str,
    reasoning_tag: str = "reasoning",
    improved_variable_tag: str = "variable",
    name_tag: str = "name",
    value_tag: str = "value",
) -> dict[str, Any]:
    """`{"reasoning": str, "variables": {name: str}}` of a reply in the second format.

    Variables count only after the closing reasoning tag; each needs a name that is not blank and a
    value (which may be empty); later ones win.

    >>> extract_xml_like_data("<reasoning>r</reasoning><variable><name>x0</name><value> 3 </value></variable>")
    {'reasoning': 'r', 'variables': {'x0': '3'}}
    """
    reasoning, rest = extract_reasoning_and_remainder(text, reasoning_tag)
    variables: dict[str, str] = {}
    for block in extract_top_level_blocks(rest, improved_variable_tag):
        name = extract_first_top_level_block(strip_nested_blocks(block, value_tag), name_tag)
        value = extract_first_top_level_block(block, value_tag)
        if name is not None and value is not None and strip_nested_blocks(name, name_tag):
            variables[strip_nested_blocks(name, name_tag)] = value.strip()
    return {"reasoning": reasoning, "variables": variables}


# --- the ladder for everything else ---


def read_reply(text: str, problem: Problem) -> Suggestion:
    """The suggestion of a reply in any known shape; its `fault` says what to ask again when it has none."""
    text = _without_thoughts(text)
    if not text.strip():
        return Suggestion(fault="the reply is empty")
    fault = None
    for rung in _RUNGS:
        found = rung(text, problem)
        if found is None:
            continue
        if found.values or found.fault is None:
            return found
        fault = fault or found.fault
    return Suggestion(fault=fault or f"the reply names none of the parts {', '.join(problem.names)}")


def _without_thoughts(text: str) -> str:
    """What a reasoning model said after thinking; its thoughts may name values that it then gave up."""
    for tag in _THOUGHTS:
        if f"</{tag}>" in text:
            text = strip_nested_blocks(text, tag)
            text = text.rpartition(f"</{tag}>")[2]  # some servers swallow the opening tag
    return text


def _named_blocks(text: str) -> dict[str, str]:
    """The bodies of `<variable name="…">…</variable>`, by name; one pass, however many are never closed."""
    found: dict[str, str] = {}
    unclosed: set[str] = set()
    at = 0
    while (opening := _NAMED.search(text, at)) is not None:
        tag, at = opening.group(1), opening.end()
        end = -1 if tag in unclosed else text.find(f"</{tag}>", at)
        if end < 0:
            unclosed.add(tag)
        else:
            found[opening.group(2)] = text[at:end]
            at = end
    return found


def _from_tags(text: str, problem: Problem) -> Suggestion | None:
    if "</" not in text:
        return None
    found = extract_xml_like_data(text)
    values: dict[str, Any] = {}
    for name, body in _named_blocks(text).items():
        inner = extract_first_top_level_block(body, "value")
        values[name] = (body if inner is None else inner).strip()
    for name in problem.names:
        block = extract_first_top_level_block(text, name) if f"<{name}>" in text else None
        if block is not None:
            values[name] = block.strip()
    values.update(found["variables"])
    return _known(values, problem, found["reasoning"]) if values else None


def _from_json(text: str, problem: Problem) -> Suggestion | None:
    """Strict JSON in any of its places: the whole, a fence, from the first brace to the last; then mended."""
    fenced = [match.group(3) for match in islice(_FENCE.finditer(text), _MOST_FENCES)]
    places = [text, *fenced, text[text.find("{") : text.rfind("}") + 1]]
    for place in places:
        if isinstance(found := _strict(place), (dict, list)):
            return _from_object(found, problem)
    start = text.find("{")
    if start < 0 or not any(key in text[start:] for key in (*problem.names, *_WRAPPERS)):
        return None
    try:
        mended = _from_object(loads_lenient(text[start:]), problem)
    except (ValueError, RecursionError):
        mended = _known(_rescue_pairs(text), problem, "")
    if mended is not None and (mended.values or mended.fault):
        return mended
    return Suggestion(fault=f"the reply is not valid JSON: {_json_fault(text[start:])}")


def _json_fault(text: str) -> str:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return "it ends too early"


def _from_object(body: Any, problem: Problem) -> Suggestion | None:
    if isinstance(body, list):
        return _known(_pairs(body), problem, "") if body else None
    keys = {str(k).strip(): v for k, v in body.items()}
    reasoning = keys.get("reasoning", "")
    reasoning = reasoning if isinstance(reasoning, str) else json.dumps(reasoning, default=str)
    for wrapper in _WRAPPERS:
        inner = keys.get(wrapper)
        if wrapper not in problem.names and isinstance(inner, (dict, list)):
            return _known(_pairs(inner), problem, reasoning)
    return _known(_pairs(keys), problem, reasoning)


def _pairs(body: Any) -> dict[str, Any]:
    """Values by name, of `{name: value}`, `{"name": n, "value": v}` or a list of either."""
    if isinstance(body, list):
        merged: dict[str, Any] = {}
        for item in body:
            merged.update(_pairs(item))
        return merged
    if not isinstance(body, dict):
        return {}
    name = next((body[k] for k in _NAME_KEYS if isinstance(body.get(k), str)), None)
    value_key = next((k for k in _VALUE_KEYS if k in body), None)
    if name is not None and value_key is not None:
        return {name: body[value_key]}
    return {str(k): v["value"] if isinstance(v, dict) and set(v) == {"value"} else v for k, v in body.items()}


_NOT_NAMES = ("reasoning", "answer", "explanation", "thought", "thoughts", *_WRAPPERS)


def _known(values: Mapping[str, Any], problem: Problem, reasoning: str) -> Suggestion:
    """Keep the entries that name a part; the fault names those that do not."""
    names = {name: name for name in problem.names}
    kept: dict[str, Any] = {}
    strange: list[str] = []
    for key, value in values.items():
        name = names.get(clean_name(key))
        if name is not None:
            kept[name] = value
        elif key not in _NOT_NAMES:
            strange.append(clean_name(key))
    kept = drop_blank_code(kept)
    fault = None
    if strange:
        fault = f"there is no part named {', '.join(strange[:5])}; the parts are {', '.join(problem.names)}"
    return Suggestion(kept, reasoning, fault)


def _from_patches(text: str, problem: Problem) -> Suggestion | None:
    values, fault = find_patches(text, problem)
    return Suggestion(values, fault=fault) if values or fault else None


def _from_fences(text: str, problem: Problem) -> Suggestion | None:
    """Fenced code that defines the function of one code part; a lone fence for a lone part."""
    values: dict[str, Any] = {}
    found = islice(_FENCE.finditer(text), _MOST_FENCES)
    fences = [(m.group(3), _heading_before(text, m.start(), problem.names)) for m in found]
    for body, heading in fences:
        name = heading or _part_defined_by(body, problem)
        if name is not None:
            values[name] = body
    if not values and len(fences) == 1 and len(problem.parts) == 1 and not problem.parts[0].is_code:
        values[problem.parts[0].name] = fences[0][0].strip()
    return Suggestion(drop_blank_code(values)) if values else None


def _heading_before(text: str, at: int, names: Iterable[str]) -> str | None:
    line = text[max(at - 200, 0) : at].rstrip().rsplit("\n", 1)[-1]
    words = set(re.findall(r"[\w.]+", line))
    return next((name for name in names if name in words), None)


def _part_defined_by(code: str, problem: Problem) -> str | None:
    defined = set(re.findall(r"^(?:async\s+)?def\s+(\w+)", code, re.MULTILINE))
    owners = [p.name for p in problem.parts if p.is_code and _main_def(p.value, p.description) in defined]
    return owners[0] if len(owners) == 1 else None


def _main_def(code: Any, description: str | None) -> str | None:
    match = re.search(r"\bdef\s+(\w+)", description or "") or re.search(r"\bdef\s+(\w+)", str(code))
    return match.group(1) if match else None


def read_fence(text: str, begun: str = "") -> str:
    """The code of a reply whose fence was begun with `begun`: up to the closing fence or the end.

    A model that repeats the beginning is forgiven.

    >>> read_fence("    return 1\\n```\\nDone.", "def f():\\n")
    'def f():\\n    return 1'
    """
    fence = _FENCE.search(text)
    if fence is not None and (not begun or begun.strip().splitlines()[0] in fence.group(3)):
        return fence.group(3).rstrip()
    body = text.split("```", 1)[0]
    if begun and body.lstrip().startswith(begun.strip().splitlines()[0]):
        begun = ""
    return (begun + body).rstrip() if begun else body.strip("\n").rstrip()


def unfenced(code: str) -> str:
    """The code inside a fence that was put around a value; other code as it is.

    >>> unfenced("```python\\nx = 1\\n```")
    'x = 1'
    """
    fence = _FENCE.fullmatch(code.strip())
    return code if fence is None else fence.group(3)


def _from_lines(text: str, problem: Problem) -> Suggestion | None:
    """Lines `name: value` or `name = value`, for parts that are not code."""
    values: dict[str, Any] = {}
    for part in problem.parts:
        pattern = rf"^[\s>*#-]*[`*\"']*{re.escape(part.name)}[`*\"']*\s*(?:=|:|->)[ \t]*(\S.*)$"
        match = None if part.is_code or part.name not in text else re.search(pattern, text, re.MULTILINE)
        if match is not None:
            text = match.group(1).strip().rstrip("*")
            values[part.name] = _unquote(text.rstrip("`") if text.count("`") == 1 else text)
    return Suggestion(values) if values else None


def _unquote(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        if text[0] == "`":
            return text[1:-1]
        try:
            return str(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            return text[1:-1]
    return text


_RUNGS: tuple[Callable[[str, Problem], Suggestion | None], ...] = (
    _from_tags,
    _from_json,
    _from_patches,
    _from_fences,
    _from_lines,
)
