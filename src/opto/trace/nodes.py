"""Nodes: the records of the tape.

`node(value)` wraps a value; operators and bundled functions make `MessageNode`s
that remember what they were made of. A node stores its value, its operation
and its inputs; everything else (name, parents, children, info, description) is
a view worked out when somebody asks. Methods such as `+` or `.split()` are
attached by `opto.trace.methods`, `backward` by `opto.trace.backward`.

Memory: a node keeps its past alive, never its future; `children` is a view over
weak references.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import RLock
from typing import Any, Generic, TypeVar
from warnings import warn
from weakref import ref

from opto.errors import ExecutionError
from opto.trace.context import TRACING, USED_NODES
from opto.trace.flat_pickle import reduce_node
from opto.trace.projections.projection import Projection
from opto.trace.registry import COUNTERS, GRAPH, NAME_SCOPES, Graph, next_index

__all__ = [
    "GRAPH",
    "IDENTITY_OPERATORS",
    "NAME_SCOPES",
    "USED_NODES",
    "AbstractNode",
    "ExceptionNode",
    "Extras",
    "Graph",
    "MessageNode",
    "Node",
    "Operation",
    "ParameterNode",
    "get_op_name",
    "link",
    "node",
    "root_operation",
    "wrap",
]

T = TypeVar("T")
IDENTITY_OPERATORS = ("identity", "clone")

DEPENDS = 1  # a parameter is among the ancestors
DONE = 2  # feedback went through; a second backward is refused
DETACHED = 4  # gone from its parents' children

_PREFIX = re.compile(r"^\[([^\[\]]+)\]")
_CHILDREN_LOCK = RLock()  # re-entrant: a finalizer run inside may make nodes


def get_op_name(description: str) -> str:
    """The operator named in a description: `get_op_name("[add] sum")` is `"add"`.

    Raises AssertionError if it is not a string, ValueError if there is no `[op]` prefix.
    """
    assert isinstance(description, str), f"A description is a string, not {type(description).__name__}."
    match = _PREFIX.match(description)
    if match is None:
        raise ValueError(f"The description {description!r} does not start with an operator name such as '[add] ...'.")
    return match.group(1)


class Operation:
    """What made a node: shared by all nodes that one call shape of a function makes.

    `base` is the base of their names, `description` starts with `[op]`, `keys` name the inputs in
    order, `fun_name` is shown in call texts, `info(node)` derives the node's info.
    """

    __slots__ = ("base", "description", "fun_name", "info", "keys")

    def __init__(
        self,
        base: str,
        description: str,
        *,
        keys: tuple[str, ...] = (),
        fun_name: str | None = None,
        info: Callable[[Any], Any] | None = None,
    ) -> None:
        assert ":" not in base, f"The name {base!r} contains ':', which separates a name from its number."
        self.base = f"{NAME_SCOPES[-1]}/{base}" if NAME_SCOPES else base
        self.description = description
        self.keys = keys
        self.fun_name = fun_name or base
        self.info = info

    def renamed(self, base: str, **changes: Any) -> Operation:
        """The same operation under another base name (the current scope is not added)."""
        twin = copy.copy(self)
        twin.base = base
        for key, value in changes.items():
            setattr(twin, key, value)
        return twin


class Extras:
    """What few nodes have; made when first needed."""

    __slots__ = ("external", "feedback", "hidden", "info", "name", "output", "projections", "trainable")

    def __init__(self) -> None:
        self.feedback: defaultdict[Any, list[Any]] | None = None
        self.info: Any = None
        self.name: str | None = None
        self.trainable: bool | None = None
        self.projections: list[Projection] | None = None
        self.external: list[Any] = []
        self.output: Any = None
        self.hidden: frozenset[Any] = frozenset()


class _Children(list["ref[Any]"]):
    """Weak references to children; `limit` is the length at which dead ones are swept."""

    __slots__ = ("limit",)

    def sweep(self) -> None:
        self[:] = [r for r in self if (child := r()) is not None and not child._flags & DETACHED]
        self.limit = 2 * len(self) + 16


_ROOTS: dict[str, Operation] = {}
_new = object.__new__


def root_operation(base: str) -> Operation:
    """The operation of an unnamed raw value of the type named `base`."""
    if NAME_SCOPES:
        return Operation(base, "[Node]")
    known = _ROOTS.get(base)
    if known is None:
        known = _ROOTS[base] = Operation(base, "[Node]")
        if len(_ROOTS) > 10_000:  # a program that makes classes without end
            _ROOTS.clear()
    return known


def wrap(data: Any, op: Operation | None = None) -> Node[Any]:
    """A fresh plain Node holding the raw value `data`; the fast way for arguments and constants."""
    self = _new(Node)
    if op is None:
        base = type(data).__name__
        op = _ROOTS.get(base)
        if op is None or NAME_SCOPES:
            op = root_operation(base)
    self._data = data
    self._op = op
    counter = COUNTERS.get(op.base)
    self._index = next(counter) if counter is not None else next_index(op.base)
    self._children = self._more = None
    if GRAPH.nodes is not None:
        GRAPH.store(self)
    return self


def link(op: Operation, data: Any, inputs: tuple[Any, ...]) -> MessageNode[Any]:
    """A MessageNode made by `op` from the nodes `inputs` (parallel to `op.keys`); unlinked while tracing is off."""
    self = _new(MessageNode)
    self._data = data
    self._op = op
    counter = COUNTERS.get(op.base)
    self._index = next(counter) if counter is not None else next_index(op.base)
    self._children = self._more = None
    self._inputs = inputs if TRACING.get() else ()
    if self._inputs:
        _attach(self)
    else:
        self._level = self._flags = 0
    if GRAPH.nodes is not None:
        GRAPH.store(self)
    return self


def _attach(self: MessageNode[Any]) -> None:
    level = flags = 0
    me = ref(self)
    with _CHILDREN_LOCK:
        for parent in self._inputs:
            if parent._level >= level:
                level = parent._level + 1
            flags |= parent._flags
            if parent._children is None:
                parent._children = me
            elif parent._children is not me:
                _add_child(parent, parent._children, me)
    self._level = level
    self._flags = flags & DEPENDS


def _add_child(parent: Any, kids: Any, me: ref[Any]) -> None:
    if type(kids) is not _Children:
        if kids() is None:
            parent._children = me
            return
        parent._children = kids = _Children((kids,))
        kids.limit = 16
    if kids[-1] is not me:
        if len(kids) >= kids.limit:
            kids.sweep()
        kids.append(me)


class AbstractNode(Generic[T]):
    """A named record of a value and its place in the graph."""

    __slots__ = ("__weakref__", "_children", "_data", "_index", "_more", "_op")
    _data: T
    _op: Operation
    _index: int
    _children: Any
    _more: Extras | None
    # Roots have none of these of their own; MessageNode stores them.
    _inputs: tuple[Any, ...] = ()
    _level: int = 0
    _flags: int = 0

    def __init__(self, value: T, *, name: str | None = None) -> None:
        self._children = self._more = None
        if isinstance(value, AbstractNode):
            name = name or value._op.base
            value = value._data
        self._data = value
        self._op = Operation(name or type(value).__name__, f"[{type(self).__name__}]")
        GRAPH.register(self)

    def _extras(self) -> Extras:
        if self._more is None:
            self._more = Extras()
        return self._more

    @property
    def data(self) -> T:
        """The value. Reading it inside a bundled function counts as using the node."""
        used = USED_NODES.get()
        if used is not None:
            used.add(self)
        return self._data

    @property
    def name(self) -> str:
        """`base:number`, unique until `GRAPH.clear()`."""
        more = self._more
        return f"{self._op.base}:{self._index}" if more is None or more.name is None else more.name

    @property
    def py_name(self) -> str:
        """The name without its colon, as prompts show it: `x0`."""
        return self.name.replace(":", "")

    @property
    def id(self) -> str:
        """The number in the name, as text."""
        return self.name.split(":")[1]

    @property
    def _name(self) -> str:
        return self.name

    @_name.setter
    def _name(self, name: str) -> None:
        self._extras().name = name

    @property
    def level(self) -> int:
        """0 for a root, else 1 + the highest level among the parents."""
        return self._level

    @property
    def parents(self) -> list[Any]:
        """The nodes this one was made from, each once, in order."""
        return list({id(parent): parent for parent in self._inputs}.values())

    @property
    def children(self) -> list[Any]:
        """The living nodes made from this one that still await backward, in order of making."""
        if self._flags & DETACHED:
            return []
        with _CHILDREN_LOCK:
            kids = self._children
            refs = [] if kids is None else list(kids) if type(kids) is _Children else [kids]
        return [child for r in refs if (child := r()) is not None and not child._flags & DETACHED]

    @property
    def is_root(self) -> bool:
        """Whether it has no parents."""
        return not self._inputs

    @property
    def is_leaf(self) -> bool:
        """Whether it has no children."""
        return not self.children

    def _set(self, value: Any) -> None:
        """Replace the value in place (a node gives its value)."""
        self._data = value._data if isinstance(value, AbstractNode) else value

    def __str__(self) -> str:
        return f"{self._label()}: ({self.name}, dtype={type(self._data)}, data={self._data})"

    def _label(self) -> str:
        return "Node"

    def __copy__(self) -> Any:
        """A second record of the same value, operation and inputs, under a name of its own."""
        twin = _new(type(self))
        for cls in type(self).__mro__:
            for slot in cls.__dict__.get("__slots__", ()):
                if slot != "__weakref__" and hasattr(self, slot):
                    object.__setattr__(twin, slot, getattr(self, slot))
        if hasattr(self, "__dict__"):
            vars(twin).update(vars(self))
        twin._children = None
        twin._more = _copy_extras(self._more)
        GRAPH.register(twin)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """The node alone: same class and a deep copy of the value, no parents, children or feedback."""
        twin = _new(type(self))
        memo[id(self)] = twin
        twin._children = None
        twin._more = _copy_extras(self._more)
        twin._op = self._op.renamed(f"{self.py_name}_copy", keys=(), info=None)
        if isinstance(twin, MessageNode):
            twin._inputs, twin._level, twin._flags = (), 0, 0
        if hasattr(self, "__dict__"):
            vars(twin).update(copy.deepcopy(vars(self), memo))
        twin._data = copy.deepcopy(self._data, memo)
        GRAPH.register(twin)
        return twin

    def _links(self) -> tuple[Any, ...] | None:
        """What `_unpickled` needs to restore the place in the graph; None for a root."""
        return None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reduce_node(self)

    @classmethod
    def _unpickled(cls, state: dict[str, Any]) -> Any:
        """The node that `flat_pickle` wrote, under its old name."""
        self = _new(cls)
        base, description, keys, fun_name = state.pop("op")
        self._op = Operation("unpickled", description, keys=keys, fun_name=fun_name).renamed(base)
        self._children = self._more = None
        for key, value in state.pop("more", {}).items():
            setattr(self._extras(), key, value)
        if "dict" in state:
            vars(self).update(state.pop("dict"))
        linked = state.pop("links", None)
        if linked is not None:
            self._inputs, self._level, self._flags = linked
        for key, value in state.items():
            setattr(self, key, value)
        if self._inputs:
            flags = self._flags
            _attach(self)
            self._flags |= flags
        return self


def _copy_extras(more: Extras | None) -> Extras | None:
    if more is None or (more.info is None and more.trainable is None and more.projections is None):
        return None
    twin = Extras()
    twin.info, twin.trainable = more.info, more.trainable
    twin.projections = None if more.projections is None else list(more.projections)
    return twin


def _described(description: str | None, cls: str) -> str:
    """The full text of a description: it always starts with `[op]`."""
    assert description is None or type(description) is str, "A description is a string or None."
    if not description:
        return f"[{cls}]"
    return description if _PREFIX.match(description) else f"[{cls}] {description}"


class Node(AbstractNode[T]):
    """A value on the tape. Compare and compute with it as with the value; see the tutorial of operators in the docs.

    Example:
        >>> x = Node(2, name="x")
        >>> y = x * 3 + 1
        >>> y.data, y.name, [p.name for p in y.parents]
        (7, 'add:0', ['multiply:0', 'int:1'])
    """

    __slots__ = ()

    def __init__(
        self,
        value: Any,
        *,
        name: str | None = None,
        trainable: bool = False,
        description: str | None = None,
        info: Any = None,
    ) -> None:
        text = _described(description, type(self).__name__)
        super().__init__(value, name=name)
        self._op.description = text
        if trainable is not self.trainable:
            self.trainable = trainable
        if info is not None:
            self.info = info

    @property
    def feedback(self) -> Any:
        """What was propagated here: child node -> list of feedback objects."""
        more = self._extras()
        if more.feedback is None:
            more.feedback = defaultdict(list)
        return more.feedback

    def zero_feedback(self) -> None:
        """Forget all feedback."""
        if self._more is not None:
            self._more.feedback = None

    def _add_feedback(self, child: Any, feedback: Any) -> None:
        self.feedback[child].append(feedback)

    @property
    def trainable(self) -> bool:
        """Whether an optimizer may change the value."""
        more = self._more
        return self._trainable_by_default() if more is None or more.trainable is None else more.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._extras().trainable = value

    def _trainable_by_default(self) -> bool:
        return False

    @property
    def info(self) -> Any:
        """Facts about the call that made this node; None for plain values."""
        if self._more is not None and self._more.info is not None:
            return self._more.info
        return None if self._op.info is None else self._op.info(self)

    @info.setter
    def info(self, value: Any) -> None:
        self._extras().info = value

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
        return _PREFIX.sub("", self._op.description, count=1).strip() or None

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
    """A value that an optimizer may change; `projections` say what a new value must satisfy."""

    __slots__ = ()
    _flags = DEPENDS

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

    def _trainable_by_default(self) -> bool:
        return True

    @property
    def projections(self) -> list[Projection]:
        """Applied in order to each proposed value."""
        more = self._extras()
        if more.projections is None:
            more.projections = []
        return more.projections

    @projections.setter
    def projections(self, projections: list[Projection]) -> None:
        assert isinstance(projections, list), "projections is a list of Projection objects."
        assert all(isinstance(p, Projection) for p in projections), "Each of the projections is a Projection object."
        self._extras().projections = projections

    def _label(self) -> str:
        return "ParameterNode"


def _named_inputs(inputs: Any) -> dict[str, Any]:
    if isinstance(inputs, list):
        inputs = {n.name: n for n in inputs if isinstance(n, Node)} if all(isinstance(n, Node) for n in inputs) else None
    assert isinstance(inputs, Mapping), "inputs is a dict of name -> Node, or a list of Nodes."
    assert all(isinstance(n, Node) for n in inputs.values()), "Each of the inputs is a Node."
    return dict(inputs)


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
        named = _named_inputs(inputs)
        assert TRACING.get() or not named, "Tracing is stopped: a MessageNode made now has no inputs."
        self._inputs, self._level, self._flags = tuple(named.values()), 0, 0
        super().__init__(value, name=name, description=description, info=info)
        self._op.keys = tuple(named)
        if named:
            _attach(self)

    def _links(self) -> tuple[Any, ...]:
        return self._inputs, self._level, self._flags

    @property
    def inputs(self) -> dict[str, Any]:
        """Input name -> node, in the order of the call; a fresh dict."""
        return dict(zip(self._op.keys, self._inputs, strict=False)) if self._inputs else {}

    @property
    def hidden_dependencies(self) -> frozenset[Any]:
        """Parameters used inside a traceable call that were not among its inputs."""
        return frozenset() if self._more is None else self._more.hidden

    def _add_feedback(self, child: Any, feedback: Any) -> None:
        super()._add_feedback(child, feedback)
        assert len(self.feedback[child]) == 1, f"{self.name} got feedback twice from its child {child.name}."

    def _label(self) -> str:
        return "MessageNode"


_BUILTINS = {"builtins", "__builtin__"}


def exception_text(error: BaseException) -> str:
    """`(Type) message`; the type is module-qualified unless it is a builtin. An ExecutionError speaks for its cause."""
    if isinstance(error, ExecutionError):
        return str(error.exception_node._data)
    cls = type(error)
    name = cls.__name__ if cls.__module__ in _BUILTINS else f"{cls.__module__}.{cls.__name__}"
    return f"({name}) {error}"


class ExceptionNode(MessageNode[str]):
    """What a failed call leaves: its value is the text `(Type) message`, its inputs those of the call."""

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
        text = exception_text(value) if isinstance(value, BaseException) else str(value)
        description = description or "[exception] A call failed; the value says how."
        super().__init__(text, inputs=inputs, description=description, name=name or "exception", info=info)

    def create_feedback(self, style: str = "simple") -> str:
        """The error as feedback: `"simple"` one line, `"full"` the commented source where there is one."""
        assert style in ("simple", "full"), f"style is 'simple' or 'full', not {style!r}."
        info = self.info
        if style == "full" and isinstance(info, dict) and "error_comment" in info:
            return str(info["error_comment"])
        return self._data


def failure(op: Operation, error: Exception, inputs: Iterable[Any], info: Any = None) -> ExecutionError:
    """The ExecutionError to raise when the call `op(*inputs)` ended in `error`."""
    named = dict(zip(op.keys, inputs, strict=False)) if TRACING.get() else {}
    name = get_op_name(op.description)
    text = f"[exception] The operator {name} raised an exception instead of returning a value."
    return ExecutionError(ExceptionNode(error, inputs=named, description=text, name=f"exception_{name}", info=info))


def node(
    data: Any,
    name: str | None = None,
    trainable: bool = False,
    description: str | None = None,
    *,
    constraint: str | None = None,
) -> Any:
    """Wrap a value: a ParameterNode if `trainable`, else a Node (a Node is returned as it is).

    `constraint` is an older spelling of `description`. A trainable node made from a node shares its value.

    Example:
        >>> p = node("Be brief.", name="prompt", trainable=True)
        >>> p.name, p.trainable
        ('prompt:0', True)
    """
    assert description is None or type(description) is str, "A description is a string or None."
    if constraint is not None:
        description = constraint if description is None else f"{description} {constraint}"
    if trainable:
        return ParameterNode(data, name=name, description=description)
    if isinstance(data, Node):
        if name is not None:
            warn(f"{data.name} is a node already: the name {name!r} is ignored.", stacklevel=2)
        return data
    return Node(data, name=name, description=description) if name or description else wrap(data)
