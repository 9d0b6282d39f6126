"""The file of an optimizer: settings and memory as JSON, plain values in the form of saved parameters. No code runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from opto.errors import LoadError
from opto.optimizers.buffers import FIFOBuffer
from opto.show import text_of
from opto.trace.saving.parameter_file import write_atomic
from opto.trace.saving.plain_data import Encoder, NotPlainError
from opto.trace.saving.plain_data import decode as decode_plain

__all__ = ["decode", "encode", "read_state", "write_state"]

_FORMAT = "opto-optimizer"
_PLAIN: tuple[Any, ...] = (bool, int, float, str, tuple, list, dict)


class _StateEncoder(Encoder):
    """Writes values of subclasses as those of their base, and other objects as their texts."""

    def encode(self, value: Any) -> Any:
        kind: Any = next((kind for kind in _PLAIN if isinstance(value, kind)), None)
        self.seen.clear()  # one object may stand in several attempts
        try:
            return super().encode(value if kind in (None, bool) else kind(value))
        except NotPlainError:
            return text_of(value)


def encode(value: Any) -> Any:
    """`value` as JSON data; an object that is no plain data becomes its text.

    >>> decode(encode({"a": (1, None), 2: object})), list(decode(encode(FIFOBuffer(3))))
    ({'a': (1, None), 2: "<class 'object'>"}, [])
    """
    if isinstance(value, FIFOBuffer):
        return {"$memory": [value.size, encode(list(value))]}
    return _StateEncoder().encode(value)


def decode(data: Any) -> Any:
    """The value that `encode` wrote; LoadError for a tag that is not ours."""
    if not isinstance(data, dict) or set(data) != {"$memory"}:
        return decode_plain(data)
    try:
        size, items = data["$memory"]
        memory = FIFOBuffer(size)
    except (TypeError, ValueError) as error:
        raise LoadError("The saved optimizer holds a damaged memory.") from error
    for item in decode_plain(items):
        memory.add(item)
    return memory


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
