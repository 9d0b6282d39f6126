"""The table of types, and what is done with a row: show, ask, read, write. Rows are added by the other files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from opto.errors import ReplyError
from opto.show import one_line, show, text_of
from opto.values.written_data import holds_names

__all__ = [
    "MISSING",
    "ValueType",
    "Wanted",
    "convert",
    "literal",
    "no_such",
    "plain",
    "read",
    "read_hinted",
    "register",
    "register_rule",
    "register_value_type",
    "row_of",
    "schema",
    "shown",
    "words",
]

MISSING: Any = object()
"""Stands for the present value where there is none."""
_LONGEST = 40_000  # characters of a value that a prompt shows
_DEEPEST = 60
_CUT = re.compile(r"…\[\d+ cut\]…")
Place = Callable[[Any], str]
"""Gives the name under which the program text knows a class or a function."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The value that is wanted: its type, the present one, the types of its items; `rounds` drops fractions of ints."""

    kind: type[Any]
    current: Any = MISSING
    arguments: tuple[Any, ...] = ()
    rounds: bool = False


@dataclass(frozen=True, slots=True)
class ValueType:
    """A row of the table.

    `read(said, wanted)` gives the value that a reply means, or raises ReplyError with the reason. `plain(value)` is the
    value as JSON can hold it, which is what prompts show and replies give. `words(value)` says what is wanted, None
    where the value says it itself. `schema(value)` is a JSON schema, None where a text stands for the value.
    `literal(value, place)` is a Python expression for the value, None if there is none.
    """

    read: Callable[[Any, Wanted], Any]
    plain: Callable[[Any], Any] = lambda value: value
    words: Callable[[Any], str | None] = lambda value: None
    schema: Callable[[Any], dict[str, Any] | None] = lambda value: None
    literal: Callable[[Any, Place], str | None] = lambda value, place: repr(value)


_BY_CLASS: dict[type[Any], ValueType] = {}
_BY_NAME: dict[str, ValueType] = {}
_BY_RULE: list[tuple[Callable[[type[Any]], bool], ValueType]] = []
_FOUND: WeakKeyDictionary[type[Any], ValueType | None] = WeakKeyDictionary()


def register(names: str, row: ValueType) -> None:
    """Add the row of the types with these names, `module.Class` each, blanks between; subclasses have it too."""
    _BY_NAME.update(dict.fromkeys(names.split(), row))


def register_rule(holds_for: Callable[[type[Any]], bool], row: ValueType) -> None:
    """Add the row of all types that a rule holds for; it comes before rows by name."""
    _BY_RULE.append((holds_for, row))


def register_value_type(
    kind: type[Any],
    *,
    plain: Callable[[Any], Any],
    read: Callable[[Any], Any],
    words: str | None = None,
    literal: Callable[[Any], str] | None = None,
) -> None:
    """Let parameters hold values of `kind`, a class of your own; subclasses come along.

    `plain(value)` gives text, numbers, lists or dicts with text keys: prompts show them, and replies give such again.
    `read(data)` makes a value of them, and raises ValueError with a reason, which the model is told, where it cannot.
    `words` says in the prompt what is wanted; `literal(value)` is the Python expression that `export` writes.
    """
    _FOUND.clear()
    _BY_CLASS[kind] = ValueType(
        lambda said, wanted: said if isinstance(said, kind) else read(said),
        plain,
        lambda value: words,
        literal=lambda value, place: literal(value) if literal is not None else None,
    )


def row_of(kind: type[Any]) -> ValueType | None:
    """The row of a type: its own, else that of a rule, else that of the nearest base."""
    if kind not in _FOUND:
        _FOUND[kind] = _looked_up(kind)
    return _FOUND[kind]


def _looked_up(kind: type[Any]) -> ValueType | None:
    for base in kind.__mro__:
        if base in _BY_CLASS:
            return _BY_CLASS[base]
    for holds_for, row in _BY_RULE:
        if holds_for(kind):
            return row
    names = (f"{base.__module__.partition('.')[0]}.{base.__qualname__}" for base in kind.__mro__)
    return next((_BY_NAME[name] for name in names if name in _BY_NAME), None)


# --- reading ---


def convert(said: Any, current: Any, *, rounds: bool = False) -> Any:
    """`said` as a value of the type of `current`; ReplyError if that cannot be done without guessing.

    >>> convert("2", 1.0), convert("[1, 2]", []), convert(3, "text"), convert("0,5", 1.0), convert({"1": 2}, {5: 6})
    (2.0, [1, 2], '3', 0.5, {1: 2})
    """
    try:
        return read(said, Wanted(type(current), current, rounds=rounds))
    except ReplyError:
        raise
    except Exception as error:  # the constructor may be the user's
        raise no_such(said, type(current), error) from error


def read(said: Any, wanted: Wanted) -> Any:
    """The value that is meant by `said`, by the row of its type; what is given as it is shown is the present value."""
    kind, current = wanted.kind, wanted.current
    if current is None or kind in (object, type(None)):
        return _anything(said)
    row = row_of(kind)
    is_new = isinstance(said, str) and not issubclass(kind, str)
    if is_new and current is not MISSING and said.strip() in (text_of(current), show(current, 2_000)):
        return current
    if row is None:
        if type(said) is kind:
            return said
        raise ReplyError(
            f"a {kind.__name__} cannot be read from a reply: leave the value as it is "
            f"(a program says how by register_value_type({kind.__name__}, ...))"
        )
    if is_new and _CUT.search(said):
        raise ReplyError("the value is cut, as … says: give it whole")
    if is_new and current is not MISSING and said.strip() == shown(current):
        return current
    try:
        return row.read(said, wanted)
    except ReplyError:
        raise
    except Exception as error:  # the constructor may be the user's
        raise no_such(said, kind, error) from error


