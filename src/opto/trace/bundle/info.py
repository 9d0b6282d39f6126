"""Facts about a bundled function and its calls: options, name, text, call shapes, the `info` of nodes.

A call shape is the number of positional arguments plus the names of the keyword arguments. Its `CallPlan` says which
input each argument is, which defaults join them, and how the body gets them back. Nothing of `inspect` runs on a
call whose shape was seen before. Facts about the function are gathered when first asked for; those about a call are
derived from its node, so a call stores none. Imports nodes and `source`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from types import CodeType, FrameType
from typing import Any, NamedTuple

from opto.trace.bundle.source import CallSite, Failure, Source, code_of, source_of
from opto.trace.containers import BOUND_METHOD
from opto.trace.nodes import MessageNode, Node, Operation, ParameterNode, get_op_name, root_operation
from opto.trace.records import CODE_NAME, DEPENDS
from opto.trace.spaces.space import Projection

__all__ = [
    "PASSED",
    "Binder",
    "CallInfo",
    "CallPlan",
    "DecorationSite",
    "FailureInfo",
    "FunctionInfo",
    "Options",
    "hidden_parameters",
]

PASSED = object()
"""Stands for the value of an input that is passed by name."""

_EVAL = "eval"
_EVAL_TEXT = "[eval] Runs the Python function that the code string __code defines on the other inputs."
_SHAPES_KEPT = 1_000


class Options(NamedTuple):
    """The arguments of `bundle`."""

    description: str | None = None
    traceable_code: bool = False
    process_inputs: bool = True
    trainable: bool = False
    catch_execution_error: bool = True
    allow_external_dependencies: bool = False
    overwrite_python_recursion: bool = False
    projections: list[Projection] | None = None
    output_name: str | None = None


class DecorationSite:
    """The call of `bundle`: where it stands, and for trainable functions a copy of the local variables there."""

    __slots__ = ("captured", "code", "lines")

    def __init__(self, frame: FrameType, capture: bool) -> None:
        self.code = frame.f_code
        self.lines = CallSite(frame.f_code.co_filename, (frame.f_lineno,))
        self.captured: dict[str, Any] = {}
        if capture and frame.f_locals is not frame.f_globals:
            self.captured = dict(frame.f_locals)

    def merged_with(self, applied: DecorationSite, fun: Any) -> DecorationSite:
        """Both sites of one decoration: that of `bundle(...)`, and that where its result is `applied` to `fun`.

        The variables are those at the later site, unless `bundle` was called in one function and its result is applied
        by another that did not define `fun`.
        """
        if applied.code is self.code:
            applied.lines = CallSite(applied.lines.file, self.lines.lines + applied.lines.lines)
        elif getattr(fun, "__code__", None) not in applied.code.co_consts:
            applied.captured = self.captured
        return applied


# --- calls --------------------------------------------------------------------------------------


class CallPlan:
    """How the arguments of one call shape become inputs.

    `keys` name the inputs in the order of the signature: first the `given` positionals of the call, then those of
    `tail`, passed by name or, if they have another value there, defaults. The body gets the first `positional` values
    by position and the others by the names `by_name`. `roots` say how raw values are wrapped (None: by type).
    """

    __slots__ = ("by_name", "given", "keys", "operation", "positional", "roots", "tail")
    operation: Operation

    def __init__(self, signature: inspect.Signature, given: int, names: Sequence[str]) -> None:
        _refuse_like_python(signature, given, names)
        self.given = given
        self.tail: tuple[tuple[str, Any], ...] = ()
        self.keys: tuple[str, ...] = ()
        bases: list[str | None] = []
        self.by_name: tuple[str, ...] = ()
        left = dict.fromkeys(names)
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                surplus = max(given - len(self.keys), 0)
                self.keys += tuple(f"args_{i}" for i in range(surplus))
                bases += [None] * surplus
            elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                self._add(parameter, left)
                bases.append(parameter.name)
        self.keys += tuple(left)
        bases += left
        self.by_name += tuple(left)
        self.tail += tuple((name, PASSED) for name in left)
        self.positional = len(self.keys) - len(self.by_name)
        self.roots = tuple(None if base is None else root_operation(base) for base in bases)

    def _add(self, parameter: inspect.Parameter, left: dict[str, None]) -> None:
        name = parameter.name
        keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if keyword_only or len(self.keys) >= self.given:
            if name in left and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
                del left[name]
                self.tail += ((name, PASSED),)
            else:
                self.tail += ((name, parameter.default),)
        if keyword_only:
            self.by_name += (name,)
        self.keys += (name,)

    def ordered(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The values of a call of this shape, parallel to `keys`."""
        return (*args, *[kwargs[name] if value is PASSED else value for name, value in self.tail])


