"""What is known of a bundled function: its options, its name, its text, and the `info` of the nodes it makes.

Static facts are gathered when first asked for; per-call facts are derived from the node itself, so a call stores none.
Imports: nodes, and the parts that read functions.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from opto.deferred import Deferred
from opto.trace.bundle.binding import Plan
from opto.trace.bundle.error_comments import Failure
from opto.trace.bundle.naming import CODE_NAME, EVAL, EVAL_TEXT, describe, qualified_name
from opto.trace.bundle.source import CallSite, Source, code_of, source_of
from opto.trace.containers import RESERVED
from opto.trace.nodes import Operation
from opto.trace.projections.projection import Projection

if TYPE_CHECKING:
    import inspect
else:
    inspect = Deferred("inspect")

__all__ = ["About", "Facts", "FailureFacts", "Options"]


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


class About:
    """A bundled function as it was written, shared by all copies; `site` is where `bundle` was called."""

    __slots__ = ("_facts", "_site", "_source", "description", "fun", "name", "options", "qualname")

    def __init__(self, fun: Callable[..., Any], options: Options, site: CallSite | None = None) -> None:
        self.fun = fun
        self.options = options
        self.qualname = qualified_name(fun)
        self.name, self.description = describe(fun, options.description)
        self._site = site
        self._source: Source | None = None
        self._facts: dict[str, Any] | None = None

    @property
    def source(self) -> Source | None:
        """The text of the function after its bundle decorator; None if there is none to be found."""
        if self._source is None:
            self._source = source_of(self.fun, self._site)
        return self._source

    @property
    def code(self) -> CodeType | None:
        """The function's own code object, below any wrappers."""
        return code_of(self.fun)

    @property
    def storage_key(self) -> str:
        """The attribute under which an instance keeps its own copy of this method."""
        custom = "" if self.options.description is None else f":{self.qualname}"
        return f"{RESERVED}bundle_{self.name}{custom}"

    @property
    def place(self) -> str:
        """Tells methods of equally named classes apart."""
        return f"{getattr(self.fun, '__module__', '')}:{self.code.co_firstlineno if self.code else 0}"

    def written_in(self, owner: type, name: str) -> bool:
        """Whether the function stands in the body of this class (and was not put there from elsewhere)."""
        return getattr(self.fun, "__qualname__", "") == f"{owner.__qualname__}.{name}"

    @property
    def node_name(self) -> str:
        """The operator name of the nodes that it makes."""
        return EVAL if self.options.trainable else self.name

    @property
    def facts(self) -> dict[str, Any]:
        """The static part of `info`."""
        if self._facts is None:
            self._facts = self._gather()
        return self._facts

    def _gather(self) -> dict[str, Any]:
        source = self.source
        doc = getattr(self.fun, "__doc__", None)
        try:
            signature: inspect.Signature | None = inspect.signature(self.fun)
        except ValueError:
            signature = None
        return {
            "fun": self.fun,
            "fun_name": self.qualname,
            "_fun_name": getattr(self.fun, "__name__", self.qualname),
            "doc": inspect.cleandoc(doc) if doc else "",
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

    def operation(self, plan: Plan) -> Operation:
        """That of the nodes which calls of this shape make."""
        info = Facts(self, plan)
        if self.options.trainable:
            return Operation(EVAL, EVAL_TEXT, keys=(*plan.keys, CODE_NAME), fun_name=EVAL, info=info)
        base = self.options.output_name or self.name
        return Operation(base, self.description, keys=plan.keys, fun_name=self.qualname, info=info)


class Facts:
    """Derives the `info` of a node that a call of this shape made."""

    __slots__ = ("_about", "_given", "_keys")

    def __init__(self, about: About, plan: Plan) -> None:
        self._about = about
        self._keys = plan.keys
        self._given = plan.given

    def __call__(self, node: Any) -> dict[str, Any]:
        more = node._more
        inner = None if more is None else more.output
        return self.filled(
            [given._data for given in node._inputs[: len(self._keys)]],
            node._data if inner is None else inner,
            [] if more is None else list(more.external),
        )

    def filled(self, values: list[Any], output: Any, external: list[Any]) -> dict[str, Any]:
        """The info of a call whose body got `values`."""
        about, given = self._about, self._given
        return {
            **about.facts,
            "fun_name": EVAL if about.options.trainable else about.qualname,
            "inputs": {"args": values[:given], "kwargs": dict(zip(self._keys[given:], values[given:], strict=False))},
            "output": output,
            "external_dependencies": external,
        }


class FailureFacts:
    """Derives the `info` of the exception node of a call, texts included."""

    __slots__ = ("_facts", "_failure", "_known")

    def __init__(self, facts: Facts, failure: Failure) -> None:
        self._facts = facts
        self._failure = failure
        self._known: dict[str, Any] | None = None

    def __call__(self, node: Any) -> dict[str, Any]:
        if self._known is None:
            facts = self._facts(node)
            comment = self._failure.comment(otherwise=facts["source"])
            self._known = {**facts, "output": None, "error_comment": comment, "traceback": self._failure.traceback()}
        return self._known
