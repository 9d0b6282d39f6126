"""The records behind nodes: how a node was made (`Operation`), its rare attributes, weak references to children.

Imports `context` only; `nodes` builds on it.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import ref

from opto.errors import ExecutionError
from opto.evidence import NEVER_CHANGES, Seen, seen
from opto.show import text_of
from opto.trace.context import NAME_SCOPES

__all__ = [
    "BUILTIN_ROOTS",
    "CODE_NAME",
    "DEPENDS",
    "DETACHED",
    "DONE",
    "WATCHED",
    "Children",
    "Operation",
    "RareAttributes",
    "WatchedChildren",
    "copied_rare",
    "described",
    "exception_text",
    "get_op_name",
    "look_again",
    "root_operation",
    "same_value",
    "scoped",
    "texts_of",
    "type_operation",
    "watch",
    "without_prefix",
]

CODE_NAME = "__code"
"""The base name of code parameters; programs that make one by hand say by this name that it is one."""

DEPENDS = 1  # a parameter is among the ancestors
DONE = 2  # feedback went through; a second backward is refused
DETACHED = 4  # gone from its parents' children


def _prefix_length(description: str) -> int:
    """How long the prefix `[op]` is; 0 if there is none."""
    end = description.find("]")
    return end + 1 if end > 1 and description.rfind("[", 0, end) == 0 else 0


def get_op_name(description: str) -> str:
    """The operator named in a description: `get_op_name("[add] sum")` is `"add"`.

    Raises AssertionError if it is not a string, ValueError if there is no `[op]` prefix.
    """
    assert isinstance(description, str), f"A description is a string, not {type(description).__name__}."
    length = _prefix_length(description)
    if not length:
        raise ValueError(f"The description {description!r} does not start with an operator name such as '[add] ...'.")
    return description[1 : length - 1]


def without_prefix(description: str) -> str | None:
    """A description without its `[op]` prefix; None when nothing remains."""
    return description[_prefix_length(description) :].strip() or None


class Operation:
    """How a node was made: shared by all nodes that one call shape of a function makes.

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
        assert isinstance(base, str), f"A name is a string, not {type(base).__name__}."
        assert ":" not in base, f"The name {base!r} contains ':', which separates a name from its number."
        self.base = base
        self.description = description
        self.keys = keys
        self.fun_name = fun_name or base
        self.info = info

    def renamed(self, base: str, **changes: Any) -> Operation:
        """The same operation under another base name."""
        twin = copy.copy(self)
        twin.base = base
        for key, value in changes.items():
            setattr(twin, key, value)
        return twin


class RareAttributes:
    """Attributes that few nodes have: made when first needed, holding only values that differ from these defaults."""

    feedback: defaultdict[Any, list[Any]] | None = None
    info: Any = None
    name: str | None = None
    trainable: bool | None = None
    projections: list[Any] | None = None
    code: bool = False
    external: Sequence[Any] = ()
    output: Any = None
    hidden: frozenset[Any] = frozenset()
    implementations: Any = None
    previous: tuple[Any] | None = None
    user_texts: tuple[str, ...] = ()
    saw: dict[int, Seen] | None = None


class Children(list["ref[Any]"]):
    """Weak references to children; `limit` is the length at which dead ones are swept."""

    __slots__ = ("limit",)

    def sweep(self) -> None:
        """Drop those that died or were detached."""
        self[:] = [r for r in self if (child := r()) is not None and not child._flags & DETACHED]
        self.limit = 2 * len(self) + 16


WATCHED: list[bool] = []
"""Not empty once a node holds a value that the program may change: before that no call looks for such nodes."""


class WatchedChildren(Children):
    """The children of a node whose value may change: `first` is what the value was, `now` what the last call saw."""

    __slots__ = ("first", "now")

    def __init__(self, first: Seen) -> None:
        super().__init__()
        self.limit = 16
        self.first = self.now = first


def watch(node: Any) -> None:
    """Remember the value of a new node as it is, if it is one that the program may change."""
    first = seen(node._data)
    if first is not None:
        node._children = WatchedChildren(first)
        if not WATCHED:
            WATCHED.append(True)


def look_again(inputs: Iterable[Any]) -> None:
    """Notice, before a call runs, which of its inputs have changed since they were last seen."""
    for node in inputs:
        kids = node._children
        if type(kids) is WatchedChildren and (now := kids.now.after(node._data)) is not None:
            kids.now = now


_COPIED = ("info", "trainable", "projections", "implementations", "code")


def copied_rare(rare: RareAttributes | None, memo: dict[int, Any] | None = None) -> RareAttributes | None:
    """The rare attributes of a copy of a node. Objects that its projections share are not copied."""
    if rare is None or all(getattr(rare, name) is getattr(RareAttributes, name) for name in _COPIED):
        return None
    twin = RareAttributes()
    twin.info, twin.trainable, twin.code = rare.info, rare.trainable, rare.code
    twin.implementations, twin.user_texts = rare.implementations, rare.user_texts
    twin.projections = None if rare.projections is None else list(rare.projections)
    if memo is not None:
        memo.update((id(shared), shared) for projection in twin.projections or () for shared in projection._shared())
    return twin


def texts_of(info: Any) -> dict[str, str] | None:
    """The texts in the info of a call, which copies can keep; the rest belongs to the call itself."""
    return {key: value for key, value in info.items() if isinstance(value, str)} if isinstance(info, dict) else None


def described(description: str | None, cls: str) -> str:
    """The full text of a description: it always starts with `[op]`."""
    assert description is None or type(description) is str, "A description is a string or None."
    if not description:
        return f"[{cls}]"
    return description if _prefix_length(description) else f"[{cls}] {description}"


_ROOTS: dict[str, Operation] = {}


BUILTIN_ROOTS: dict[type, Operation] = {}


def type_operation(cls: type) -> Operation:
    """The operation of unnamed raw values of the type `cls`. Types whose values never change are kept, for speed."""
    op = root_operation(cls.__name__)
    if cls in NEVER_CHANGES:
        BUILTIN_ROOTS[cls] = op
    return op


def scoped(op: Operation) -> Operation:
    """`op` named in the current scope."""
    return op.renamed(f"{NAME_SCOPES[-1]}/{op.base}") if NAME_SCOPES else op


def root_operation(base: str) -> Operation:
    """The operation of a raw value whose node is named `base`; kept, as there are few of them."""
    known = _ROOTS.get(base)
    if known is None:
        if len(_ROOTS) > 10_000:  # a program that makes classes without end
            _ROOTS.clear()
        known = _ROOTS[base] = Operation(base, "[Node]")
    return known


_BUILTINS = {"builtins", "__builtin__"}


def exception_text(error: BaseException) -> str:
    """`(Type) message`; the type is module-qualified unless it is a builtin. An ExecutionError speaks for its cause."""
    if isinstance(error, ExecutionError):
        return str(error.exception_node._data)
    cls = type(error)
    name = cls.__name__ if cls.__module__ in _BUILTINS else f"{cls.__module__}.{cls.__name__}"
    return f"({name}) {text_of(error)}"


def same_value(one: object, other: object) -> bool:
    """Whether two values are one object or equal; arrays, which answer with more than a truth, are not equal."""
    if one is other:
        return True
    try:
        equal: Any = one == other
    except Exception:  # noqa: BLE001 - the values are the user's
        return False
    return equal if isinstance(equal, bool) else False
