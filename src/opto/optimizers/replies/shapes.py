"""Which shape a reply has, and what it says of each part.

`read_reply` tries every known shape in turn (JSON, tags, patches, fences, lines `name: value`) and says what was wrong
when none fits. A value whose end the reply does not show is not believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from opto.optimizers.problem.problem import Problem
from opto.optimizers.replies.json_replies import (
    CUT_EARLY,
    Cut,
    CutText,
    json_values,
    object_spans,
    strict_json,
)
from opto.optimizers.replies.patches import find_patches
from opto.optimizers.replies.tags_and_fences import closed_spans, fences, tagged_values
from opto.syntax import literal_of

__all__ = [
    "Suggestion",
    "clean_name",
    "cut_inside",
    "read_reply",
    "unquoted",
]

_THOUGHTS = {
    "<think>": "</think>",  # DeepSeek, Qwen, GLM, Nemotron, MiniMax, Hunyuan, Phi, and most others
    "<thinking>": "</thinking>",  # asked for in prompts
    "<thought>": "</thought>",  # EXAONE Deep
    "<thoughts>": "</thoughts>",  # asked for in prompts, as the next three
    "<reflection>": "</reflection>",  # and Reflection Llama
    "<scratchpad>": "</scratchpad>",
    "<analysis>": "</analysis>",
    "<reasoning>": "</reasoning>",  # Reka Flash; our own formats of tags ask for it
    "[THINK]": "[/THINK]",  # Magistral
    "<seed:think>": "</seed:think>",  # Seed-OSS
    "◁think▷": "◁/think▷",  # Kimi
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A Reasoning
    "<|begin_of_thought|>": "<|end_of_thought|>",  # OpenThinker, Sky-T1
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",  # gpt-oss
    "assistantanalysis": "assistantfinal",  # gpt-oss behind a server that drops its tokens
    "Here is my thought process:": "Here is my response:",  # Granite 3.2
}
"""Marks around the thoughts of models, by their chat templates and the reasoning parsers of vLLM and SGLang."""


def _pattern(mark: str) -> str:
    """The mark in any case; a tag may have attributes."""
    tag = re.fullmatch(r"<(/?[a-z:]+)>", mark)
    return re.escape(mark) if tag is None else rf"<{tag[1]}(?:\s[^<>\n]{{0,100}})?>"


_MARKS = [
    re.compile(f"(?P<opening>{_pattern(opening)})|(?P<closing>{_pattern(closing)})", re.IGNORECASE)
    for opening, closing in _THOUGHTS.items()
]
_REASONING = re.compile(r"<reasoning>(.*?)</reasoning>", re.DOTALL)
_MOST_TAGS = 100
_VALUE_TAG = re.compile(r"<(value|part|variable)\b[^>\n]{0,200}>[^<]*(?:<(?!/\1>)[^<]*)*</\1>")
_UNCLOSED = re.compile(r"<[/\w][^<>]{0,200}\Z|\{[^{}]{0,200}\Z")
_SEVERAL_QUOTED = {
    quote: re.compile(rf"{quote}[^{quote}]*{quote}(?=[\s,;.:/|)]).*(?<=[\s,;:/|(]){quote}[^{quote}]*{quote}", re.DOTALL)
    for quote in "\"'"
}
_WRAPPERS = ("suggestion", "suggestions", "changes", "updates", "variables", "parts", "parameters", "answer")
_REASONS = ("reasoning", "explanation", "thought", "thoughts")
_NOT_NAMES = (*_REASONS, *_WRAPPERS)
_NAME_KEYS = ("name", "part", "parameter", "variable")
_VALUE_KEYS = ("value", "new_value", "text", "code", "content")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a reply proposes: values by part name; `fault` says why there are none, or what was passed over.

    `is_cut` if that is a value whose end the reply does not show.
    """

    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reasoning: str = ""
    fault: str | None = None
    is_cut: bool = False


def read_reply(text: str, problem: Problem) -> Suggestion:
    """The suggestion of a reply in any known shape; its `fault` says what to ask again when it has none.

    >>> from opto.optimizers.problem.problem import Part, Problem
    >>> found = read_reply('{"x0": 1, "y0": "Say hel', Problem(parts=(Part("x0", 0), Part("y0", "Say hello"))))
    >>> dict(found.values), found.fault
    ({'x0': 1}, 'the reply was cut off inside the value of y0')
    """
    whole = _from_whole(text, problem)
    if whole is not None:
        return whole
    why_cut = fault = text.why if isinstance(text, CutText) else None
    answer = _without_thoughts(text)
    if not answer.strip():
        return Suggestion(fault=fault or "the reply is empty")
    answer = CutText(answer, fault) if fault else answer
    for read in _readers(answer, problem):
        found = read(answer, problem)
        if found is None:
            continue
        if found.values or found.fault is None or found.is_cut:
            reasons = _REASONING.search(text) if not found.reasoning else None
            return found if reasons is None else replace(found, reasoning=reasons[1].strip())
        fault = found.fault if fault in (None, why_cut) else fault
    return Suggestion(fault=fault or f"the reply names none of the parts {', '.join(problem.names)}")


