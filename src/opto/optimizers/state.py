"""The file of an optimizer: settings and memory as tagged JSON. Reading it runs no code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from opto.errors import LoadError
from opto.optimizers.buffers import FIFOBuffer
from opto.trace.saving.parameter_file import write_atomic

__all__ = ["decode", "encode", "read_state", "write_state"]

_FORMAT = "opto-optimizer"
_TAG = "$"


def encode(value: Any) -> Any:
    """`value` as JSON data; what JSON cannot hold becomes its text.

    >>> decode(encode({"a": (1, None), 2: FIFOBuffer(3)}))["a"]
    (1, None)
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, tuple):
        return {_TAG: "tuple", "items": [encode(item) for item in value]}
    if isinstance(value, FIFOBuffer):
        return {_TAG: "memory", "size": value.size, "items": [encode(item) for item in value]}
    if isinstance(value, dict):
        if _TAG not in value and all(type(key) is str for key in value):
            return {key: encode(item) for key, item in value.items()}
        return {_TAG: "dict", "items": [[encode(k), encode(v)] for k, v in value.items()]}
    return {_TAG: "text", "text": str(value)}


def decode(data: Any) -> Any:
    """The value that `encode` wrote; LoadError for a tag that is not ours."""
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    tag = data.get(_TAG)
    if tag is None:
        return {key: decode(item) for key, item in data.items()}
    try:
        return _tagged(tag, data)
    except (KeyError, TypeError, ValueError) as error:
        raise LoadError(f"The saved optimizer holds a damaged {tag!r}.") from error


def _tagged(tag: Any, data: dict[str, Any]) -> Any:
    if tag == "tuple":
        return tuple(decode(item) for item in data["items"])
    if tag == "dict":
        return {decode(key): decode(item) for key, item in data["items"]}
    if tag == "text":
        return str(data["text"])
    if tag == "memory":
        memory = FIFOBuffer(int(data["size"]))
        for item in data["items"]:
            memory.add(decode(item))
        return memory
    raise LoadError(f"The saved optimizer holds a value of the unknown kind {tag!r}; did a newer version write it?")


def write_state(path: Path, kind: str, state: dict[str, Any]) -> None:
    """Write `state` of an optimizer of class `kind`, whole or not at all."""
    body = {"format": _FORMAT, "version": 1, "class": kind, "state": {k: encode(v) for k, v in state.items()}}
    write_atomic(path, json.dumps(body, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def read_state(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """The attributes among `names` that the file holds; LoadError if it is no such file."""
    try:
        body = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise LoadError(f"{path} is not a saved optimizer: it is not JSON.") from error
    if not isinstance(body, dict) or body.get("format") != _FORMAT or not isinstance(body.get("state"), dict):
        raise LoadError(f"{path} is not a saved optimizer.")
    return {name: decode(body["state"][name]) for name in names if name in body["state"]}
