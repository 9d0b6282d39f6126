"""Read what a model answered in whatever shape: the ladder for all that the two formats (`formats.py`) do not cover.

`read_reply` tries every known shape in turn (tags, JSON, mended JSON, fences, lines
`name: value`) and says what was wrong when none fits. A value whose end was never seen is not believed (`cuts.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from opto.optimizers.problem.problem import Problem
from opto.optimizers.replies.json_replies import Cut, CutText, drop_blank_code, loads_lenient, rescue_pairs, strict
from opto.optimizers.replies.patches import find_patches
from opto.optimizers.utils import (
    extract_first_top_level_block,
    extract_reasoning_and_remainder,
    extract_top_level_blocks,
    strip_nested_blocks,
)
from opto.syntax import literal_of

__all__ = [
    "Suggestion",
    "clean_name",
    "cut_inside",
    "extract_xml_like_data",
    "fences",
    "read_fence",
    "read_reply",
    "unfenced",
]

_FENCE = re.compile(r"(?<!`)(`{3,})(?!`)[^\n`]*\n(?P<body>.*?)(?:\n[ \t]*(?P<end>\1)|\Z)", re.DOTALL)
_NAMED = re.compile(r"<(variable|part) name=[\"']([^\"'>\n]{1,200})[\"'][^>\n]{0,200}>")
_LAST_NAME = re.compile(r"<name>([^<>\n]{1,200})</name>\s*\Z")
_UNCLOSED = re.compile(r"<[/\w][^<>]{0,200}\Z|\{[^{}]{0,200}\Z")
_THOUGHTS = ("think", "thinking", "thought")
_MOST_FENCES = 100  # a reply with more is no list of parts
_WRAPPERS = ("suggestion", "suggestions", "changes", "updates", "variables", "parts", "parameters", "answer")
_NAME_KEYS = ("name", "part", "parameter", "variable")
_VALUE_KEYS = ("value", "new_value", "text", "code", "content")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a reply proposes: values by part name; `fault` says why there are none, or what was passed over.

    `is_cut` if that is a value whose end was never seen.
    """

    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reasoning: str = ""
    fault: str | None = None
    is_cut: bool = False


def clean_name(name: str) -> str:
    """The part name meant by a key: blanks, quotes and one colon before trailing digits are dropped.

    >>> clean_name(" `int:0` ")
    'int0'
    """
    return re.sub(r":(?=\d+$)", "", name.strip().strip("`'\"<>").strip(), count=1)


_CUT_EARLY = "the reply was cut off at the limit of tokens before any value was complete"


def read_reply(text: str, problem: Problem) -> Suggestion:
    """The suggestion of a reply in any known shape; its `fault` says what to ask again when it has none.

    >>> from opto.optimizers.problem.problem import Part, Problem
    >>> found = read_reply('{"x0": 1, "y0": "Say hel', Problem(parts=(Part("x0", 0), Part("y0", "Say hello"))))
    >>> dict(found.values), found.fault
    ({'x0': 1}, 'the reply was cut off inside the value of y0')
    """
    cut = isinstance(text, CutText)
    text = _without_thoughts(text)
    if not text.strip():
        return Suggestion(fault=_CUT_EARLY if cut else "the reply is empty")
    text = CutText(text) if cut else text
    fault = _CUT_EARLY if cut else None
    for rung in _RUNGS:
        found = rung(text, problem)
        if found is None:
            continue
        if found.values or found.fault is None or found.is_cut:
            return found
        fault = found.fault if fault in (None, _CUT_EARLY) else fault
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
            found.setdefault(opening.group(2), CutText())
        else:
            found[opening.group(2)] = text[at:end]
            at = end
    return found


def _last_unclosed(text: str) -> dict[str, str]:
    """The name whose `<value>`, the last of the text, is never closed."""
    before, opening, after = text.rpartition("<value>")
    name = _LAST_NAME.search(before[-300:]) if opening and "</value>" not in after else None
    return {name.group(1): CutText()} if name is not None else {}


def _from_tags(text: str, problem: Problem) -> Suggestion | None:
    if "</" not in text and "<variable" not in text and "<part" not in text:
        return None
    found = extract_xml_like_data(text)
    values: dict[str, Any] = {}
    for name, body in _named_blocks(text).items():
        inner = extract_first_top_level_block(body, "value")
        unended = isinstance(body, CutText) or (inner is None and body.lstrip().startswith("<value>"))
        values[name] = CutText() if unended else (body if inner is None else inner).strip()
    for name in problem.names:
        if f"<{name}>" in text:
            block = extract_first_top_level_block(text, name)
            values[name] = CutText() if block is None else block.strip()
    values.update(_last_unclosed(text) | found["variables"])
    return _known(values, problem, found["reasoning"]) if values else None


def _from_whole(text: str, problem: Problem) -> Suggestion | None:
    """JSON and nothing else, whatever tags it mentions; a reply that was put into a JSON string is read from there."""
    found = strict(text)
    if isinstance(found, dict) and len(found) == 1 and not {*map(clean_name, found)} & {*problem.names, *_REASONS}:
        said = next(iter(found.values()))
        found = said if isinstance(said, str) else found
    if isinstance(found, str):
        inner = read_reply(found, problem)
        return inner if inner.values else None
    return _from_object(found, problem) if isinstance(found, dict) else None


