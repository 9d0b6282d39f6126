"""Rows for lists, tuples, sets, dicts and the like, whose items are read as the present items are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from opto.errors import ReplyError
from opto.show import show, text_of
from opto.values.value_types import (
    MISSING,
    Place,
    ValueType,
    Wanted,
    literal,
    no_such,
    plain,
    read,
    read_hinted,
    register,
    schema,
    shown,
    words,
)
from opto.values.written_data import Call, data_of

__all__: list[str] = []  # rows only

_SEQUENCES = (list, tuple, set, frozenset)
_MOST_PATTERNS = 8


# --- items ---


def _patterns(items: Iterable[Any]) -> list[Any]:
    """Items that stand for all: one of each type, a few of structures, and numbers that are no usual ones."""
    found: dict[Any, Any] = {}
    structures = 0
    for item in items:
        if isinstance(item, (dict, *_SEQUENCES)) and item:
            structures += 1
            if structures <= _MOST_PATTERNS:
                found[structures] = item
        else:
            found.setdefault(
                (type(item), isinstance(item, float) and (item != item or abs(item) == float("inf"))), item
            )
    return list(found.values())


def _read_item(said: Any, patterns: list[Any], place: str, wanted: Wanted, hint: Any = MISSING) -> Any:
    """The item that is meant, of the kind of one of the patterns; free where there are none."""
    try:
        if hint is not MISSING:
            return read_hinted(said, hint, replace(wanted, kind=object, current=patterns[0] if patterns else MISSING))
        if not patterns:
            return read(said, Wanted(object))
        return _by_pattern(said, patterns, wanted)
    except ReplyError as error:
        raise ReplyError(f"{place}: {error}") from error


def _by_pattern(said: Any, patterns: list[Any], wanted: Wanted) -> Any:
    if type(said) in (int, float) and any(type(pattern) in (int, float) for pattern in patterns):
        kinds = {type(pattern) for pattern in patterns}
        kind = float if int not in kinds or not float(said).is_integer() else int
        kind = type(said) if type(said) in kinds else kind  # a list of whole numbers may become one of fractions
        others = [pattern for pattern in patterns if type(pattern) in (int, float)]
        return _first(said, others, lambda pattern: replace(wanted, kind=kind, current=pattern, arguments=()))
    ordered = sorted(patterns, key=lambda pattern: type(pattern) is not type(said))
    try:
        return _first(said, ordered, lambda pattern: replace(wanted, kind=type(pattern), current=pattern, arguments=()))
    except ReplyError:
        if len({type(pattern) for pattern in patterns}) > 1:
            return read(said, Wanted(object))  # items of many kinds may be of one more
        raise


def _first(said: Any, patterns: list[Any], wanted_by: Callable[[Any], Wanted]) -> Any:
    reasons: list[ReplyError] = []
    for pattern in patterns:
        try:
            return read(said, wanted_by(pattern))
        except ReplyError as error:
            reasons.append(error)
    raise reasons[0]


# --- lists, tuples, sets ---


def _items_said(said: Any, wanted: Wanted) -> list[Any]:
    data = data_of(said)
    if isinstance(data, Call) and data.name.rpartition(".")[2] == wanted.kind.__name__ and len(data.arguments) <= 1:
        data = data.arguments[0] if data.arguments else []
    if isinstance(data, (str, bytes, dict, Call)) or not hasattr(data, "__iter__"):
        raise no_such(said, wanted.kind)
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        raise no_such(said, wanted.kind)
    return list(data)


def _sequence(said: Any, wanted: Wanted) -> Any:
    items = _items_said(said, wanted)
    current = [] if wanted.current is MISSING else list(wanted.current)
    if issubclass(wanted.kind, tuple):
        items = _positions(items, current, wanted)
    else:
        hints = wanted.arguments
        patterns, hint = _patterns(current), hints[0] if hints else MISSING
        items = [_read_item(item, patterns, f"item {i}", wanted, hint) for i, item in enumerate(items)]
    maximum = getattr(wanted.current, "maxlen", None)
    if maximum is not None and len(items) > maximum:
        raise ReplyError(f"{maximum} items are the most, not {len(items)}")
    make: Any = wanted.kind
    return make(items) if maximum is None else make(items, maximum)


def _positions(items: list[Any], current: list[Any], wanted: Wanted) -> list[Any]:
    """The items of a tuple: each of the type of its place where the places differ."""
    hints = wanted.arguments
    if hints and not (len(hints) == 2 and hints[1] is ...):
        _check_length(items, len(() if hints == ((),) else hints))
        present = current if len(current) == len(items) else [MISSING] * len(items)
        return [
            _read_item(item, [] if now is MISSING else [now], f"item {i}", wanted, hint)
            for i, (item, now, hint) in enumerate(zip(items, present, hints, strict=True))
        ]
    if len({type(item) for item in current}) > 1 and not hints:
        _check_length(items, len(current))
        return [
            _read_item(item, [now], f"item {i}", wanted)
            for i, (item, now) in enumerate(zip(items, current, strict=True))
        ]
    patterns, hint = _patterns(current), hints[0] if hints else MISSING
    return [_read_item(item, patterns, f"item {i}", wanted, hint) for i, item in enumerate(items)]


def _check_length(items: list[Any], length: int) -> None:
    if len(items) != length:
        raise ReplyError(f"{length} items are expected, not {len(items)}")


def _plain_items(value: Any) -> list[Any]:
    items = [plain(item) for item in value]
    return sorted(items, key=lambda item: show(item, 200)) if isinstance(value, (set, frozenset)) else items


def _words_of_items(value: Any) -> str | None:
    items = list(value.values()) if isinstance(value, dict) else list(value)
    found = dict.fromkeys(text for item in _patterns(items) if (text := words(item)) is not None)
    most = getattr(value, "maxlen", None)
    parts = [] if most is None else [f"at most {most} items"]
    parts += [f"of items, each {' or '.join(found)}"] if found else []
    return "; ".join(parts) or None


def _list_schema(value: Any) -> dict[str, Any] | None:
    pieces = [schema(item) for item in _patterns(value)]
    return {"type": "array", "items": pieces[0]} if len(pieces) == 1 and pieces[0] is not None else None


def _sequence_literal(value: Any, place: Place) -> str | None:
    items = [literal(item, place) for item in value]
    if None in items:
        return None
    inside, kind = ", ".join(map(str, items)), type(value)
    if kind is tuple:
        return f"({inside}{',' * (len(items) == 1)})"
    if kind in (list, set):
        return f"[{inside}]" if kind is list else f"{{{inside}}}" if items else "set()"
    maximum = getattr(value, "maxlen", None)
    name = kind.__name__ if kind is frozenset else place(kind)
    return f"{name}([{inside}]{f', maxlen={maximum}' if maximum is not None else ''})"


_SEQUENCE = ValueType(_sequence, _plain_items, _words_of_items, _list_schema, _sequence_literal)
register("builtins.list builtins.tuple builtins.set builtins.frozenset collections.deque", _SEQUENCE)


# --- dicts ---


def _key_text(key: Any) -> str:
    """A key as JSON writes it."""
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return key if isinstance(key, str) else shown(key)


def _pairs_said(said: Any, wanted: Wanted) -> dict[Any, Any]:
    data = data_of(said)
    if isinstance(data, Call):
        last = data.arguments[-1] if data.arguments else {}
        data = {**dict(last), **data.named} if isinstance(last, (dict, list)) else data
    if not isinstance(data, dict):
        raise no_such(said, wanted.kind)
    return data


def _mapping(said: Any, wanted: Wanted) -> Any:
    data = _pairs_said(said, wanted)
    current = {} if wanted.current is MISSING else dict(wanted.current)
    known = {_key_text(key): key for key in current}
    keys, values = _patterns(current), _patterns(current.values())
    key_hint, value_hint = wanted.arguments if len(wanted.arguments) == 2 else (MISSING, MISSING)
    found: dict[Any, Any] = {}
    for key, item in data.items():
        name = _key(key, known, keys, key_hint, wanted)
        if name in found:
            raise ReplyError(f"the key {text_of(name, 60)} stands there twice")
        patterns = [current[name]] if name in current else values
        found[name] = _read_item(item, patterns, text_of(name, 60), wanted, value_hint)
    factory = getattr(wanted.current, "default_factory", MISSING)
    return found if wanted.kind is dict else wanted.kind(*([] if factory is MISSING else [factory]), found)


def _key(said: Any, known: dict[str, Any], patterns: list[Any], hint: Any, wanted: Wanted) -> Any:
    if isinstance(said, str) and said in known:
        return known[said]
    if not isinstance(said, str) and any(said == key and type(said) is type(key) for key in known.values()):
        return said
    if isinstance(said, str) and None in patterns and said in ("null", "None"):
        return None
    usual = [pattern for pattern in patterns if pattern is not None]
    if isinstance(said, str) and any(type(pattern) is str for pattern in usual):
        return said
    found = _read_item(said, usual, f"the key {text_of(said, 60)!r}", wanted, hint)
    try:
        hash(found)
    except TypeError as error:
        raise ReplyError(f"{text_of(said, 60)!r} cannot be a key") from error
    return found


def _plain_pairs(value: Any) -> dict[str, Any]:
    return {_key_text(key): plain(item) for key, item in value.items()}


def _mapping_literal(value: Any, place: Place) -> str | None:
    pairs = [(literal(key, place), literal(item, place)) for key, item in value.items()]
    if any(None in pair for pair in pairs):
        return None
    text = f"{{{', '.join(f'{key}: {item}' for key, item in pairs)}}}"
    if type(value) is dict:
        return text
    factory = getattr(value, "default_factory", MISSING)
    first = "" if factory is MISSING else "None, " if factory is None else f"{place(factory)}, "
    return f"{place(type(value))}({first}{text})"


register("builtins.dict", ValueType(_mapping, _plain_pairs, _words_of_items, literal=_mapping_literal))