def _anything(said: Any) -> Any:
    if holds_names(said):
        raise ReplyError(f"{text_of(said, 60)!r} is no plain data")
    return said


def no_such(said: Any, kind: type[Any], error: Exception | None = None) -> ReplyError:
    """The reason that `said` is not of a type."""
    reason = f": {one_line(text_of(error, 200))}" if error else ""
    return ReplyError(f"{text_of(said, 60)!r} is not a {kind.__name__}{reason}")


def read_hinted(said: Any, hint: Any, wanted: Wanted) -> Any:
    """The value of an annotated place; `wanted` holds what stands there now."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or hint is MISSING or isinstance(hint, (str, TypeVar)):
        return read(said, wanted) if wanted.current is not MISSING else _anything(said)
    if hint is None or hint is type(None):
        if said in (None, "null", "None"):
            return None
        raise ReplyError(f"null is expected, not {text_of(said, 60)!r}")
    if origin is Literal:
        return _one_of(said, arguments)
    if hasattr(hint, "__metadata__"):  # Annotated
        return read_hinted(said, arguments[0], wanted)
    if origin is Union or type(hint).__name__ == "UnionType":
        return _first_that_fits(said, arguments, wanted)
    kind = origin if isinstance(origin, type) else hint
    if not isinstance(kind, type):
        return read(said, wanted) if wanted.current is not MISSING else _anything(said)
    current = wanted.current if isinstance(wanted.current, kind) else MISSING
    if current is not MISSING and (row_of(kind) is None or not arguments):
        kind = type(current)  # the annotation may name a base
    if current is MISSING and kind.__module__ in ("collections.abc", "typing"):
        return _anything(said)
    return read(said, replace(wanted, kind=kind, current=current, arguments=arguments))


def _one_of(said: Any, options: tuple[Any, ...]) -> Any:
    for option in options:
        if (type(said) is type(option) and said == option) or (isinstance(said, str) and said == str(option)):
            return option
    raise ReplyError(f"{text_of(said, 60)!r} is not one of {', '.join(map(repr, options[:20]))}")


def _first_that_fits(said: Any, hints: tuple[Any, ...], wanted: Wanted) -> Any:
    """The value by the first of several annotations that takes it; the type that is said comes first."""

    def far(hint: Any) -> tuple[bool, bool]:
        kind = get_origin(hint) or hint
        mine = isinstance(kind, type) and wanted.current is not MISSING and isinstance(wanted.current, kind)
        return kind is not type(said), not mine

    reasons: list[ReplyError] = []
    for hint in sorted(hints, key=far):
        try:
            return read_hinted(said, hint, wanted)
        except ReplyError as error:
            reasons.append(error)
    raise reasons[0]


# --- showing, asking, writing ---


def plain(value: Any) -> Any:
    """The value as data that JSON can hold; a text for what has no row.

    >>> import datetime
    >>> plain({"day": datetime.date(2025, 1, 2), "sizes": (1, 2)})
    {'day': '2025-01-02', 'sizes': [1, 2]}
    """
    row = row_of(type(value))
    return text_of(value, 1_000) if row is None else row.plain(value)


_SELF_EVIDENT = frozenset((str, int, float, bool, type(None)))
_BUILT_IN = (str, int, float, bool, type(None), list, tuple, set, frozenset, dict)


def shown(value: Any, limit: int = _LONGEST) -> str:
    """The value as a prompt shows it and a reply may give it: Python's own form for builtin types, else JSON or text.

    >>> import datetime
    >>> shown((1, "a")), shown(datetime.date(2025, 1, 2)), shown([datetime.date(2025, 1, 2)])
    ("(1, 'a')", '2025-01-02', '["2025-01-02"]')
    """
    try:
        if type(value) is float:
            return repr(value)
        if _is_built_in(value, _DEEPEST):
            return show(value, limit, depth=_DEEPEST)
        found = plain(value)
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    except Exception:  # noqa: BLE001 - the value and its row may be the user's
        return show(value, limit)
    return text_of(text, limit)


def _is_built_in(value: Any, depth: int) -> bool:
    if type(value) not in _BUILT_IN or depth == 0:
        return depth == 0
    if isinstance(value, dict):
        return all(_is_built_in(key, depth - 1) and _is_built_in(item, depth - 1) for key, item in value.items())
    return not isinstance(value, (list, tuple, set, frozenset)) or all(_is_built_in(i, depth - 1) for i in value)


def words(value: Any) -> str | None:
    """What a model is told to give in the place of `value`; None where the value says it itself.

    >>> from fractions import Fraction
    >>> words(Fraction(1, 2)), words([Fraction(1, 2)]), words(1.5)
    ('a fraction such as 1/3', 'of items, each a fraction such as 1/3', None)
    """
    row = row_of(type(value)) if type(value) not in _SELF_EVIDENT else None
    try:
        return None if row is None else row.words(value)
    except Exception:  # noqa: BLE001 - the row may be the user's
        return None


def schema(value: Any) -> dict[str, Any] | None:
    """The JSON schema of values that may take the place of `value`; None where a text stands for them."""
    row = row_of(type(value))
    return None if row is None else row.schema(value)


def literal(value: Any, place: Place) -> str | None:
    """A Python expression for the value; None if it has none. `place(class)` gives the name that the text uses for it.

    >>> import datetime
    >>> literal([datetime.date(2025, 1, 2)], lambda cls: cls.__name__)
    "[date.fromisoformat('2025-01-02')]"
    """
    row = row_of(type(value))
    try:
        return None if row is None else row.literal(value, place)
    except Exception:  # noqa: BLE001 - it holds itself, or its row is the user's, or a class of it has no name
        return None
