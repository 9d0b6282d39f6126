"""The function that a call of a bundled function runs: as it was written, or as the text of a parameter defines it.

A text is compiled once (`opto.program`); one that only imports and defines is run once per `Environment`, and a call
only refreshes the globals that it reads. A text that an optimizer wrote is handed to the executor of the context.
Knows nothing of classes and instances. Imports nodes, `source` and `info`.
"""

from __future__ import annotations
import __future__

import builtins
import functools
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from types import CellType, CodeType, FunctionType
from typing import Any

from opto.errors import ExecutionError
from opto.execution import OMITTED_DEFAULT, Executor, Job, Outcome, Scope, Shape, SuggestedText, current_executor
from opto.program import DEFINE, TEXT, Program, compiled, compiled_inside
from opto.trace.bundle.info import Binder, CallPlan, FunctionInfo
from opto.trace.bundle.source import signature_text
from opto.trace.context import USED_NODES
from opto.trace.nodes import ParameterNode
from opto.trace.records import CODE_NAME

__all__ = [
    "INSIDE",
    "Definition",
    "Environment",
    "Implementation",
    "ImplementationCache",
    "code_parameter",
    "run_watched",
    "with_plain_recursion",
]

_LOG = logging.getLogger(__name__)
_ANNOTATIONS = __future__.annotations.compiler_flag
_ABSENT = object()
_IMPLEMENTATIONS_KEPT = 64
_LONGEST_UNRUN = 1 << 14  # nobody has run it yet, and the compiler's time, in this process, grows with the square
_UNSHOWN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"

INSIDE: ContextVar[frozenset[FunctionInfo]] = ContextVar("opto_inside", default=frozenset())
"""Functions with overwritten recursion that are running: calls of them reach the plain function."""


class Implementation:
    """The function that a call runs, its plans, and, for code from a parameter, the text that defines it.

    `broken` is the error to raise when the call is awaited, if that text could not be defined; `executor` runs the
    text if an optimizer wrote it.
    """

    __slots__ = ("binder", "broken", "definition", "executor", "fun", "lasting", "plans", "text")

    def __init__(
        self, fun: Callable[..., Any], definition: Definition | None = None, executor: Executor | None = None
    ) -> None:
        self.fun = fun
        self.binder = Binder(fun)
        self.plans = self.binder.plans
        self.definition = definition
        self.broken: list[ExecutionError] = []
        self.text = None if definition is None else definition.text
        self.executor = executor
        self.lasting = definition is None or definition.lasting


class ImplementationCache:
    """One implementation for each text that a code parameter had. `original` is the text that the user wrote."""

    __slots__ = ("_asynchronous", "_environment", "_known", "_original", "_unrun_function")

    def __init__(self, environment: Environment, original: str, asynchronous: bool) -> None:
        self._environment, self._original, self._asynchronous = environment, original, asynchronous
        self._known: dict[Any, Implementation] = {}
        self._unrun_function = lru_cache(_IMPLEMENTATIONS_KEPT)(functools.partial(_function_of, environment))

    def of(self, text: str) -> Implementation:
        """The function of a text: run here if the user wrote it, by the executor of this context if an optimizer did.

        Raises what defining it raises.
        """
        foreign = isinstance(text, SuggestedText) and text != self._original
        executor = current_executor() if foreign else None
        known = self._known.get((text, executor))
        if known is not None and known.lasting:
            known.text = text
            return known
        definition: Definition | None = None
        if executor is None:
            definition = Definition(text, self._environment)
            fun = definition.fun
        else:
            fun = _sandboxed_function(text, self._environment, executor)
        if inspect.iscoroutinefunction(fun) and not self._asynchronous:
            raise TypeError(f"{fun.__name__} is called as a plain function: begin it with def, not async def")
        implementation = Implementation(fun, definition, executor)
        implementation.text = text
        if len(self._known) >= _IMPLEMENTATIONS_KEPT:
            self._known.pop(next(iter(self._known)), None)
        self._known[text, executor] = implementation
        return implementation

    def for_worker(self, text: str) -> tuple[FunctionType, str, dict[str, Any], type | None] | None:
        """A rewritten text as a worker takes it: a function that runs it, its name, and the locals that it reads.

        The last item is the class to call that function's `DEFINE` with, if it asks for one. None for the text that the
        user wrote. Nothing of the text runs in this process.
        """
        if text == self._original:
            return None
        environment = self._environment
        function, reads, owner = self._unrun_function(str(text))
        names = {n: environment.captured[n] for n in reads & environment.captured.keys()}
        return function, environment.name, names, owner

    def texts(self) -> list[str]:
        """The texts whose implementations are kept, the newest last."""
        return [text for text, _ in self._known]