def _from_json(text: str, problem: Problem) -> Suggestion | None:
    """Strict JSON in any of its places: the whole, a fence, from the first brace to the last; then mended."""
    fenced = [match["body"] for match in islice(_FENCE.finditer(text), _MOST_FENCES)]
    places = [text, *fenced, text[text.find("{") : text.rfind("}") + 1]]
    objects = [found for place in places if isinstance(found := strict(place), (dict, list))]
    if objects:
        said = [_from_object(found, problem) for found in objects]
        return next((found for found in said if found and (found.values or found.fault is None)), said[0])
    start = text.find("{")
    if start < 0 or not any(key in text[start:] for key in (*problem.names, *_WRAPPERS)):
        return None
    try:
        mended = _from_object(loads_lenient(text[start:]), problem)
    except (ValueError, RecursionError):
        mended = _known(rescue_pairs(text), problem, "")
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
    name = next((body[k] for k in _NAME_KEYS if isinstance(body.get(k), str) and not isinstance(body[k], Cut)), None)
    value_key = next((k for k in _VALUE_KEYS if k in body), None)
    if name is not None and value_key is not None:
        return {name: body[value_key]}
    return {str(k): v["value"] if isinstance(v, dict) and set(v) == {"value"} else v for k, v in body.items()}


_REASONS = ("reasoning", "explanation", "thought", "thoughts")
_NOT_NAMES = (*_REASONS, *_WRAPPERS)


def cut_inside(name: str) -> str:
    """The fault of a reply that ended before the value of a part did."""
    return f"the reply was cut off inside the value of {name}"


def _known(values: Mapping[str, Any], problem: Problem, reasoning: str) -> Suggestion:
    """Keep the entries that name a part; the fault names those that do not."""
    names = {name: name for name in problem.names}
    kept: dict[str, Any] = {}
    strange: list[str] = []
    cut: str | None = None
    for key, value in values.items():
        name = names.get(clean_name(key))
        if name is not None and isinstance(value, Cut):
            cut = name
        elif name is not None:
            kept[name] = value
        elif key not in _NOT_NAMES:
            strange.append(clean_name(key))
    kept = drop_blank_code(kept)
    fault = None if cut is None else cut_inside(cut)
    if strange and fault is None:
        fault = f"there is no part named {', '.join(strange[:5])}; the parts are {', '.join(problem.names)}"
    return Suggestion(kept, reasoning, fault, is_cut=cut is not None)


def _from_patches(text: str, problem: Problem) -> Suggestion | None:
    values, fault = find_patches(text, problem)
    return Suggestion(values, fault=fault) if values or fault else None


def _from_fences(text: str, problem: Problem) -> Suggestion | None:
    """Fenced code that defines the function of one code part; a lone fence for a lone part."""
    values: dict[str, Any] = {}
    found = islice(_FENCE.finditer(text), _MOST_FENCES)
    fences = [(_body(m), _heading_before(text, m.start(), problem.names)) for m in found]
    for body, heading in fences:
        name = heading or _part_defined_by(body, problem)
        if name is not None:
            values[name] = body
    if not values and len(fences) == 1 and len(problem.parts) == 1 and not problem.parts[0].is_code:
        body = fences[0][0]
        values[problem.parts[0].name] = body if isinstance(body, Cut) else body.strip()
    return _known(values, problem, "") if values else None


def _body(fence: re.Match[str]) -> str:
    """What stands in a fence; one that was never closed may lack its end."""
    return fence["body"] if fence["end"] else CutText(fence["body"])


def fences(text: str) -> list[str]:
    """What stands in each closed fence of a text.

    >>> fences("a\\n```py\\nb\\n```\\nc")
    ['b']
    """
    return [match["body"] for match in islice(_FENCE.finditer(text), _MOST_FENCES) if match["end"]]


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
    if fence is not None and (not begun or begun.strip().splitlines()[0] in fence["body"]):
        return fence["body"].rstrip()
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
    return code if fence is None else fence["body"]


def _from_lines(text: str, problem: Problem) -> Suggestion | None:
    """Lines `name: value` or `name = value`, for parts that are not code."""
    values: dict[str, Any] = {}
    for part in problem.parts:
        pattern = (
            rf"^(?:[^\S\n]|[>*#-]){{0,80}}([`*\"']{{0,9}}){re.escape(part.name)}[`*\"']*\s*(?:=|:|->)[ \t]*(\S.*)$"
        )
        match = None if part.is_code or part.name not in text else re.search(pattern, text, re.MULTILINE)
        if match is not None:
            line = match.group(2).strip().rstrip("*")
            unended = match.end() == len(text) and (isinstance(text, CutText) or _opens(line))
            value = CutText() if unended else _unquote(line.rstrip("`") if line.count("`") == 1 else line)
            if '"' not in match.group(1):
                values[part.name] = value
            elif isinstance(member := strict(line.rstrip(",")), str):  # a line of an object
                values[part.name] = member
    return _known(values, problem, "") if values else None


def _opens(line: str) -> bool:
    """Whether a line begins with a quote that nothing closes, or ends inside a tag or braces."""
    return (line[:1] in ('"', "`") and line.count(line[0]) == 1) or _UNCLOSED.search(line) is not None


def _unquote(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        if text[0] == "`":
            return text[1:-1]
        try:
            return str(literal_of(text))
        except (ValueError, SyntaxError):
            return text[1:-1]
    return text


_RUNGS: tuple[Callable[[str, Problem], Suggestion | None], ...] = (
    _from_whole,
    _from_tags,
    _from_json,
    _from_patches,
    _from_fences,
    _from_lines,
)


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
