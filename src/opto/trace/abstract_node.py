"""`AbstractNode`: a named value with a place in the graph.

Name, parents, children, copying and pickling live here; feedback, descriptions and kinds of nodes
in `nodes`. A node keeps its past alive, never its future: children are weak references.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from threading import RLock
from typing import Any, Generic, TypeVar
from weakref import ref

from opto.show import text_of
from opto.trace.context import GRAPH, USED_NODES
from opto.trace.formatted import remember_printed
from opto.trace.records import (
    DEPENDS,
    DETACHED,
    Children,
    Operation,
    RareAttributes,
    WatchedChildren,
    copied_rare,
    look_again,
    scoped,
)
from opto.trace.saving.flat_pickle import reduce_node

__all__ = ["RARE_LOCK", "AbstractNode", "add_child", "link_to_parents", "named_inputs"]

T = TypeVar("T")
_CHILDREN_LOCK = RLock()  # re-entrant: a finalizer run inside may make nodes
RARE_LOCK = RLock()
_new = object.__new__


def link_to_parents(self: Any) -> None:
    """Work out the level of `self` from its inputs, and make it their child."""
    level = flags = 0
    me = ref(self)
    for parent in self._inputs:
        if parent._level >= level:
            level = parent._level + 1
        flags |= parent._flags
        if parent._children is None:  # no other thread can come between these two lines on builds with a GIL
            parent._children = me
        elif parent._children is not me:
            add_child(parent, me)
    self._level = level
    self._flags = flags & DEPENDS


def add_child(parent: Any, me: ref[Any]) -> None:
    """Note a further child of `parent`."""
    with _CHILDREN_LOCK:
        kids = parent._children
        if type(kids) is WatchedChildren:
            _note_what_it_saw(parent, kids, me())
        elif type(kids) is not Children:
            if kids is None or kids() is None:
                parent._children = me
                return
            parent._children = kids = Children((kids,))
            kids.limit = 16
        if not kids or kids[-1] is not me:
            if len(kids) >= kids.limit:
                kids.sweep()
            kids.append(me)


def _note_what_it_saw(parent: Any, kids: WatchedChildren, child: Any) -> None:
    """Note the value that a call saw of a parent which the program has changed since it was made."""
    if hasattr(child._op.info, "__self__"):  # an operator, which looks at nothing before, and changes no input
        look_again((parent,))
    if kids.now is not kids.first:
        rare = child._rare_attributes()
        rare.saw = {**(rare.saw or {}), id(parent): kids.now}


class AbstractNode(Generic[T]):
    """A named record of a value and its place in the graph."""

    __slots__ = ("__weakref__", "_children", "_data", "_index", "_op", "_rare")
    _data: T
    _op: Operation
    _index: int
    _children: Any
    _rare: RareAttributes | None
    # Roots have none of these of their own; MessageNode stores them.
    _inputs: tuple[Any, ...] = ()
    _level: int = 0
    _flags: int = 0

    def __init__(self, value: Any, *, name: str | None = None) -> None:
        self._children = self._rare = None
        if isinstance(value, AbstractNode):
            name = name or value._op.base
            value = value._data
        self._data = value
        self._op = scoped(Operation(name or type(value).__name__, f"[{type(self).__name__}]"))
        GRAPH.register(self)

    def _rare_attributes(self) -> RareAttributes:
        if self._rare is None:
            with RARE_LOCK:  # two threads must not each make one: what the first noted would be lost
                if self._rare is None:
                    self._rare = RareAttributes()
        return self._rare

    @property
    def data(self) -> T:
        """The value. Reading it inside a bundled function counts as using the node."""
        used = USED_NODES.get()
        if used is not None:
            used.add(self)
        return self._data

    @data.setter
    def data(self, value: object) -> None:
        raise AttributeError(
            f"The value of {self.name} is read-only, as other nodes were made from it: make a new node, "
            "or, for a parameter, call its _set(value) as optimizers do."
        )

    def _data_seen(self) -> Any:
        """The value as it was when the node was made, for prompts: the program may have changed it since."""
        kids = self._children
        return kids.first.value_then(self._data) if type(kids) is WatchedChildren else self._data

    @property
    def name(self) -> str:
        """`base:number`, unique until `GRAPH.clear()`."""
        rare = self._rare
        return f"{self._op.base}:{self._index}" if rare is None or rare.name is None else rare.name

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
        self._rare_attributes().name = name

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
            refs = [] if kids is None else list(kids) if isinstance(kids, Children) else [kids]
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
        beginning = f"{self._label()}: ({self.name}, dtype="
        remember_printed(self.name, beginning)
        return f"{beginning}{type(self._data)}, data={text_of(self._data)})"

    def __repr__(self) -> str:
        text = f"<{type(self).__name__} {self.name}>"
        remember_printed(self.name, text)
        return text

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
        twin._rare = copied_rare(self._rare)
        GRAPH.register(twin)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """The node alone: same class and a deep copy of the value, no parents, children or feedback."""
        twin = _new(type(self))
        memo[id(self)] = twin
        twin._children = None
        twin._rare = copied_rare(self._rare, memo)
        twin._op = self._op.renamed(f"{self.py_name}_copy", keys=(), info=None)
        twin._relink(((), 0, 0))
        if hasattr(self, "__dict__"):
            vars(twin).update(copy.deepcopy(vars(self), memo))
        twin._data = copy.deepcopy(self._data, memo)
        GRAPH.register(twin)
        return twin

    def _links(self) -> tuple[Any, ...] | None:
        """Inputs, level and flags, from which `_relink` restores the place in the graph; None for a root."""
        return None

    def _relink(self, links: Any) -> None:
        """Take the place in the graph that `_links` gave."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reduce_node(self)

    @classmethod
    def _unpickled(cls, state: dict[str, Any]) -> Any:
        """The node that `flat_pickle` wrote, under its old name."""
        self = _new(cls)
        self._op = _operation_again(*state.pop("op"))
        self._children = self._rare = None
        for key, value in state.pop("more", {}).items():
            setattr(self._rare_attributes(), key, value)
        if "dict" in state:
            vars(self).update(state.pop("dict"))
        self._relink(state.pop("links", None))
        for key, value in state.items():
            setattr(self, key, value)
        return self


@lru_cache(maxsize=1_024)
def _operation_again(base: str, description: str, keys: tuple[str, ...], fun_name: str) -> Operation:
    """The operation of unpickled nodes, shared as it was before; its name may be one that programs cannot give."""
    return Operation("unpickled", description, keys=keys, fun_name=fun_name).renamed(base)


def named_inputs(inputs: Any) -> dict[str, Any]:
    """Name -> node, from such a mapping or a list of nodes; AssertionError for anything else."""
    if isinstance(inputs, list) and all(isinstance(n, AbstractNode) for n in inputs):
        inputs = {n.name: n for n in inputs}
    assert isinstance(inputs, Mapping), "inputs is a dict of name -> Node, or a list of Nodes."
    assert all(isinstance(n, AbstractNode) for n in inputs.values()), "Each of the inputs is a Node."
    return dict(inputs)