def _readers(text: str, problem: Problem) -> Iterable[Callable[[str, Problem], Suggestion | None]]:
    """The readers of shapes in the order to try: of JSON and tags, the one that begins first may hold the other."""
    tags = "|".join(map(re.escape, ("variable", "part", "name", "reasoning", *problem.names)))
    tag = re.search(rf"<(?:{tags})[ >]", text)
    brace = text.find("{")
    json_first = brace >= 0 and (tag is None or brace < tag.start())
    first = (_from_json, _from_tags) if json_first else (_from_tags, _from_json)
    return (*first, _from_patches, _from_fences, _from_lines)


def _without_thoughts(text: str) -> str:
    """The reply without the thoughts that a model wrote around it, for they may name values that it then gave up.

    Thoughts that never end leave nothing; all before a closing mark without its opening one are thoughts, too.
    """
    own_tags = "</reasoning>" in text and ("<variable" in text or "<part" in text)  # our format: read as tags
    families = [marks for marks in _MARKS if not (own_tags and marks.match("<reasoning>"))]
    at, start = 0, 0
    while start >= 0:
        start = -1
        for marks in families:
            opened = marks.match(text, len(text) - len(text[at:].lstrip()))
            if opened is None or not opened["opening"]:
                continue
            closed = next((mark for mark in marks.finditer(text, opened.end()) if mark["closing"]), None)
            if closed is None and (isinstance(text, CutText) or "reasoning" not in opened[0]):
                return ""
            if closed is not None:
                at = start = closed.end()
                break
    text = text[at:]
    for marks in families:
        if marks.search(text) is not None:
            text = _without_blocks(text, marks)
    return text


def _without_blocks(text: str, marks: re.Pattern[str]) -> str:
    """The text without what stands between two marks, unless they stand inside an object, a fence or a value's tag."""
    tags = (match.span() for match in _VALUE_TAG.finditer(text))
    spans = [*object_spans(text), *islice(tags, _MOST_TAGS), *closed_spans(text)]
    kept: list[str] = []
    at, is_thought = 0, False
    for match in marks.finditer(text):
        if any(start < match.start() < end for start, end in spans):
            continue
        if match["closing"]:
            if not is_thought:  # some servers swallow the opening mark
                kept.clear()
            at, is_thought = match.end(), False
        elif not is_thought:
            kept.append(text[at : match.start()])
            is_thought = True
    return "".join(kept) + ("" if is_thought else text[at:])


# --- JSON ---


def _from_whole(text: str, problem: Problem) -> Suggestion | None:
    """JSON and nothing else, whatever tags it mentions; a reply that was put into a JSON string is read from there."""
    body = strict_json(text)
    if isinstance(body, dict) and len(body) == 1 and not {*map(clean_name, body)} & {*problem.names, *_REASONS}:
        inner = next(iter(body.values()))
        body = inner if isinstance(inner, str) else body
    if isinstance(body, str):
        found = read_reply(body, problem)
        return found if found.values else None
    if not isinstance(body, (dict, list)):
        return None
    found = _from_object(body, problem)
    return found if found.values or found.fault is None else None


def _from_json(text: str, problem: Problem) -> Suggestion | None:
    """The last object in a text that answers; earlier ones are drafts, or show the format."""
    keys = {*problem.names, *_NOT_NAMES}

    def is_answer(value: Any) -> bool:
        return any(clean_name(key) in keys for key in _pairs(value))

    values = list(json_values(text, is_answer))
    answers = [value for value in values if is_answer(value)]
    if values:
        found = _from_object((answers or values)[-1], problem)
        is_cut = isinstance(answers[-1], Cut) if answers else False
        return Suggestion(fault=CUT_EARLY, is_cut=True) if is_cut and not (found.values or found.is_cut) else found
    start = text.find("{")
    if start < 0 or not any(key in text[start:] for key in keys):
        return None
    return Suggestion(fault=f"the reply is not valid JSON: {_json_fault(text[start:])}")


def _json_fault(text: str) -> str:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return "it ends too early"


def _from_object(body: Any, problem: Problem) -> Suggestion:
    """The suggestion of an object, which may be in one of the usual wrappers, or of a list."""
    while isinstance(body, list) and len(body) == 1:
        body = body[0]
    if isinstance(body, list):
        body = next((item for item in reversed(body) if _unwrapped(item, problem) is not None), body)
    reasoning = body.get("reasoning", "") if isinstance(body, dict) else ""
    inner = _unwrapped(body, problem)
    content = body if inner is None else inner
    pairs = _pairs(content)
    if content and not pairs:
        return Suggestion(fault="its list holds no names with values")
    return _known(pairs, problem, reasoning if isinstance(reasoning, str) else json.dumps(reasoning, default=str))


