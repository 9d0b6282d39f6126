"""Rows for enumerations and for classes with named fields: dataclasses, attrs, named tuples, models of pydantic."""

from __future__ import annotations

import dataclasses
import enum
import re
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from opto.errors import ReplyError
from opto.show import show, text_of
from opto.values.scalars import made
from opto.values.value_types import (
    MISSING,
    Place,
    ValueType,
    Wanted,
    literal,
    no_such,
    plain,
    read_hinted,
    register_rule,
    schema,
    words,
)
from opto.values.written_data import Call, Name, data_of

__all__: list[str] = []  # rows only

_SHOWN = 20
_BETWEEN_FIELDS = re.compile(r" (?=[A-Za-z_]\w*=)")
_NEEDED: Any = object()  # the default of a field without one


class _Field(typing.NamedTuple):
    """A field of a class: the name of its attribute, that of the constructor's argument, annotation and default."""

    name: str
    argument: str
    hint: Any
    default: Any
    by_position: bool = True


def _hints(kind: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=False)
    except Exception:  # noqa: BLE001 - annotations are texts of the user's, and may name what is not there
        return {}


def _default(f: Any) -> Any:
    if f.default is not dataclasses.MISSING:
        return f.default
    return _NEEDED if f.default_factory is dataclasses.MISSING else f.default_factory()


def _dataclass_fields(kind: Any) -> list[_Field]:
    hints, found = _hints(kind), []
    for f in kind.__dataclass_fields__.values():
        if f.init and f._field_type.name != "_FIELD_CLASSVAR":
            default = _default(f)
            hint = hints.get(f.name, MISSING)
            found.append(_Field(f.name, f.name, getattr(hint, "type", hint), default, not f.kw_only))
    return found


def _attrs_fields(kind: Any) -> list[_Field]:
    hints, found = _hints(kind), []
    for a in kind.__attrs_attrs__:
        if a.init:
            default: Any = a.default
            if repr(default) == "NOTHING":
                default = _NEEDED
            elif hasattr(default, "factory"):
                default = MISSING if default.takes_self else default.factory()
            argument = getattr(a, "alias", None) or a.name.lstrip("_")
            found.append(_Field(a.name, argument, hints.get(a.name, MISSING), default, not a.kw_only))
    return found


def _tuple_fields(kind: Any) -> list[_Field]:
    hints, defaults = _hints(kind), kind._field_defaults
    return [_Field(name, name, hints.get(name, MISSING), defaults.get(name, _NEEDED)) for name in kind._fields]


# --- reading ---


def _named_values(said: Any, fields: list[_Field], wanted: Wanted, *, by_order: bool) -> dict[str, Any]:
    """What is said of each field, by the name of its argument."""
    kind, data = wanted.kind, data_of(said)
    values: list[Any] = []
    named: Any = data
    if isinstance(data, Call) and data.name.rpartition(".")[2] == kind.__name__:
        values, named = list(data.arguments), data.named
    elif by_order and isinstance(data, (list, tuple)):
        values, named = list(data), {}
    if not isinstance(named, dict):
        raise no_such(said, kind)
    places = [f.argument for f in fields if f.by_position]
    if len(values) > len(places):
        raise ReplyError(f"{len(places)} values are expected, not {len(values)}")
    found = dict(zip(places, values, strict=False))
    known = {f.name: f.argument for f in fields} | {f.argument: f.argument for f in fields}
    for name, value in named.items():
        if name not in known or known[name] in found:
            raise ReplyError(
                f"{kind.__name__} has no field {text_of(name, 60)!r} to set{' twice' if name in known else ''}: "
                f"it has {', '.join(f.argument for f in fields)}"
            )
        found[known[name]] = value
    return found


def _read_fields(said: Any, fields: list[_Field], wanted: Wanted, *, by_order: bool = False) -> Any:
    if type(said) is wanted.kind:
        return said
    values = _named_values(said, fields, wanted, by_order=by_order)
    current, arguments = wanted.current, {}
    for f in fields:
        now = MISSING if current is MISSING else getattr(current, f.name, MISSING)
        if f.argument in values:
            arguments[f.argument] = _field_value(values[f.argument], f, now, wanted)
        elif f.default is _NEEDED:
            raise ReplyError(f"the field {f.argument!r} of {wanted.kind.__name__} is missing")
        elif now is not MISSING and f.default is not MISSING and not _same(now, f.default):
            raise ReplyError(f"the field {f.argument!r} is missing, which is {show(now, 60)} now: give all fields")
    return wanted.kind(**arguments)