def _function_of(environment: Environment, text: str) -> tuple[FunctionType, frozenset[str], type | None]:
    """A function that runs the text (which is not run here), the names that it reads, and the class that it needs."""
    owner: type | None = None
    try:
        if len(text) > _LONGEST_UNRUN:
            raise ValueError(
                f"{environment.name} is too long to be called from other rewritten code: {len(text)} letters"
            )
        program = compiled(text, environment.flags)
        owner = environment.owner if program.needs_class else None
        code = program.code if owner is None else compiled_inside(text, owner.__name__, environment.flags)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        program = compiled(f"raise SyntaxError({str(error)!r})")
        code = program.code
    function = FunctionType(_in_file(code, f"<code of {environment.name}>"), environment.globals)
    function.__module__ = str(environment.globals.get("__name__", "__main__"))
    return function, program.reads, owner


def _in_file(code: CodeType, file: str) -> CodeType:
    """The code as if it stood in a file of this name: its lines are not those of the text that calls it."""
    inner = tuple(_in_file(c, file) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_filename=file, co_consts=inner)


def run_watched(fun: Callable[..., Any], plan: CallPlan, values: Any, used: set[Any] | None) -> Any:
    """Runs the function; nodes whose data it reads are added to `used`."""
    if used is None and not plan.by_name and USED_NODES.get() is None:
        return fun(*values)  # nobody watches
    outside = USED_NODES.set(used)
    try:
        if not plan.by_name:
            return fun(*values)
        at = plan.positional
        return fun(*values[:at], **dict(zip(plan.by_name, values[at:], strict=True)))
    finally:
        USED_NODES.reset(outside)


def with_plain_recursion(fun: Callable[..., Any], about: FunctionInfo) -> Callable[..., Any]:
    """`fun`, whose recursive calls through its bundled name reach `fun` itself."""

    @functools.wraps(fun)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        outside = INSIDE.set(INSIDE.get() | {about})
        try:
            return fun(*args, **kwargs)
        finally:
            INSIDE.reset(outside)

    @functools.wraps(fun)
    async def guarded_async(*args: Any, **kwargs: Any) -> Any:
        outside = INSIDE.set(INSIDE.get() | {about})
        try:
            return await fun(*args, **kwargs)
        finally:
            with suppress(ValueError):  # thrown away unfinished, by another context: there is nothing to restore there
                INSIDE.reset(outside)

    return guarded_async if inspect.iscoroutinefunction(fun) else guarded


def code_parameter(fun: Any, about: FunctionInfo) -> ParameterNode[str]:
    """The parameter that holds the text of a trainable function."""
    source, code = about.source, about.code
    if inspect.ismethod(fun):
        raise TypeError(f"{about.qualname} is bound to an object already: decorate it where its class defines it.")
    if code is None or code.co_name == "<lambda>":
        raise TypeError(f"{about.qualname} is not written as a 'def', so it has no code that could be trained.")
    if source is None:
        raise OSError(
            f"The source of {about.qualname} cannot be found: define it in a file or a notebook cell. "
            "(A cell that begins with a magic such as %%time hides its text.)"
        )
    text = f"The code should start with:\n{signature_text(source.text)}"
    return ParameterNode(source.text, name=CODE_NAME, description=text, projections=about.options.projections)


# --- from text to function ----------------------------------------------------------------------


class Environment:
    """Where code from a parameter runs: the globals of a function as they are, the caller's locals as they were.

    `captured` is a snapshot taken when the function was decorated; all copies share it and none copies it. Variables
    that the function closes over and the snapshot had not yet are read from their cells. `owner` is the class in whose
    body the function stands, for `super()`.
    """

    __slots__ = ("captured", "cells", "flags", "globals", "name", "owner", "scope")

    def __init__(self, fun: Any, captured: dict[str, Any]) -> None:
        self.name: str = fun.__name__
        self.globals: dict[str, Any] = getattr(fun, "__globals__", {})
        self.captured = captured
        code = getattr(fun, "__code__", None)
        self.flags: int = code.co_flags & _ANNOTATIONS if code else 0
        cells: tuple[CellType, ...] = getattr(fun, "__closure__", None) or ()
        names: tuple[str, ...] = code.co_freevars if code else ()
        self.cells = {n: c for n, c in zip(names, cells, strict=False) if n not in captured and n != self.name}
        self.owner: type | None = None
        self.scope: Scope | None = None


