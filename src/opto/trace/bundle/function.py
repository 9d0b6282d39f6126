"""The object that `bundle` makes of a function: an operator that can be called, bound to instances, copied and pickled.

Imports nodes, `modules`, `source`, `info` and `implementation`.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from types import CoroutineType
from typing import Any

from opto.errors import BudgetExceeded, ExecutionError, TraceMissingInputsError
from opto.evidence import NEVER_CHANGES
from opto.show import cut_start, text_of
from opto.trace.bundle.implementation import (
    INSIDE,
    Environment,
    Implementation,
    ImplementationCache,
    code_parameter,
    run_watched,
    with_plain_recursion,
)
from opto.trace.bundle.info import CallPlan, FailureInfo, FunctionInfo, Options, hidden_parameters
from opto.trace.bundle.source import CallSite, Failure, broken_code, innermost_function
from opto.trace.containers import SELF_NODE
from opto.trace.context import TRACING, USED_NODES, unwatched
from opto.trace.formatted import ACTIVE, end_of_call, plain_values
from opto.trace.modules import Module
from opto.trace.nodes import (
    Node,
    ParameterNode,
    make_argument,
    make_constant,
    make_exception_node,
    make_message_node,
    root_operation,
)
from opto.trace.records import DEPENDS, WATCHED, look_again

__all__ = ["FunModule"]

_UNUSUAL = (Node, Exception)
_PASSING = (TraceMissingInputsError, BudgetExceeded)  # no feedback to the call could mend these


class FunModule(Module):
    """A bundled function. Call it like the function: it returns a node that remembers the inputs.

    On a class it is a method: each instance gets a copy of its own on first access, with a code parameter of its own.
    """

    external_override: bool | None = None
    """Set on the class by `disable_external_dependencies_check`; None leaves the decision to each function."""

    def __init__(
        self,
        fun: Callable[..., Any],
        options: Options | None = None,
        *,
        captured: dict[str, Any] | None = None,
        site: CallSite | None = None,
    ) -> None:
        options = options or Options()
        self._kind: Any = type(fun) if isinstance(fun, staticmethod | classmethod) else None
        fun = fun.__func__ if isinstance(fun, staticmethod | classmethod) else fun
        if not callable(fun):
            raise TypeError(f"bundle() decorates a function, not {type(fun).__name__}.")
        self.fun = fun
        self.catch_execution_error = options.catch_execution_error
        self.allow_external_dependencies = options.allow_external_dependencies
        self.overwrite_python_recursion = options.overwrite_python_recursion or options.trainable
        self.output_name = options.output_name
        self.parameter: ParameterNode[str] | None = None
        self._takes_data = options.process_inputs and not options.traceable_code
        self._function_info = FunctionInfo(fun, options, site)
        self._receiver: Any = None
        self._async = inspect.iscoroutinefunction(fun)
        self._guarded = options.overwrite_python_recursion and not options.trainable
        self._implementation = Implementation(with_plain_recursion(fun, self._function_info) if self._guarded else fun)
        self._attribute: str = getattr(fun, "__name__", self._function_info.name)
        if options.trainable:
            self.parameter = code_parameter(fun, self._function_info)
            self._environment = Environment(innermost_function(fun), captured or {})
            self._implementations = ImplementationCache(self._environment, self.parameter._data, self._async)
            self.parameter._rare_attributes().implementations = self._implementations
        for name in ("__module__", "__name__", "__qualname__", "__doc__", "__isabstractmethod__"):
            if hasattr(fun, name):
                self.__dict__[name] = getattr(fun, name)
        self.__wrapped__ = fun

    @property
    def trainable(self) -> bool:
        """Whether the code is a parameter."""
        return self.parameter is not None

    @property
    def traceable_code(self) -> bool:
        """Whether the body computes on copies of the nodes."""
        return self._function_info.options.traceable_code

    @property
    def name(self) -> str:
        """The operator name in the description."""
        return self._function_info.name

    @property
    def description(self) -> str:
        """The full description, `[op]` prefix included."""
        return self._function_info.description

    @functools.cached_property
    def info(self) -> dict[str, Any]:
        """Static facts about the function: source, signature, line … Those of a call are in its node."""
        return dict(self._function_info.facts)

    def parameters_dict(self) -> dict[Any, Any]:
        return {} if self.parameter is None else {"parameter": self.parameter}

    # ---- calls ----

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        args = args if self._receiver is None else (self._receiver, *args)
        if self._guarded and self._function_info in INSIDE.get():
            own = int(self._receiver is not None)
            return self.fun(*_raw(args[:own]), *args[own:], **kwargs)
        parameter = self.parameter
        implementation = self._implementation if parameter is None else self._current_implementation(parameter)
        plan = None if kwargs else implementation.plans.get(len(args))
        if plan is None:
            plan = implementation.binder.plan(len(args), tuple(kwargs), self._function_info.operation)
        given = plan.ordered(args, kwargs) if plan.tail else args
        tracing = TRACING.get()
        if self._takes_data:
            inputs = _inputs(given, plan.roots) if tracing else ()
            values = [a._data if isinstance(a, Node) else a for a in given]
        else:
            inputs, values = self._unprocessed(plan, given)
        if ACTIVE:
            values = plain_values(values)
            end_of_call()
        inputs = inputs if parameter is None else (*inputs, parameter)
        if self._async:
            return self._await_result(
                functools.partial(run_watched, implementation.fun, plan, values), implementation, plan, inputs, values
            )
        used: set[Any] | None = set() if tracing else None
        try:
            output = run_watched(implementation.fun, plan, values, used)
        except Exception as error:
            if not self._catches(error):
                raise
            raise self._call_error(error, plan, inputs) from error
        if type(output) is CoroutineType:
            return self._await_result(lambda _: output, implementation, plan, inputs, values, used)
        if used or not self._takes_data or isinstance(output, _UNUSUAL):
            return self._result_node(output, plan, inputs, values, used)
        return make_message_node(plan.operation, output, inputs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self(*args, **kwargs)

    def _unprocessed(self, plan: CallPlan, given: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
        """The inputs of a call whose body gets nodes: those passed or copies of them, but `self` as it is."""
        inputs = _inputs(given, plan.roots)
        own = int(self._receiver is not None)
        values = list(given[own:])
        if self.traceable_code:
            values = [a if isinstance(a, FunModule) else n.detach() for a, n in zip(values, inputs[own:], strict=True)]
        return inputs, [*_raw(given[:own]), *values]

    def _catches(self, error: Exception) -> bool:
        return self.catch_execution_error and not isinstance(error, _PASSING)

    async def _await_result(
        self,
        start: Callable[[Any], Any],
        implementation: Implementation,
        plan: CallPlan,
        inputs: Any,
        values: Any,
        used: set[Any] | None = None,
    ) -> Any:
        """The node of a call that returns a coroutine; `used` are the nodes that it read before it returned it."""
        if implementation.broken:
            raise implementation.broken.pop()
        if used is None and TRACING.get():
            used = set()
        outside = USED_NODES.set(used)
        try:
            output = start(used)
            if type(output) is CoroutineType:
                output = await output
        except GeneratorExit:  # thrown away unfinished
            with suppress(ValueError):  # by another context, where there is nothing to restore
                USED_NODES.reset(outside)
            raise
        except BaseException as error:
            USED_NODES.reset(outside)
            if not isinstance(error, Exception) or not self._catches(error):
                raise
            raise self._call_error(error, plan, inputs) from error
        USED_NODES.reset(outside)
        return self._result_node(output, plan, inputs, values, used)

    def _result_node(self, output: Any, plan: CallPlan, inputs: Any, values: Any, used: set[Any] | None) -> Any:
        """The node of a call that returned an exception or a node, or that read nodes which it was not given."""
        if isinstance(output, Exception):  # returned, as good as raised
            if not self._catches(output):
                raise output
            raise self._call_error(output, plan, inputs) from output
        external = self._external(inputs, used) if used else []
        inner = output if isinstance(output, Node) else None
        made = make_message_node(plan.operation, output if inner is None else inner._data, inputs)
        if external:
            made._rare_attributes().external = external
        if inner is not None:
            rare = made._rare_attributes()
            rare.output = inner
            rare.hidden = hidden_parameters(inner, [*inputs, *(v for v in values if isinstance(v, Node))])
            if rare.hidden:
                made._flags |= DEPENDS
        if not self._takes_data:
            facts: Any = plan.operation.info
            made.info = facts.filled(list(values), output, external)
        return made

    def _external(self, inputs: tuple[Any, ...], used: set[Any]) -> list[Any]:
        """The nodes that the body read without being given them; TraceMissingInputsError unless that is allowed."""
        external = sorted(used.difference(inputs), key=lambda n: n.name)
        allowed = FunModule.external_override
        if external and not (self.allow_external_dependencies if allowed is None else allowed):
            missing = ", ".join(f"(name: {n.name}, data: {cut_start(text_of(n._data), 200)})" for n in external)
            raise TraceMissingInputsError(
                f"{self._function_info.qualname} reads the data of nodes that are not among its inputs: {missing}. "
                "Pass them as arguments, or set allow_external_dependencies=True."
            )
        return external

    @unwatched
    def _call_error(self, error: Exception, plan: CallPlan, inputs: Any) -> ExecutionError:
        """The error to raise when a call ended in `error`."""
        facts: Any = plan.operation.info
        node = make_exception_node(error, self._function_info.node_name, plan.operation.keys, inputs)
        node._op.info = FailureInfo(facts, Failure(error))
        return ExecutionError(node)

    # ---- trainable code ----

    def _current_implementation(self, parameter: ParameterNode[str]) -> Implementation:
        """The body that the code parameter describes now, its globals refreshed."""
        text = parameter._data
        implementation = self._implementation
        if implementation.text is not text or not implementation.lasting or implementation.executor is not None:
            try:
                implementation = self._implementations.of(text)
            except Exception as error:
                if not self._async:
                    raise self._definition_error(error, parameter) from error
                implementation = Implementation(self.fun)  # raises when it is awaited
                implementation.broken.append(self._definition_error(error, parameter))
                implementation.broken[0].__cause__ = error
                return implementation
            self._implementation = implementation
        if implementation.definition is not None:
            implementation.definition.refresh()
        return implementation

    @unwatched
    def _definition_error(self, error: Exception, parameter: ParameterNode[str]) -> ExecutionError:
        comment, trace = broken_code(error, str(parameter._data))
        node = make_exception_node(error, parameter.py_name, ("code",), (parameter,))
        node.info = {**self._function_info.facts, "error_comment": comment, "traceback": trace}
        return ExecutionError(node)

    # ---- methods: binding to instances ----

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name
        if self.parameter is not None and self._function_info.defined_in(owner, name):
            self._environment.owner = owner

    def __get__(self, instance: Any, owner: type | None = None) -> FunModule:
        if self._receiver is not None or self._kind is staticmethod:
            return self
        if self._kind is classmethod:
            return self._twin(_receiver=owner if owner is not None else type(instance))
        if instance is None:
            return self
        if isinstance(instance, type):  # a classmethod around this; nothing is stored on classes
            return self._twin(_receiver=instance)
        attributes: dict[str, Any] | None = getattr(instance, "__dict__", None)
        if attributes is None:  # an instance of slots has no place for a copy of its own
            return self._twin(_receiver=_self_node(instance))
        key = self._function_info.storage_key
        stored: FunModule | None = attributes.get(key)
        if stored is not None and stored._function_info is not self._function_info:
            key, stored = f"{key}@{self._function_info.place}", attributes.get(f"{key}@{self._function_info.place}")
        if stored is not None and stored._receiver._data is instance:
            return stored
        return self._bind(instance, attributes, key, stored or self)

    def _bind(self, instance: Any, attributes: dict[str, Any], key: str, model: FunModule) -> FunModule:
        """Stores the instance's own copy; its code starts as that of `model`."""
        node = attributes.get(SELF_NODE)
        if node is None:
            node = attributes.setdefault(SELF_NODE, _self_node(instance))
        if node._data is not instance:
            node = attributes[SELF_NODE] = _self_node(instance)
        bound = self._twin(_receiver=node, parameter=None if model.parameter is None else model.parameter.detach())
        if model is not self:  # the entry came along with a shallow copy of the instance
            attributes[key] = bound
        return attributes.setdefault(key, bound)  # type: ignore[no-any-return]

    # ---- copies and pickles ----

    def _twin(self, **changes: Any) -> FunModule:
        """Another FunModule for the same function; shares all but `changes`."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.__dict__.update(changes)
        if changes.get("parameter") is not None:
            changes["parameter"]._rare_attributes().implementations = self._implementations
        return twin

    def copy(self) -> FunModule:
        """Another one with the same code parameter."""
        return self._twin()

    __copy__ = copy

    def detach(self) -> FunModule:
        """Another one with a code parameter of its own."""
        return copy.deepcopy(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> FunModule:
        twin = memo[id(self)] = self._twin()
        twin.parameter = copy.deepcopy(self.parameter, memo)
        if isinstance(self._receiver, Node):
            twin._receiver = copy.deepcopy(self._receiver, memo)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By reference where the function can be imported; the current code text goes along."""
        text = None if self.parameter is None else (self.parameter._data, self.parameter._user_texts())
        if self._receiver is not None:
            instance = self._receiver._data if isinstance(self._receiver, Node) else self._receiver
            return getattr, (instance, self._attribute), text
        module, name = self.fun.__module__, getattr(self.fun, "__qualname__", self.name)
        known = _imported(module, name)
        if known is self and text is None:
            return str(name)
        if known is not None and known._function_info is self._function_info:
            return _found, (module, name, self.parameter)
        return _rebuilt, (self.fun, self._function_info.options, self.parameter)

    def __setstate__(self, state: tuple[str, tuple[str, ...]]) -> None:
        if self.parameter is not None:
            self.parameter._data, own = state
            self.parameter._remember_user_texts(own)


