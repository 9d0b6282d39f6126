"""The existing library's two formats: a JSON object (`read_json_reply`) and tags (`extract_xml_like_data`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from opto.optimizers.problem import is_code
from opto.optimizers.repair import unescape
from opto.optimizers.utils import (
    extract_first_top_level_block,
    extract_reasoning_and_remainder,
    extract_top_level_blocks,
    strip_nested_blocks,
)

__all__ = ["NOTHING", "drop_blank_code", "extract_xml_like_data", "read_json_reply", "rescue_pairs", "strict"]

_RESCUE_START = re.compile(r'"suggestion"\s*:\s*\{')
_RESCUE_PAIR = re.compile(r'"([^"\n]*)"\s*:\s*"((?:[^"\\]|\\.)*)"(?=\s*(?:[,}\]]|\n\s*"|\Z))', re.DOTALL)


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
        suggestion = rescue_pairs(text)
    return keys.get(reasoning_key.strip(), ""), drop_blank_code(suggestion)


def _first_fenced(text: str) -> str:
    pieces = text.split("```")
    if len(pieces) < 3:
        return text
    return pieces[1].strip().removeprefix("json")


def _load_object(text: str) -> dict[str, Any]:
    found = strict(text)
    if found is NOTHING:
        start, end = text.find("{"), text.rfind("}")
        found = strict(text[start : end + 1]) if 0 <= start < end else None
    return found if isinstance(found, dict) else {}


NOTHING = object()


def strict(text: str) -> Any:
    """The JSON value that a text is; NOTHING if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOTHING


def rescue_pairs(text: str) -> dict[str, Any]:
    """`"name": "text"` pairs after `"suggestion": {`, for replies that are JSON but for raw newlines and the like."""
    start, end = _RESCUE_START.search(text), text.rfind("}")
    if start is None or end < start.end():
        return {}
    return {k: _unescape(v) for k, v in _RESCUE_PAIR.findall(text[start.end() : end])}


def _unescape(text: str) -> str:
    """The text meant by the inside of a JSON string that may hold raw newlines."""
    loaded = strict('"' + text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t") + '"')
    return loaded if isinstance(loaded, str) else unescape(text)


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
