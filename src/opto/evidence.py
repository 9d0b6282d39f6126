"""What a call saw of a value that the program may go on changing: a bounded copy of what would be shown. A leaf.

The value itself is kept as it is, and shown as long as it has not changed. The cost is bounded, too: of a long list
the first and last items are copied, of a large array a sample. `docs/decisions/0020-evidence.md` says why.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["NEVER_CHANGES", "Seen", "seen"]

NEVER_CHANGES: frozenset[type[Any]] = frozenset({
    *(str, int, float, bool, complex, bytes, type(None), range, type, type(...), slice),
    *(FunctionType, BuiltinFunctionType, MethodType, ModuleType),
})  # fmt: skip
"""Types whose values look the same for ever: nothing is copied of them."""

_HEAD, _TAIL = 24, 8  # items of a structure
_DEEPEST = 4
_ROOM = 160  # items of all structures together
_CELLS = 256  # of an array
_BYTES = 512
_SEQUENCES = (list, tuple, set, frozenset, deque)
_MAPPINGS = (dict, OrderedDict, Counter, defaultdict)
_PLAIN_REPR: Any = object.__repr__
_STRUCTURES = frozenset((*_SEQUENCES, *_MAPPINGS))


class _Copy:
    """The copy of a structure, an array or an object: its type, length, and items from both ends."""

    __slots__ = ("head", "kind", "length", "more", "tail")

    def __init__(self, kind: type[Any], length: int, head: Any, tail: Any = (), more: Any = None) -> None:
        self.kind, self.length, self.head, self.tail, self.more = kind, length, head, tail, more


class Seen:
    """What was seen of one value. `value_then(value)` is the value if it is the same still, else what shows it."""

    __slots__ = ("copy",)

    def __init__(self, copy: _Copy) -> None:
        self.copy = copy

    def after(self, value: Any) -> Seen | None:
        """What is to be remembered of the value now, if it has changed; else None."""
        now = seen(value)
        return None if now is None or _same(self.copy, now.copy) else now

    def value_then(self, value: Any) -> Any:
        now = seen(value)
        if now is not None and _same(self.copy, now.copy):
            return value
        return _rebuilt(self.copy)


def seen(value: Any) -> Seen | None:
    """What is to be remembered of a value: None if it cannot change, or shows nothing that does.

    >>> chat = ["Hello"]
    >>> before = seen(chat)
    >>> chat.append("Bye")
    >>> before.value_then(chat), seen("a text")
    (['Hello'], None)
    """
    kind = type(value)
    if kind in NEVER_CHANGES or (kind is tuple and NEVER_CHANGES.issuperset(map(type, value[: _HEAD + _TAIL]))):
        return None
    try:
        copy = _Copier().copy(value, _DEEPEST)
    except Exception:  # noqa: BLE001 - it may change while it is copied, and its class is the program's
        return None
    return Seen(copy) if isinstance(copy, _Copy) else None


class _Copier:
    """Copies one value; `room` is how many items it may still look at."""

    __slots__ = ("room",)

    def __init__(self) -> None:
        self.room = _ROOM

    def copy(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in NEVER_CHANGES or depth == 0 or self.room < 0:
            return value
        if kind in _STRUCTURES:
            return self._structure(value, kind, depth)
        if kind is bytearray:
            return _Copy(kind, len(value), bytes(value[:_BYTES]), bytes(value[_BYTES:][-_BYTES:]))
        if kind.__module__ == "numpy":
            return _array(value, kind)
        if kind.__repr__ is _PLAIN_REPR or kind.__module__.startswith("opto."):
            return value  # its text does not tell what it holds
        attributes = value.__dict__ if kind.__dictoffset__ else _slots(value, kind)
        if type(attributes) is not dict or not attributes:
            return value
        return _Copy(kind, len(attributes), self._pairs(attributes, depth), more=_Object)

    def _structure(self, value: Any, kind: type[Any], depth: int) -> Any:
        length = len(value)
        if kind in _MAPPINGS:
            more = getattr(value, "default_factory", None)
            return _Copy(kind, length, self._pairs(value, depth), more=more)
        if length <= _HEAD + _TAIL or kind in (set, frozenset, deque):
            head, tail = self._items(islice(value, _HEAD + _TAIL), depth), list[Any]()
        else:
            head, tail = self._items(value[:_HEAD], depth), self._items(value[-_TAIL:], depth)
        if kind in (tuple, frozenset) and not any(type(item) is _Copy for item in (*head, *tail)):
            return value  # nothing in it can change
        return _Copy(kind, length, head, tail, getattr(value, "maxlen", None))

    def _items(self, items: Iterable[Any], depth: int) -> list[Any]:
        found = [item if type(item) in NEVER_CHANGES else self.copy(item, depth - 1) for item in items]
        self.room -= len(found)
        return found

    def _pairs(self, mapping: dict[Any, Any], depth: int) -> list[tuple[Any, Any]]:
        pairs = list(islice(mapping.items(), _HEAD + _TAIL))
        self.room -= len(pairs)
        return [(key, item if type(item) in NEVER_CHANGES else self.copy(item, depth - 1)) for key, item in pairs]


def _array(value: Any, kind: type[Any]) -> Any:
    """A small array, or a sample of the cells of a large one."""
    if kind.__name__ != "ndarray":
        return value
    if value.size <= _CELLS:
        return _Copy(kind, value.size, value.copy(), more=(value.shape, value.dtype))
    sample = value.flat[:: value.size // _CELLS]
    return _Copy(kind, value.size, sample, more=(value.shape, value.dtype))


def _slots(value: Any, kind: type[Any]) -> Any:
    """The attributes of an object without a dict: those of its fields, if it is a dataclass or of attrs."""
    names = getattr(kind, "__dataclass_fields__", None) or [a.name for a in getattr(kind, "__attrs_attrs__", ())]
    return {name: getattr(value, name, None) for name in names}


# --- afterwards ---


def _same(a: Any, b: Any) -> bool:
    """Whether two copies are of the same values."""
    if type(a) is not _Copy or type(b) is not _Copy:
        return a is b or (type(a) is type(b) and type(a) in NEVER_CHANGES and bool(a == b))
    if a.kind is not b.kind or a.length != b.length or a.more != b.more:
        return False
    if a.kind.__module__ == "numpy":
        return bool(a.head.tobytes() == b.head.tobytes())
    if len(a.head) != len(b.head) or len(a.tail) != len(b.tail):
        return False
    if a.kind is bytearray:
        return bool(a.head == b.head and a.tail == b.tail)
    if a.kind in _SEQUENCES:
        return all(map(_same, a.head, b.head)) and all(map(_same, a.tail, b.tail))
    return all(
        _same(key, other_key) and _same(item, other)
        for (key, item), (other_key, other) in zip(a.head, b.head, strict=True)
    )


class _Gap:
    """Stands for items that were not copied."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __repr__(self) -> str:
        return f"…{self.count} more…"


