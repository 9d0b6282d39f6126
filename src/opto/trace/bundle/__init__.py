"""`bundle`: a Python function as one operator of the tape.

A call of a bundled function is one node, whatever happens inside. The decorator reads the function once; a call binds
its arguments by a plan, runs the body on raw values while reads of other nodes are recorded, and links the result. With
`trainable=True` the function's text is a parameter. Errors become nodes with commented source.
Read in this order: `source` (texts of functions), `info` (options, names, call shapes), `implementation` (the function
that a call runs), `function` (the object that `bundle` makes). May import nodes, containers and modules.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, overload

from opto.errors import ExecutionError, TraceMissingInputsError
from opto.trace.broadcast import detach_inputs, to_data, wrap_node
from opto.trace.bundle.function import FunModule
from opto.trace.bundle.info import DecorationSite, Options
from opto.trace.context import USED_NODES
from opto.trace.nodes import ExceptionNode, MessageNode, Node, ParameterNode
from opto.trace.spaces.space import Projection

__all__ = [
    "ALLOW_EXTERNAL_DEPENDENCIES",
    "ExceptionNode",
    "ExecutionError",
    "FunModule",
    "MessageNode",
    "Node",
    "ParameterNode",
    "TraceMissingInputsError",
    "bundle",
    "detach_inputs",
    "disable_external_dependencies_check",
    "to_data",
    "trace_nodes",
    "wrap_node",
]

ALLOW_EXTERNAL_DEPENDENCIES: bool | None = None
"""Set by `disable_external_dependencies_check`; None leaves the decision to each bundle."""


@overload
def bundle(description: Callable[..., Any], /) -> FunModule: ...


@overload
def bundle(
    description: str | None = None,
    traceable_code: bool = False,
    _process_inputs: bool = True,
    trainable: bool = False,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
    projections: list[Projection] | None = None,
    output_name: str | None = None,
) -> Callable[[Any], FunModule]: ...


def bundle(  # noqa: PLR0913 - the signature is a promise
    description: Any = None,
    traceable_code: bool = False,
    _process_inputs: bool = True,
    trainable: bool = False,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
    projections: list[Projection] | None = None,
    output_name: str | None = None,
) -> Any:
    """Makes a function one traced operator: `@bundle`, or `@bundle(...)` with options.

    `description`: text that starts with `[name]`; default the function's name and docstring.
    `traceable_code`: the body computes on copies of the nodes, whose inner graph can be expanded.
    `trainable`: the code is a parameter (with `projections`) that an optimizer may rewrite.
    `catch_execution_error`: exceptions become ExecutionError with a node to send feedback to.
    `allow_external_dependencies`: the body may read nodes that it was not given.
    `overwrite_python_recursion`: recursive calls run the plain function, untraced.
    `output_name`: base name of the nodes it makes.

    >>> @bundle()
    ... def add(x, y=1):
    ...     "Adds."
    ...     return x + y
    >>> z = add(2)
    >>> z.data, z.name, z.description, list(z.inputs)
    (3, 'add:0', 'Adds.', ['x', 'y'])
    """
    bare: Any = None if description is None or isinstance(description, str) else description
    options = Options(
        description if bare is None else None,
        traceable_code,
        _process_inputs,
        trainable,
        catch_execution_error,
        allow_external_dependencies,
        overwrite_python_recursion,
        projections,
        output_name,
    )
    called = DecorationSite(sys._getframe(1), trainable)
    if bare is not None:
        return FunModule(bare, options, captured=called.captured, site=called.lines)

    def decorate(fun: Any) -> FunModule:
        site = called.merged_with(DecorationSite(sys._getframe(1), trainable), fun)
        return FunModule(fun, options, captured=site.captured, site=site.lines)

    return decorate


def disable_external_dependencies_check(flag: bool | None) -> None:
    """Overrides `allow_external_dependencies` of every bundle: True allows, False forbids, None asks each again."""
    globals()["ALLOW_EXTERNAL_DEPENDENCIES"] = FunModule.external_override = flag


@contextmanager
def trace_nodes() -> Generator[set[Node[Any]]]:
    """Collects the nodes whose `.data` is read inside the block, in this thread or task."""
    used: set[Node[Any]] = set()
    token = USED_NODES.set(used)
    try:
        yield used
    finally:
        USED_NODES.reset(token)