def _unwrapped(body: Any, problem: Problem) -> Any:
    """The object or list under one of the usual names, such as `suggestion`; None if there is none."""
    keys = {str(key).strip(): value for key, value in body.items()} if isinstance(body, dict) else {}
    wrappers = (keys.get(name) for name in _WRAPPERS if name not in problem.names)
    return next((inner for inner in wrappers if isinstance(inner, (dict, list))), None)


def _pairs(body: Any) -> dict[str, Any]:
    """Values by name, of `{name: value}`, `{"name": n, "value": v}` or a list of either."""
    if isinstance(body, list):
        return {name: value for item in body if isinstance(item, dict) for name, value in _pairs(item).items()}
    if not isinstance(body, dict):
        return {}
    name = next((body[k] for k in _NAME_KEYS if isinstance(body.get(k), str) and not isinstance(body[k], Cut)), None)
    value_key = next((k for k in _VALUE_KEYS if k in body), None)
    if name is not None and value_key is not None:
        return {name: body[value_key]}
    return {str(k): v["value"] if isinstance(v, dict) and set(v) == {"value"} else v for k, v in body.items()}


def cut_inside(name: str) -> str:
    """The fault of a reply that ended before the value of a part did."""
    return f"the reply was cut off inside the value of {name}"


def clean_name(name: str) -> str:
    """The part name meant by a key: blanks, quotes and one colon before trailing digits are dropped.

    >>> clean_name(" `int:0` ")
    'int0'
    """
    return re.sub(r":(?=\d+$)", "", name.strip().strip("`'\"<>").strip(), count=1)


def _known(values: Mapping[str, Any], problem: Problem, reasoning: str = "") -> Suggestion:
    """The entries that name a part; the fault names those that do not."""
    names, codes = set(problem.names), {part.name for part in problem.parts if part.is_code}
    named = [(clean_name(key), value) for key, value in values.items()]
    cut = [name for name, value in named if name in names and isinstance(value, Cut)]
    strange = [name for name, _ in named if name not in names and name not in _NOT_NAMES]
    kept = {name: value for name, value in named if name in names and not isinstance(value, Cut)}
    for name in codes & set(kept):
        if isinstance(kept[name], str) and not kept[name].strip():
            del kept[name]
    fault = None
    if cut:
        fault = cut_inside(cut[-1])
    elif strange:
        fault = f"there is no part named {', '.join(strange[:5])}; the parts are {', '.join(problem.names)}"
    return Suggestion(kept, reasoning, fault, is_cut=bool(cut))


# --- tags, patches, fences, lines ---


def _from_tags(text: str, problem: Problem) -> Suggestion | None:
    values, reasoning = tagged_values(text, problem.names)
    return _known(values, problem, reasoning) if values else None


def _from_patches(text: str, problem: Problem) -> Suggestion | None:
    values, fault = find_patches(text, problem)
    return Suggestion(values, fault=fault) if values or fault else None


def _from_fences(text: str, problem: Problem) -> Suggestion | None:
    """Fenced code that defines the function of one code part; a lone fence for a lone part."""
    values: dict[str, Any] = {}
    found = list(fences(text))
    for start, body in found:
        name = _heading_before(text, start, problem.names) or _part_defined_by(body, problem)
        if name is not None:
            values[name] = body
    if not values and len(found) == 1 and len(problem.parts) == 1 and not problem.parts[0].is_code:
        values[problem.names[0]] = found[0][1] if isinstance(found[0][1], Cut) else found[0][1].strip()
    return _known(values, problem) if values else None


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
            value = CutText() if unended else unquoted(line.rstrip("`") if line.count("`") == 1 else line)
            if '"' not in match.group(1):
                values[part.name] = value
            elif isinstance(member := strict_json(line.rstrip(",")), str):  # a line of an object
                values[part.name] = member
    return _known(values, problem) if values else None


def _opens(line: str) -> bool:
    """Whether a line begins with a quote that nothing closes, or ends inside a tag or braces."""
    return (line[:1] in ('"', "`") and line.count(line[0]) == 1) or _UNCLOSED.search(line) is not None


def unquoted(text: str) -> str:
    """The text inside quotes; one that only begins and ends with quotes keeps them.

    >>> unquoted("'it\\'s'"), unquoted("'yes' or 'no'")
    ("it's", "'yes' or 'no'")
    """
    quote = text[:1]
    if len(text) < 2 or text[-1] != quote or quote not in "\"'`":
        return text
    if quote == "`":
        return text[1:-1]
    if _SEVERAL_QUOTED[quote].fullmatch(text):
        return text
    try:
        return str(literal_of(text))
    except (ValueError, SyntaxError):
        return text[1:-1]
