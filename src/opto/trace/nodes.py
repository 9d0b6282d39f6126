"""Nodes: the records of the tape.

`node(value)` wraps a value; operators and bundled functions make `MessageNode`s
that remember what they were made of. A node stores its value, its operation
and its inputs; everything else (name, parents, children, info, description) is
a view worked out when somebody asks. Methods such as `+` or `.split()` are
attached by `opto.trace.operators.methods`, `backward` by `opto.trace.backward`.

Memory: a node keeps its past alive, never its future; `children` is a view over
weak references.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar
from warnings import warn

from opto.evidence import NEVER_CHANGES
from opto.execution import SuggestedText
from opto.registry import implementation
from opto.show import text_of
from opto.trace.abstract_node import RARE_LOCK, AbstractNode, link_to_parents, named_inputs
from opto.trace.context import COUNTERS, GRAPH, NAME_SCOPES, TRACING, USED_NODES, Graph, next_index
from opto.trace.formatted import ACTIVE, LINKABLE, recognised
from opto.trace.records import (
    BUILTIN_ROOTS,
    CODE_NAME,
    DEPENDS,
    Operation,
    RareAttributes,
    described,
    exception_text,
    get_op_name,
    root_operation,
    scoped,
    texts_of,
    type_operation,
    watch,
    without_prefix,
)
from opto.trace.spaces.space import Projection, Space, settled
from opto.trace.value_methods import ValueMethods

if TYPE_CHECKING:
    from opto.trace.pictures.style import NodeVizStyleGuide, NodeVizStyleGuideColorful

__all__ = [
    "GRAPH",
    "IDENTITY_OPERATORS",
    "NAME_SCOPES",
    "USED_NODES",
    "AbstractNode",
    "ExceptionNode",
    "Graph",
    "MessageNode",
    "Node",
    "NodeVizStyleGuide",
    "NodeVizStyleGuideColorful",
    "Operation",
    "ParameterNode",
    "RareAttributes",
    "ancestors_by_level",
    "get_op_name",
    "make_argument",
    "make_constant",
    "make_exception_node",
    "make_message_node",
    "make_watched",
    "node",
    "root_operation",
]

T = TypeVar("T")
IDENTITY_OPERATORS = ("identity", "clone")
_USER_TEXTS_KEPT = 16
_new = object.__new__


def __getattr__(name: str) -> Any:
    """The style guides of pictures, which programs import from here; the tape itself draws nothing."""
    if name in ("NodeVizStyleGuide", "NodeVizStyleGuideColorful"):
        return implementation(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make_constant(data: Any, op: Operation | None = None) -> Node[Any]:
    """A fresh plain Node holding the raw value `data`; the fast way for constants."""
    self = _new(Node)
    if op is None:
        op = BUILTIN_ROOTS.get(type(data))
        if op is None:
            return make_watched(data, type_operation(type(data)))
    if NAME_SCOPES:
        op = scoped(op)
    self._data = data
    self._op = op
    counter = COUNTERS.get(op.base)
    self._index = next(counter) if counter is not None else next_index(op.base)
    self._children = self._rare = None
    if GRAPH.nodes is not None:
        GRAPH.store(self)
    return self


def make_watched(data: Any, op: Operation) -> Node[Any]:
    """A constant whose value the program may change: what it is now is remembered."""
    self = make_constant(data, op)
    watch(self)
    return self


def make_argument(data: Any, op: Operation | None = None) -> Node[Any]:
    """The node of the raw argument of a call: that of a `format` if `data` holds texts of nodes, else a constant."""
    if ACTIVE and type(data) in LINKABLE:
        found = recognised(data)
        if found is not None:
            return implementation("node of a text made of nodes")(found)  # type: ignore[no-any-return]
    return make_constant(data, op) if op is None or type(data) in NEVER_CHANGES else make_watched(data, op)


def make_message_node(op: Operation, data: Any, inputs: tuple[Any, ...]) -> MessageNode[Any]:
    """A MessageNode made by `op` from the nodes `inputs` (parallel to `op.keys`); unlinked while tracing is off."""
    self = _new(MessageNode)
    if NAME_SCOPES:
        op = scoped(op)
    self._data = data
    self._op = op
    counter = COUNTERS.get(op.base)
    self._index = next(counter) if counter is not None else next_index(op.base)
    self._children = self._rare = None
    if type(data) not in NEVER_CHANGES:
        watch(self)
    self._level = self._flags = 0  # before `link_to_parents`: from there on other threads see this child
    self._inputs = inputs if TRACING.get() else ()
    if self._inputs:
        link_to_parents(self)
    if GRAPH.nodes is not None:
        GRAPH.store(self)
    return self


def make_exception_node(
    error: Exception, name: str, keys: Iterable[str], inputs: Iterable[Any], info: Any = None
) -> ExceptionNode:
    """The node that a failed call of the operator `name` leaves; without inputs while tracing is off."""
    return ExceptionNode(
        error,
        inputs=dict(zip(keys, inputs, strict=False)) if TRACING.get() else {},
        description=f"[exception] The operator {name} raised an exception instead of returning a value.",
        name=f"exception_{name}",
        info=info,
    )


class Node(ValueMethods, AbstractNode[T]):
    """A value on the tape. Operators, indices and the methods below give nodes; `call` reaches the value's own.

    Example:
        >>> x = Node(2, name="x")
        >>> y = x * 3 + 1
        >>> y.data, y.name, [p.name for p in y.parents]
        (7, 'add:0', ['multiply:0', 'int:1'])
    """

    __slots__ = ()
    _trainable_by_default = False

    def __init__(
        self,
        value: Any,
        *,
        name: str | None = None,
        trainable: bool = False,
        description: str | None = None,
        info: Any = None,
    ) -> None:
        text = described(description, type(self).__name__)
        super().__init__(value, name=name)
        self._op.description = text
        if trainable is not self.trainable:
            self.trainable = trainable
        if info is not None:
            self.info = info
        if not self._trainable_by_default:
            watch(self)

    @property
    def feedback(self) -> Any:
        """Child node -> the feedback objects that came from it."""
        rare = self._rare
        if rare is None or rare.feedback is None:
            with RARE_LOCK:  # threads that share a parameter must add to the same place
                if self._rare is None:
                    self._rare = RareAttributes()
                rare = self._rare
                if rare.feedback is None:
                    rare.feedback = defaultdict(list)
        return rare.feedback

    def zero_feedback(self) -> None:
        """Forget all feedback."""
        if self._rare is not None:
            self._rare.feedback = None

    def _add_feedback(self, child: Any, feedback: Any) -> None:
        self.feedback[child].append(feedback)

    @property
    def trainable(self) -> bool:
        """Whether an optimizer may change the value."""
        rare = self._rare
        return self._trainable_by_default if rare is None or rare.trainable is None else rare.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._rare_attributes().trainable = value

    @property
    def info(self) -> Any:
        """CallInfo about the call that made this node; None for plain values."""
        if self._rare is not None and self._rare.info is not None:
            return self._rare.info
        return None if self._op.info is None else self._op.info(self)

    @info.setter
    def info(self, value: Any) -> None:
        self._rare_attributes().info = value

    def _kept_info(self) -> dict[str, str] | None:
        """The info that a pickle takes along: texts that were given; the rest can be derived from the call."""
        return texts_of(None if self._rare is None else self._rare.info)

    @property
    def type(self) -> type[T]:
        """The type of the value."""
        return type(self._data)

    @property
    def _description(self) -> str:
        return self._op.description

    @_description.setter
    def _description(self, text: str) -> None:
        self._op = self._op.renamed(self._op.base, description=text)

    @property
    def description(self) -> str | None:
        """The description without its `[op]` prefix; None when nothing remains."""
        return without_prefix(self._op.description)

    @property
    def _constraint(self) -> str | None:
        """An older name of the description."""
        return self.description

    @property
    def op_name(self) -> str:
        """The operator named by the description's prefix."""
        return get_op_name(self._op.description)

    @property
    def parameter_dependencies(self) -> set[Any]:
        """The parameters among this node and its ancestors."""
        return {n for n in _past(self, DEPENDS) if isinstance(n, ParameterNode)}

    @property
    def expandable_dependencies(self) -> set[Any]:
        """The nodes among this one and its ancestors whose inner graph uses parameters they were not given."""
        return {n for n in _past(self, 0) if isinstance(n, MessageNode) and n.hidden_dependencies}

    def detach(self) -> Any:
        """A deep copy without its past: `copy.deepcopy(node)`."""
        return copy.deepcopy(self)

    def __eq__(self, other: object) -> Any:
        return self._data == (other.data if isinstance(other, Node) else other)

    def __ne__(self, other: object) -> Any:
        return self._data != (other.data if isinstance(other, Node) else other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return bool(self._data)

    def __len__(self) -> int:
        return len(self._data)  # type: ignore[arg-type]


def _past(start: Node[Any], needed: int) -> Iterator[Any]:
    """`start` and its ancestors, each once; only through nodes that carry the flag `needed` (0: all)."""
    seen, stack = {id(start)}, [start]
    while stack:
        current = stack.pop()
        yield current
        for parent in current._inputs:
            if id(parent) not in seen and parent._flags & needed == needed:
                seen.add(id(parent))
                stack.append(parent)


class ParameterNode(Node[T]):
    """A value that an optimizer may change; each proposed value goes through its `projections`."""

    __slots__ = ()
    _flags = DEPENDS
    _trainable_by_default = True

    def __init__(
        self,
        value: Any,
        *,
        name: str | None = None,
        trainable: bool = True,
        description: str | None = None,
        projections: list[Projection] | None = None,
        info: Any = None,
    ) -> None:
        super().__init__(value, name=name, trainable=trainable, description=description, info=info)
        if projections is not None:
            self.projections = projections
        if name == CODE_NAME or (isinstance(value, ParameterNode) and value.is_code):
            self._rare_attributes().code = True

    @property
    def projections(self) -> list[Projection]:
        """Applied in order to each proposed value."""
        rare = self._rare_attributes()
        rare.projections = [] if rare.projections is None else rare.projections
        return rare.projections

    @projections.setter
    def projections(self, projections: list[Projection]) -> None:
        assert isinstance(projections, list), "projections is a list of Projection objects."
        assert all(isinstance(p, Projection) for p in projections), "Each of the projections is a Projection object."
        self._rare_attributes().projections = projections

    @property
    def is_code(self) -> bool:
        """Whether the value is program text: that of a bundled function, or of a parameter with a `Code` space."""
        rare = self._rare
        if rare is None:
            return False
        return rare.code or any(isinstance(p, Space) and p.holds_code for p in rare.projections or ())

    def change(self, value: Any) -> None:
        """Write a value that an optimizer chose, and remember the one before; a program text is marked as such.

        `parameter._data = value`, written by hand, is the user's own value and marks nothing: a text that was written
        so is remembered, and stays the user's when it is put back.
        """
        rare: Any = self._rare_attributes()
        if rare.implementations is not None and isinstance(value, str):
            if type(self._data) is str:
                self._remember_user_texts([self._data])
            value = next((own for own in rare.user_texts if own == value), None) or SuggestedText(value)
        if value is not self._data:
            rare.previous = (self._data,)
            self._data = value

    def _user_texts(self) -> tuple[str, ...]:
        """The texts that the user wrote, of those that an optimizer replaced."""
        rare = self._rare
        return () if rare is None else rare.user_texts

    def _remember_user_texts(self, texts: Any) -> None:
        """Adds texts that the user wrote, so that they stay such when they are put back."""
        known = self._user_texts()
        fresh = [text for text in texts or () if type(text) is str and text not in known]
        if fresh:
            self._rare_attributes().user_texts = (*known, *fresh)[-_USER_TEXTS_KEPT:]

    def rollback(self) -> bool:
        """Put back the value from before the last `change`; False if there was none, or it was put back already.

        >>> from opto.trace import node
        >>> x = node("Be brief.", trainable=True)
        >>> x.change("Be long.")
        >>> x.rollback(), x.data
        (True, 'Be brief.')
        """
        rare = self._rare_attributes()
        if rare.previous is None:
            return False
        (self._data,), rare.previous = rare.previous, None
        return True

    @contextmanager
    def trial(self, value: Any) -> Generator[None]:
        """Inside the block the parameter has this value, as if by `change`; after it the trial has left no trace.

        >>> from opto.trace import node
        >>> x = node("Be brief.", trainable=True)
        >>> with x.trial("Be long."):
        ...     print(x.data)
        Be long.
        >>> x.data, x.rollback()
        ('Be brief.', False)
        """
        rare = self._rare_attributes()
        before = self._data, rare.previous, rare.user_texts
        self.change(value)
        try:
            yield
        finally:
            self._data, rare.previous, rare.user_texts = before

    def fault(self) -> Exception | None:
        """Why the value, if it is the code of a bundled function, cannot be defined; None if it can."""
        implementations = self._rare_attributes().implementations
        if implementations is None:
            return None
        try:
            implementations.of(self._data)
        except Exception as error:  # noqa: BLE001 - defining it runs it
            return error
        return None

    def _label(self) -> str:
        return "ParameterNode"


class MessageNode(Node[T]):
    """A value computed from other nodes; `inputs` names them, `description` says by which operator."""

    __slots__ = ("_flags", "_inputs", "_level")
    _inputs: tuple[Any, ...]
    _level: int
    _flags: int

    def __init__(
        self,
        value: Any,
        *,
        inputs: dict[str, Any] | list[Any],
        description: str | None,
        name: str | None = None,
        info: Any = None,
    ) -> None:
        named = named_inputs(inputs)
        assert TRACING.get() or not named, "Tracing is stopped: a MessageNode made now has no inputs."
        self._inputs, self._level, self._flags = tuple(named.values()), 0, 0
        super().__init__(value, name=name, description=description, info=info)
        self._op.keys = tuple(named)
        if named:
            link_to_parents(self)

    def _links(self) -> tuple[Any, ...]:
        return self._inputs, self._level, self._flags

    def _relink(self, links: Any) -> None:
        self._inputs, self._level, self._flags = links
        if self._inputs:
            link_to_parents(self)
            self._flags |= links[2]

    @property
    def inputs(self) -> dict[str, Any]:
        """Input name -> node, in the order of the call; a fresh dict."""
        return dict(zip(self._op.keys, self._inputs, strict=False)) if self._inputs else {}

    @property
    def hidden_dependencies(self) -> frozenset[Any]:
        """Parameters used inside a traceable call that were not among its inputs."""
        return frozenset() if self._rare is None else self._rare.hidden

    def _add_feedback(self, child: Any, feedback: Any) -> None:
        super()._add_feedback(child, feedback)
        assert len(self.feedback[child]) == 1, f"{self.name} got feedback twice from its child {child.name}."

    def _label(self) -> str:
        return "MessageNode"


_level = attrgetter("_level")


def ancestors_by_level(output: Node[Any], needed: int) -> list[MessageNode[Any]]:
    """`output` and the calls before it, each once, every one before its parents.

    Roots are left out; so are nodes without the flag `needed` (0 takes all), `output` excepted.
    O(V + E), plus a sort by level that is linear on chains.
    """
    if not isinstance(output, MessageNode):
        return []
    found = [output]
    seen = {output}
    see, find = seen.add, found.append
    for current in found:
        for parent in current._inputs:
            if parent._inputs and parent not in seen and parent._flags & needed == needed:
                see(parent)
                find(parent)
    found.sort(key=_level, reverse=True)
    return found


class ExceptionNode(MessageNode[str]):
    """The node of a failed call: its value is the text `(Type) message`, its inputs are those of the call."""

    __slots__ = ()

    def __init__(
        self,
        value: Exception | str,
        *,
        inputs: dict[str, Any] | list[Any],
        description: str | None = None,
        name: str | None = None,
        info: Any = None,
    ) -> None:
        text = exception_text(value) if isinstance(value, BaseException) else text_of(value)
        description = description or "[exception] A call failed; the value says how."
        super().__init__(text, inputs=inputs, description=description, name=name or "exception", info=info)

    def _kept_info(self) -> dict[str, str] | None:
        return texts_of(self.info)  # nothing else tells where the call failed

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = super().__deepcopy__(memo)
        twin.info = twin.info or self._kept_info()
        return twin

    def create_feedback(self, style: str = "simple") -> str:
        """The error as feedback: `"simple"` one line, `"full"` the commented source where there is one."""
        assert style in ("simple", "full"), f"style is 'simple' or 'full', not {style!r}."
        info = self.info
        if style == "full" and isinstance(info, dict) and "error_comment" in info:
            return str(info["error_comment"])
        return self._data


def node(
    data: Any,
    name: str | None = None,
    trainable: bool = False,
    description: str | None = None,
    *,
    constraint: str | None = None,
    space: Space | None = None,
) -> Any:
    """Wrap a value: a ParameterNode if `trainable`, else a Node (a Node is returned as it is).

    `description` tells a model what a parameter must satisfy (`constraint` is an older spelling); `space` says which
    values it may take, and holds it to them (`opto.trace.spaces`). A trainable node made from a node shares its value.

    Example:
        >>> p = node("Be brief.", name="prompt", trainable=True)
        >>> p.name, p.trainable
        ('prompt:0', True)
    """
    assert description is None or type(description) is str, "A description is a string or None."
    if constraint is not None:
        description = constraint if description is None else f"{description} {constraint}"
    assert space is None or trainable, "A space is for what may change: write node(..., trainable=True, space=...)."
    if trainable:
        parameter: Any = ParameterNode(data, name=name, description=description)
        return parameter if space is None else settled(parameter, space)
    if isinstance(data, Node):
        if name is not None:
            warn(f"{data.name} is a node already: the name {name!r} is ignored.", stacklevel=2)
        return data
    return Node(data, name=name, description=description) if name or description else make_argument(data)
