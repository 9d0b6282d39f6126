"""What TextGrad shows of one call, and of several criticisms of one value."""

from __future__ import annotations

from typing import Any

from opto.optimizers.formats.texts import fill
from opto.optimizers.problem.collect import repr_function_call
from opto.optimizers.problem.problem import kind_of
from opto.optimizers.utils import cut_middle
from opto.trace.nodes import MessageNode, Node

__all__ = ["edge_prompt", "merge_prompt"]

_LONGEST = 4000  # characters of a value


def edge_prompt(call: MessageNode[Any], parent: Node[Any], criticism: str) -> str:
    """Asks how `parent` should differ, given what was said of the result of `call`."""
    inputs = list(zip(call._op.keys, call._inputs, strict=False))
    return fill(
        "textgrad_edge",
        call=repr_function_call(call),
        documentation=call.description or "(nothing is said)",
        arguments="\n".join(_argument(key, value) for key, value in inputs),
        result=cut_middle(str(call._data), _LONGEST),
        criticism=criticism,
        argument=" and ".join(key for key, value in inputs if value is parent),
    )


def _argument(key: str, value: Node[Any]) -> str:
    kind = kind_of(value.py_name, value._data)
    return fill("textgrad_argument", name=key, kind=kind, value=cut_middle(str(value._data), _LONGEST))


def merge_prompt(node: Node[Any], criticisms: list[str]) -> str:
    """Asks for one criticism in place of several."""
    said = "\n".join(fill("textgrad_criticism", criticism=text) for text in criticisms)
    return fill("textgrad_merge", name=node.py_name, value=cut_middle(str(node._data), _LONGEST), criticisms=said)