def _field_value(said: Any, f: _Field, now: Any, wanted: Wanted) -> Any:
    try:
        kind = object if now is MISSING else type(now)
        return read_hinted(said, f.hint, replace(wanted, kind=kind, current=now, arguments=()))
    except ReplyError as error:
        raise ReplyError(f"{f.argument}: {error}") from error


def _same(a: Any, b: Any) -> bool:
    try:
        return a is b or bool(a == b)
    except Exception:  # noqa: BLE001 - the values are the user's
        return False


# --- the rows ---


def _record(fields_of: Callable[[Any], list[_Field]], *, by_order: bool = False) -> ValueType:
    def values(value: Any) -> dict[str, Any]:
        return {f.argument: getattr(value, f.name, None) for f in fields_of(type(value))}

    def wording(value: Any) -> str:
        fields = fields_of(type(value))
        listed = [f"{f.argument} ({words(getattr(value, f.name, None)) or _type_name(f, value)})" for f in fields]
        return f"an object with the fields {', '.join(listed)}"

    def pieces(value: Any) -> dict[str, Any] | None:
        return _object_schema({key: schema(item) for key, item in values(value).items()})

    def written(value: Any, place: Place) -> str | None:
        found = {key: literal(item, place) for key, item in values(value).items()}
        if None in found.values():
            return None
        return f"{place(type(value))}({', '.join(f'{key}={text}' for key, text in found.items())})"

    return ValueType(
        lambda said, wanted: _read_fields(said, fields_of(wanted.kind), wanted, by_order=by_order),
        lambda value: {key: plain(item) for key, item in values(value).items()},
        wording,
        pieces,
        written,
    )


def _type_name(f: _Field, value: Any) -> str:
    return type(getattr(value, f.name, None)).__name__ if f.hint is MISSING else _annotation_text(f.hint)


def _annotation_text(hint: Any) -> str:
    named = isinstance(hint, type) and not typing.get_args(hint)
    return hint.__name__ if named else re.sub(r"\b(?:typing|builtins)\.", "", str(hint))


def _object_schema(pieces: Mapping[str, dict[str, Any] | None]) -> dict[str, Any] | None:
    if None in pieces.values():
        return None
    return {"type": "object", "properties": pieces, "required": [*pieces], "additionalProperties": False}


def _pydantic(said: Any, wanted: Wanted) -> Any:
    kind: Any = wanted.kind
    if isinstance(said, kind):
        return said
    data = data_of(said)
    if isinstance(data, str):  # as pydantic prints: k=1 t=0.5
        data = data_of(f"{kind.__name__}({_BETWEEN_FIELDS.sub(', ', data)})")
    if isinstance(data, Call) and data.name.rpartition(".")[2] == kind.__name__ and not data.arguments:
        data = data.named
    if not isinstance(data, dict):
        raise no_such(said, kind)
    known = {name for key, f in kind.model_fields.items() for name in (key, getattr(f, "alias", None))}
    unknown = [name for name in data if name not in known]
    if unknown and kind.model_config.get("extra") != "allow":
        fields = ", ".join(kind.model_fields)
        raise ReplyError(f"{kind.__name__} has no field {text_of(unknown[0], 60)!r}: it has {fields}")
    for name in kind.model_fields:
        now = MISSING if wanted.current is MISSING else getattr(wanted.current, name, MISSING)
        if name not in data and getattr(kind.model_fields[name], "alias", None) not in data and now is not MISSING:
            default = kind.model_fields[name].get_default(call_default_factory=False)
            if not kind.model_fields[name].is_required() and default is not None and not _same(now, default):
                raise ReplyError(f"the field {name!r} is missing, which is {show(now, 60)} now: give all fields")
    try:
        return kind.model_validate(_without_calls(data))
    except ValueError as error:
        faults: Any = getattr(error, "errors", list)()
        reasons = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:_SHOWN]]
        raise ReplyError("; ".join(reasons) or text_of(error, 200)) from error


def _without_calls(data: Any) -> Any:
    """The data with the calls of classes in it as their fields, for pydantic to read."""
    if isinstance(data, Call):
        with suppress(ReplyError):
            return made(data)
        return _without_calls(data.named)
    if isinstance(data, Name):
        return data.path.rpartition(".")[2]
    if isinstance(data, dict):
        return {key: _without_calls(item) for key, item in data.items()}
    return [_without_calls(item) for item in data] if isinstance(data, (list, tuple)) else data