class Definition:
    """A text that was run in an environment: `fun` is the function that it defines."""

    __slots__ = ("_cells", "_environment", "_live", "_namespace", "fun", "lasting", "text")

    def __init__(self, text: str, environment: Environment) -> None:
        program = compiled(text, environment.flags)
        around = environment.globals
        self.text = text
        self.lasting = program.lasting
        self._environment = environment
        self._namespace: dict[str, Any] = {
            **environment.captured,
            "__builtins__": around.get("__builtins__", builtins),
            "__name__": around.get("__name__", "__main__"),
            TEXT: text,
        }
        reads = program.reads | around.keys() if program.dynamic else program.reads
        reads = reads - program.writes - self._namespace.keys()
        self._cells = tuple((n, c) for n, c in environment.cells.items() if n in reads)
        self._live = tuple(reads - environment.cells.keys())
        self.refresh()
        before = dict(self._namespace)
        self._execute(program)
        self._live = tuple(n for n in self._live if before.get(n, _ABSENT) is self._namespace.get(n, _ABSENT))
        if environment.name not in program.writes:
            raise KeyError(environment.name)
        defined = self._namespace[environment.name]
        if isinstance(defined, staticmethod | classmethod):
            defined = defined.__func__
        if not callable(defined):
            raise TypeError(f"{environment.name} is a {type(defined).__name__}, not a function")
        self.fun: Callable[..., Any] = defined

    def _execute(self, program: Program) -> None:
        owner = self._environment.owner
        if owner is None or not program.needs_class:
            exec(program.code, self._namespace)
            return
        exec(compiled_inside(self.text, owner.__name__, self._environment.flags), self._namespace)
        self._namespace.update(self._namespace.pop(DEFINE)(owner))

    def refresh(self) -> None:
        """Lets the code see its globals as they are now."""
        namespace, around = self._namespace, self._environment.globals
        for name in self._live:
            if name in around:
                namespace[name] = around[name]
            elif name in namespace:
                namespace.pop(name, None)
        for name, cell in self._cells:
            try:
                namespace[name] = cell.cell_contents
            except ValueError:
                pass  # not assigned yet


# --- a text that an optimizer wrote -------------------------------------------------------------


class _Names(Mapping[str, Any]):
    """The globals that code in an environment sees: locals at decoration, cells, and globals as they are now."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __getitem__(self, name: str) -> Any:
        environment = self._environment
        if name in environment.captured:
            return environment.captured[name]
        cell = environment.cells.get(name)
        if cell is None:
            return environment.globals[name]
        try:
            return cell.cell_contents
        except ValueError:
            raise KeyError(name) from None  # not assigned yet

    def __iter__(self) -> Iterator[str]:
        environment = self._environment
        return iter(dict.fromkeys([*environment.captured, *environment.cells, *environment.globals]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _scope(environment: Environment) -> Scope:
    scope = environment.scope
    if scope is None or scope.owner is not environment.owner:
        module = str(environment.globals.get("__name__", "__main__"))
        scope = environment.scope = Scope(_Names(environment), module, environment.flags, environment.owner)
    return scope


def _sandboxed_function(text: str, environment: Environment, executor: Executor) -> Callable[..., Any]:
    """The function that `text` defines, run by `executor`; raises what defining it raises there."""
    text = str(text)
    scope = _scope(environment)
    shape: Shape = executor.run(Job(text, environment.name, scope=scope, describe=True)).result()
    signature, names = _signature(shape)
    warned: set[str] = set()

    def job(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        if any(value is OMITTED_DEFAULT for value in (*args, *kwargs.values())):
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            args, kwargs = (), {name: value for name, value in given.items() if value is not OMITTED_DEFAULT}
        return Job(text, environment.name, args, kwargs, scope)

    def finished(outcome: Outcome) -> Any:
        if outcome.stdout:
            sys.stdout.write(_printable(outcome.stdout))
        if outcome.stderr:
            sys.stderr.write(_printable(outcome.stderr))
        if outcome.changed and not warned.issuperset(outcome.changed):
            warned.update(outcome.changed)
            _LOG.warning(
                "%s wrote to %s: it got copies, so that the originals are as they were. Let it return the new value.",
                environment.name,
                _printable(", ".join(outcome.changed)),
            )
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def call(*args: Any, **kwargs: Any) -> Any:
        return finished(executor.run(job(args, kwargs)))

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        return finished(await executor.arun(job(args, kwargs)))

    function: Any = call_async if shape.kind == "coroutine" else call
    function.__name__ = function.__qualname__ = environment.name
    function.__doc__, function.__signature__ = shape.doc, signature
    return function  # type: ignore[no-any-return]


def _printable(text: str) -> str:
    """The output of code, with commands to the terminal and characters that no file can hold written out."""
    return re.sub(_UNSHOWN, lambda found: found[0].encode("unicode_escape").decode(), text)


def _signature(shape: Shape) -> tuple[inspect.Signature, tuple[str, ...]]:
    kinds = {int(kind): kind for kind in inspect._ParameterKind}
    parameters = [
        inspect.Parameter(name, kinds[kind], default=default if has_default else inspect.Parameter.empty)
        for name, kind, has_default, default in shape.parameters
    ]
    return inspect.Signature(parameters), tuple(name for name, *_ in shape.parameters)