class _Object:
    """Stands for an object that has changed: its type and the attributes that it had."""

    def __init__(self, attributes: dict[str, Any], left_out: int) -> None:
        self._attributes, self._left_out = attributes, left_out

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in self._attributes.items()] + ["…"] * bool(self._left_out)
        return f"{type(self).__name__}({', '.join(shown)})"


def _rebuilt(copy: Any) -> Any:
    """A value that shows what was copied; of a whole structure, one that equals it."""
    if type(copy) is not _Copy:
        return copy
    kind, missing = copy.kind, copy.length - len(copy.head) - len(copy.tail)
    if kind is bytearray:
        return bytearray(copy.head + b"..." * (missing > 0) + copy.tail)
    if kind.__module__ == "numpy":
        shape, _ = copy.more
        if copy.head.size == copy.length:
            return copy.head
        return _named(kind, {"shape": shape, "some_of_its_values": copy.head[:8].tolist()}, left_out=1)
    gap = [_Gap(missing)] if missing > 0 else []
    if kind in _SEQUENCES:
        items = [*map(_rebuilt, copy.head), *gap, *map(_rebuilt, copy.tail)]
        return _made(kind, items, copy.more)
    found = {key: _rebuilt(item) for key, item in copy.head}
    if copy.more is _Object:
        return _named(kind, found, left_out=missing)
    found.update({g: ... for g in gap})
    return _made(kind, found, copy.more)


def _named(kind: type[Any], attributes: dict[str, Any], left_out: int) -> Any:
    """A stand-in whose type has the name of the object's."""
    stand_in: Callable[..., Any] = type(kind.__name__, (_Object,), {"__module__": kind.__module__})
    return stand_in(attributes, left_out)


def _made(kind: type[Any], content: Any, more: Any) -> Any:
    if kind is deque:
        return deque(content, more)
    if kind is defaultdict:
        return defaultdict(more, content)
    try:
        return kind(content)
    except TypeError:  # an item that stands for a changed one cannot be in a set
        return content