def _raw(values: tuple[Any, ...]) -> list[Any]:
    """The raw data of nodes, anything else as it is."""
    return [a._data if isinstance(a, Node) else a for a in values]


def _inputs(given: tuple[Any, ...], roots: tuple[Any, ...]) -> tuple[Any, ...]:
    """The input nodes of a call. (Equally long by construction; `strict` would cost time.)"""
    if WATCHED:
        look_again([a for a in given if isinstance(a, Node)])
    return tuple([a if isinstance(a, Node) else _lift(a, root) for a, root in zip(given, roots)])  # noqa: B905


def _lift(value: Any, root: Any) -> Any:
    """The input node of an argument that is not a node."""
    parameter = value.parameter if isinstance(value, FunModule) else None
    if parameter is not None:
        return parameter
    return make_argument(value, root) if ACTIVE or type(value) not in NEVER_CHANGES else make_constant(value, root)


def _self_node(instance: Any) -> Node[Any]:
    return make_constant(instance, root_operation(type(instance).__name__))


def _imported(module: str, name: str) -> FunModule | None:
    """The FunModule that stands under this name in a loaded module, below other decorators if need be."""
    at: Any = sys.modules.get(module)
    for part in name.split("."):
        at = getattr(at, part, None)
    while at is not None and not isinstance(at, FunModule):
        at = getattr(at, "__wrapped__", None)
    return at


def _found(module: str, name: str, parameter: ParameterNode[str] | None) -> FunModule:
    __import__(module)
    known = _imported(module, name)
    if known is None:
        raise AttributeError(f"There is no bundled function {name} in the module {module} any more.")
    return known._twin(parameter=parameter)


def _rebuilt(fun: Callable[..., Any], options: Options, parameter: ParameterNode[str] | None) -> FunModule:
    return FunModule(fun, options)._twin(parameter=parameter)
