"""What a call of a bundled function runs, and how: the parts of `bundle` that know nothing of classes and instances.

Imports: nodes, and the parts that read and define functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from opto.deferred import Deferred
from opto.errors import ExecutionError
from opto.execution import Executor, SuggestedText, current_executor
from opto.program import compiled, compiled_inside
from opto.trace.bundle.binding import Binder, Plan
from opto.trace.bundle.definition import Definition, Environment, define
from opto.trace.bundle.info import About
from opto.trace.bundle.naming import CODE_NAME
from opto.trace.bundle.sandboxed_function import suggested_function
from opto.trace.bundle.source import CallSite, signature_text
from opto.trace.context import USED_NODES
from opto.trace.nodes import Node, ParameterNode

if TYPE_CHECKING:
    import inspect
else:
    inspect = Deferred("inspect")

__all__ = ["INSIDE", "Bodies", "Body", "Caller", "code_parameter", "guard", "plain", "run", "unwatched"]

_BODIES_KEPT = 64
_LONGEST_UNRUN = 1 << 14  # nobody has run it yet, and the compiler's time, in this process, grows with the square

INSIDE: ContextVar[frozenset[About]] = ContextVar("opto_inside", default=frozenset())
"""Functions with overwritten recursion whose bodies are running: calls of them reach the plain function."""


class Body:
    """What a call runs: the function, its plans, and for code from a parameter the text it came from.

    `broken` is the error to raise when the call is awaited, if that text could not be defined; `executor` is who
    runs it if an optimizer wrote it.
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


class Bodies:
    """The bodies of the texts that a code parameter had, made once each. `original` is the text that the user wrote."""

    __slots__ = ("_asynchronous", "_environment", "_known", "_original", "_travelling")

    def __init__(self, environment: Environment, original: str, asynchronous: bool) -> None:
        self._environment, self._original, self._asynchronous = environment, original, asynchronous
        self._known: dict[Any, Body] = {}
        self._travelling: dict[str, Any] = {}

    def of(self, text: str) -> Body:
        """The body of a text: run here if the user wrote it, by the executor of this context if an optimizer did.

        Raises what defining it raises.
        """
        foreign = isinstance(text, SuggestedText) and text != self._original
        executor = current_executor() if foreign else None
        known = self._known.get((text, executor))
        if known is not None and known.lasting:
            known.text = text
            return known
        fun, definition = self._defined(text, executor)
        if inspect.iscoroutinefunction(fun) and not self._asynchronous:
            raise TypeError(f"{fun.__name__} is called as a plain function: begin it with def, not async def")
        body = Body(fun, definition, executor)
        body.text = text
        if len(self._known) >= _BODIES_KEPT:
            self._known.pop(next(iter(self._known)), None)
        self._known[text, executor] = body
        return body

    def travelling(self, text: str) -> tuple[FunctionType, str, dict[str, Any], type | None] | None:
        """A text other than the original as a function that runs it there, its name, and the locals that it reads.

        Last the class to call that function's `DEFINE` with, if it asks for one. None for the original. Nothing of the
        text runs here.
        """
        if text == self._original:
            return None
        environment, text = self._environment, str(text)
        known = self._travelling.get(text)
        if known is None:
            known = _unrun(text, environment)
            if len(self._travelling) >= _BODIES_KEPT:
                self._travelling.pop(next(iter(self._travelling)), None)
            self._travelling[text] = known
        function, reads = known
        names = {n: environment.captured[n] for n in reads & environment.captured.keys()}
        return function, environment.name, names, environment.owner if "super" in reads else None

    def texts(self) -> list[str]:
        """The texts whose bodies are kept, the newest last."""
        return [text for text, _ in self._known]

    def _defined(self, text: str, executor: Executor | None) -> tuple[Callable[..., Any], Definition | None]:
        if executor is not None:
            return suggested_function(text, self._environment, executor), None
        definition = define(text, self._environment)
        return definition.fun, definition


def _unrun(text: str, environment: Environment) -> tuple[FunctionType, frozenset[str]]:
    """A function that runs the text (which is not run here), and the names that it reads."""
    try:
        if len(text) > _LONGEST_UNRUN:
            raise ValueError(
                f"{environment.name} is too long to be called from other rewritten code: {len(text)} letters"
            )
        program = compiled(text, environment.flags)
        inside = environment.owner is not None and "super" in program.reads
        code = compiled_inside(text, environment.flags) if inside else program.code
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        program = compiled(f"raise SyntaxError({str(error)!r})")
        code = program.code
    function = FunctionType(_in_file(code, f"<code of {environment.name}>"), environment.globals)
    function.__module__ = str(environment.globals.get("__name__", "__main__"))
    return function, program.reads


def _in_file(code: CodeType, file: str) -> CodeType:
    """The code as if it stood in a file of this name: its lines are not those of the text that calls it."""
    inner = tuple(_in_file(c, file) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_filename=file, co_consts=inner)


def run(fun: Callable[..., Any], plan: Plan, values: Any, used: set[Any] | None) -> Any:
    """Runs a body; nodes whose data it reads are added to `used`."""
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


_P = ParamSpec("_P")
_T = TypeVar("_T")


def unwatched(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Reads of nodes by `method` do not count: the text of an error may read some."""

    @functools.wraps(method)
    def quiet(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        outside = USED_NODES.set(None)
        try:
            return method(*args, **kwargs)
        finally:
            USED_NODES.reset(outside)

    return quiet


def plain(values: tuple[Any, ...]) -> list[Any]:
    """The raw data of nodes, anything else as it is."""
    return [a._data if isinstance(a, Node) else a for a in values]


def guard(fun: Callable[..., Any], about: About) -> Callable[..., Any]:
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


def code_parameter(fun: Any, about: About) -> ParameterNode[str]:
    """The parameter that holds the text of a trainable function."""
    source, code = about.source, about.code
    if inspect.ismethod(fun):
        raise TypeError(f"{about.qualname} is bound to an object already: decorate it where its class defines it.")
    if code is None or code.co_name == "<lambda>":
        raise TypeError(f"{about.qualname} is not written as a 'def', so it has no code that could be trained.")
    if source is None:
        raise OSError(f"The source of {about.qualname} cannot be found: define it in a file or a notebook cell.")
    text = f"The code should start with:\n{signature_text(source.text)}"
    return ParameterNode(source.text, name=CODE_NAME, description=text, projections=about.options.projections)


class Caller:
    """Who calls `bundle`: where, and for trainable functions a copy of the local variables."""

    __slots__ = ("captured", "code", "site")

    def __init__(self, frame: FrameType, capture: bool) -> None:
        self.code = frame.f_code
        self.site = CallSite(frame.f_code.co_filename, (frame.f_lineno,))
        self.captured: dict[str, Any] = {}
        if capture and frame.f_locals is not frame.f_globals:
            self.captured = dict(frame.f_locals)

    def again(self, frame: FrameType, capture: bool, fun: Any) -> Caller:
        """The same when the decorator is applied to `fun`: variables as they are then, if that is the place to look.

        It is unless `bundle` was called in one function and its result is applied by another that did not define `fun`.
        """
        now = Caller(frame, capture)
        if frame.f_code is self.code:
            now.site = CallSite(now.site.file, self.site.lines + now.site.lines)
        elif getattr(fun, "__code__", None) not in frame.f_code.co_consts:
            now.captured = self.captured
        return now
