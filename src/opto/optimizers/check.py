"""Check a suggested value before believing it: code must define the same function in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opto.optimizers.convert import convert
from opto.optimizers.patches import apply_patch, as_patch, has_markers
from opto.optimizers.problem import Part, is_code
from opto.optimizers.salvage import read_code, salvage
from opto.trace.projections.space import space_of
from opto.trace.spaces import Text
from opto.trace.spaces.signatures import check_code

__all__ = ["check_code", "read_value"]


def read_value(said: Any, parameter: Any, parts: Sequence[Part] = ()) -> Any:
    """The value that a reply means, patches applied, of the parameter's type and in its space; ReplyError if none.

    `parts` are all that the reply could name: a text that is itself a reply about them is read as one.
    """
    current = parameter._data
    space = space_of(parameter)
    edits = as_patch(said) if isinstance(current, str) and not has_markers(current) else None
    if edits is not None:
        said = apply_patch(current, edits)
    elif is_code(parameter.py_name):
        said = read_code(said)
    elif isinstance(said, str) and isinstance(current, str) and (space is None or isinstance(space, Text)):
        said = salvage(said, current, parts, parameter.py_name)
    if space is None:
        return convert(said, parameter._data)
    return space.read(said, lambda value: convert(value, parameter._data))