def _refuse_like_python(signature: inspect.Signature, given: int, names: Sequence[str]) -> None:
    """TypeError if the function cannot be called so."""
    parameters = signature.parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        # Python takes `f(a=1)` for `def f(a=0, /, **kw)`; before 3.13 `bind` does not
        hidden = {p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY}
        names = [name for name in names if name not in hidden]
    signature.bind(*range(given), **dict.fromkeys(names))


class Binder:
    """The plans of one function."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self._fun = fun
        self.plans: dict[Any, CallPlan] = {}
        """By number of positionals if there are no keywords, else by `(number, keyword, …)`."""

    @cached_property
    def signature(self) -> inspect.Signature:
        """The signature of the function; `(*args, **kwargs)` for builtins that have none."""
        try:
            return inspect.signature(self._fun)
        except ValueError:
            return inspect.signature(lambda *args, **kwargs: None)

    def plan(self, given: int, names: tuple[str, ...], operation_for: Callable[[CallPlan], Operation]) -> CallPlan:
        """The plan for `given` positionals and these keywords; TypeError if the function cannot be called so.

        `operation_for` makes the operation of the nodes of a new call shape.
        """
        shape: Any = (given, *names) if names else given
        plan = self.plans.get(shape)
        if plan is None:
            try:
                plan = CallPlan(self.signature, given, names)
            except TypeError as error:
                raise TypeError(f"{getattr(self._fun, '__qualname__', 'the function')}: {error}") from None
            plan.operation = operation_for(plan)
            if len(self.plans) >= _SHAPES_KEPT:
                self.plans.clear()
            self.plans[shape] = plan
        return plan


# --- the function -------------------------------------------------------------------------------


class FunctionInfo:
    """A bundled function as it was written, shared by all copies; `site` is where `bundle` was called.

    Raises ValueError for a description that does not start with `[op]`.
    """

    def __init__(self, fun: Callable[..., Any], options: Options, site: CallSite | None = None) -> None:
        self.fun = fun
        self.options = options
        qualname = getattr(fun, "__qualname__", None) or getattr(fun, "__name__", None) or type(fun).__name__
        self.qualname = str(qualname).replace("<locals>.", "")
        self.doc = inspect.cleandoc(getattr(fun, "__doc__", None) or "")
        given = options.description
        self.description = f"[{self.qualname}] {self.doc}" if given is None else given
        self.name = self.qualname if given is None else get_op_name(given)
        self._site = site

    @cached_property
    def source(self) -> Source | None:
        """The text of the function after its bundle decorator; None if there is none to be found."""
        return source_of(self.fun, self._site)

    @property
    def code(self) -> CodeType | None:
        """The function's own code object, below any wrappers."""
        return code_of(self.fun)

    @property
    def storage_key(self) -> str:
        """The attribute under which an instance keeps its own copy of this method."""
        custom = "" if self.options.description is None else f":{self.qualname}"
        return f"{BOUND_METHOD}{self.name}{custom}"

    @property
    def place(self) -> str:
        """Tells methods of equally named classes apart."""
        return f"{getattr(self.fun, '__module__', '')}:{self.code.co_firstlineno if self.code else 0}"

    def defined_in(self, owner: type, name: str) -> bool:
        """Whether the function stands in the body of this class (and was not put there from elsewhere)."""
        return getattr(self.fun, "__qualname__", "") == f"{owner.__qualname__}.{name}"

    @property
    def node_name(self) -> str:
        """The operator name of the nodes that it makes."""
        return _EVAL if self.options.trainable else self.name

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The static part of `info`."""
        source = self.source
        try:
            signature: inspect.Signature | None = inspect.signature(self.fun)
        except ValueError:
            signature = None
        return {
            "fun": self.fun,
            "fun_name": self.qualname,
            "_fun_name": getattr(self.fun, "__name__", self.qualname),
            "doc": self.doc,
            "signature": signature,
            "source": source.text if source else "",
            "line_number": source.line if source else None,
            "file": source.file if source else None,
            "error_comment": None,
            "traceback": None,
            "output": None,
            "inputs": {"args": [], "kwargs": {}},
            "external_dependencies": [],
        }

    def operation(self, plan: CallPlan) -> Operation:
        """That of the nodes which calls of this shape make."""
        info = CallInfo(self, plan)
        if self.options.trainable:
            return Operation(_EVAL, _EVAL_TEXT, keys=(*plan.keys, CODE_NAME), fun_name=_EVAL, info=info)
        base = self.options.output_name or self.name
        return Operation(base, self.description, keys=plan.keys, fun_name=self.qualname, info=info)


class CallInfo:
    """Derives the `info` of a node that a call of this shape made."""

    __slots__ = ("_function_info", "_given", "_keys")

    def __init__(self, function: FunctionInfo, plan: CallPlan) -> None:
        self._function_info = function
        self._keys = plan.keys
        self._given = plan.given

    def __call__(self, node: Any) -> dict[str, Any]:
        rare = node._rare
        inner = None if rare is None else rare.output
        return self.filled(
            [given._data for given in node._inputs[: len(self._keys)]],
            node._data if inner is None else inner,
            [] if rare is None else list(rare.external),
        )

    def filled(self, values: list[Any], output: Any, external: list[Any]) -> dict[str, Any]:
        """The info of a call whose body got `values`."""
        function, given = self._function_info, self._given
        return {
            **function.facts,
            "fun_name": _EVAL if function.options.trainable else function.qualname,
            "inputs": {"args": values[:given], "kwargs": dict(zip(self._keys[given:], values[given:], strict=False))},
            "output": output,
            "external_dependencies": external,
        }


class FailureInfo:
    """Derives the `info` of the exception node of a call, texts included."""

    __slots__ = ("_facts", "_failure", "_known")

    def __init__(self, facts: CallInfo, failure: Failure) -> None:
        self._facts = facts
        self._failure = failure
        self._known: dict[str, Any] | None = None

    def __call__(self, node: Any) -> dict[str, Any]:
        if self._known is None:
            facts = self._facts(node)
            comment = self._failure.comment(otherwise=facts["source"])
            self._known = {**facts, "output": None, "error_comment": comment, "traceback": self._failure.traceback()}
        return self._known


def hidden_parameters(output: Node[Any], given: Sequence[Node[Any]]) -> frozenset[ParameterNode[Any]]:
    """The parameters that an inner graph reaches other than through the nodes given to it."""
    seen = {id(node) for node in given}
    stack = [output] if id(output) not in seen else []
    found: set[ParameterNode[Any]] = set()
    while stack:
        current = stack.pop()
        if isinstance(current, ParameterNode):
            found.add(current)
        elif isinstance(current, MessageNode):
            found |= current.hidden_dependencies  # of a traceable call inside this one
        for parent in current._inputs:
            if id(parent) not in seen and parent._flags & DEPENDS:
                seen.add(id(parent))
                stack.append(parent)
    for node in given if found else ():
        found -= node.parameter_dependencies
    return frozenset(found)