def _pydantic_words(value: Any) -> str:
    fields = type(value).model_fields.items()
    listed = [f"{name} ({words(getattr(value, name)) or _annotation_text(f.annotation)})" for name, f in fields]
    return f"an object with the fields {', '.join(listed)}"


def _pydantic_literal(value: Any, place: Place) -> str | None:
    text = literal(value.model_dump(), place)
    return None if text is None else f"{place(type(value))}.model_validate({text})"


# --- enumerations ---


def _member(said: Any, wanted: Wanted) -> Any:
    kind: Any = wanted.kind
    if isinstance(said, kind):
        return said
    data = data_of(said)
    path = data.path if isinstance(data, Name) else said.strip() if isinstance(said, str) else ""
    name, members = path.rpartition(".")[2], kind.__members__
    by_value = _by_value(kind, [said, data])
    if name in members:
        found = members[name]
        if by_value is None or by_value is found or "." in path:
            return found
        raise ReplyError(f"{name!r} is the name of one member and the value of another: write {kind.__name__}.{name}")
    if by_value is not None:
        return by_value
    if issubclass(kind, enum.Flag):
        return _flags(said, kind)
    raise ReplyError(f"{text_of(said, 60)!r} is not {_members(kind)}")


def _by_value(kind: Any, attempts: list[Any]) -> Any:
    for attempt in attempts:
        for member in kind.__members__.values():
            value = member.value
            same_kind = isinstance(attempt, bool) is isinstance(value, bool)
            if same_kind and (attempt is value or (_same(attempt, value) and _same(value, attempt))):
                return member
            if isinstance(attempt, list) and isinstance(value, tuple) and _same(tuple(attempt), value):
                return member
    return None


def _flags(said: Any, kind: Any) -> Any:
    if isinstance(said, str) and not said.strip().isdigit():
        names = [part.strip().rpartition(".")[2] for part in said.strip("<> ").split(":")[0].split("|")]
        found = kind(0)
        for name in names:
            if name not in kind.__members__:
                raise ReplyError(f"{text_of(said, 60)!r} is not made of {_members(kind)}")
            found |= kind[name]
        return found
    if isinstance(said, bool) or not isinstance(data_of(said), int):
        raise ReplyError(f"{text_of(said, 60)!r} is not made of {_members(kind)}")
    return kind(data_of(said))


def _members(kind: Any) -> str:
    shown = [
        name if _same(member.value, name) else f"{name} ({show(member.value, 40)})"
        for name, member in list(kind.__members__.items())[:_SHOWN]
    ]
    more = len(kind.__members__) - len(shown)
    return f"one of: {', '.join(shown)}{f' and {more} more' if more > 0 else ''}"


def _member_name(value: Any) -> Any:
    """The name of a member; with its class where the name is the value of another; that of each flag."""
    kind, name = type(value), value.name
    if name is None or "|" in name:
        return "|".join(str(flag.name) for flag in value) or value.value
    other = _by_value(kind, [name])
    return name if other is None or other is value else f"{kind.__name__}.{name}"


def _member_literal(value: Any, place: Place) -> str:
    name = value.name
    return f"{place(type(value))}({value.value!r})" if name is None or "|" in name else f"{place(type(value))}.{name}"


def _member_schema(value: Any) -> dict[str, Any] | None:
    members: dict[str, Any] = type(value).__members__
    if isinstance(value, enum.Flag):
        return None
    return {"type": "string", "enum": [_member_name(member) for member in dict.fromkeys(members.values())]}


register_rule(
    lambda kind: issubclass(kind, enum.Enum),
    ValueType(_member, _member_name, lambda value: _members(type(value)), _member_schema, _member_literal),
)
register_rule(
    lambda kind: issubclass(kind, tuple) and hasattr(kind, "_fields") and hasattr(kind, "_field_defaults"),
    _record(_tuple_fields, by_order=True),
)
register_rule(
    lambda kind: hasattr(kind, "model_validate") and hasattr(kind, "model_fields"),
    ValueType(
        _pydantic,
        lambda value: value.model_dump(mode="json"),
        _pydantic_words,
        literal=_pydantic_literal,
    ),
)
register_rule(lambda kind: hasattr(kind, "__attrs_attrs__"), _record(_attrs_fields))
register_rule(lambda kind: hasattr(kind, "__dataclass_fields__"), _record(_dataclass_fields))
