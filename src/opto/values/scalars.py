"""Rows for texts, numbers, truth, bytes, dates and times, decimals, fractions, paths and the like."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Callable
from typing import Any

from opto.errors import ReplyError
from opto.show import text_of
from opto.values.value_types import MISSING, Place, ValueType, Wanted, no_such, register
from opto.values.written_data import Call, Name, data_of

__all__ = ["finite", "made", "number", "truth", "whole"]

_log = logging.getLogger(__name__)
_LONE = re.compile("[\ud800-\udfff]")  # half of a character: no file and no server takes it
_TRUTH = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_DECIMAL_COMMA = re.compile(r"([-+]?\d*),(\d+)")
_ODD_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "NaN": lambda x: x != x,  # only NaN differs from itself
    "an infinite one": lambda x: abs(x) == math.inf,
}
_LONG = 200  # characters; no number has as many
_HUGE_EXPONENT = re.compile(r"[eE][-+]?0*[1-9]\d{3}")


# --- texts and numbers ---


def _text(said: Any, wanted: Wanted) -> Any:
    """A text; an object or a list is written as JSON if the present text is such."""
    if said is None:
        raise ReplyError("a text is expected, not null")
    if isinstance(said, (Call, Name)):
        raise ReplyError(f"a text is expected, not {text_of(said, 60)}")
    if isinstance(said, (dict, list)):
        if wanted.current is MISSING or type(_json(wanted.current)) is not type(said):
            raise ReplyError(f"a text is expected, not {'an object' if isinstance(said, dict) else 'a list'}")
        said = json.dumps(said, ensure_ascii=False)
    kind = wanted.kind
    text = said if type(said) is kind else kind(said)
    return text if text.isascii() else kind(_LONE.sub("\ufffd", text))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def number(said: Any, wanted: Wanted) -> Any:
    """A number of the wanted type; texts that may mean several, truth, NaN and the infinite are refused."""
    kind = wanted.kind
    if isinstance(said, str):
        said = data_of(_without_commas(said))
    if isinstance(said, bool):
        raise ReplyError(f"a number is expected, not {str(said).lower()}")
    if issubclass(kind, int) and isinstance(said, float):
        said = whole(finite(said, wanted.current), wanted.rounds)
    return finite(said if type(said) is kind else kind(said), wanted.current)


def _without_commas(text: str) -> str:
    """A number without the commas between thousands, or with a point for a decimal comma; other texts as they are."""
    text = text.strip()
    if _THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    decimal = _DECIMAL_COMMA.fullmatch(text)
    if decimal is not None:
        return f"{decimal[1]}.{decimal[2]}"
    if len(text) < _LONG and re.fullmatch(r"[-+\d.,_ ]*,[-+\d.,_ ]*", text):
        raise ReplyError(f"{text[:60]!r} may mean several numbers: write it without commas, with a decimal point")
    return text


def whole(found: float, rounds: bool) -> int:
    """The whole number that is meant; with `rounds` a fraction is dropped, and a warning says so."""
    if not found.is_integer():
        if not rounds:
            raise ReplyError(f"a whole number is expected, not {found}")
        _log.warning("The reply's %s is read as the whole number %s.", found, int(found))
    return int(found)


def finite(value: Any, current: Any) -> Any:
    """The value, if it is no NaN and nothing infinite, or the present one is such, too."""
    for name, is_such in _ODD_NUMBERS.items():
        if _holds(value, is_such) and not _holds(current, is_such):
            raise ReplyError(f"a number is expected, not {name}")
    return value


def _holds(value: Any, is_such: Callable[[Any], Any]) -> bool:
    if type(value).__module__ == "numpy":
        return value.dtype.kind in "fc" and bool(is_such(value).any())
    if isinstance(value, complex):
        return bool(is_such(value.real) or is_such(value.imag))
    return isinstance(value, float) and is_such(value)


def truth(said: Any, wanted: Wanted) -> bool:
    """True or false, from those words, yes and no, 1 and 0."""
    found = _TRUTH.get(str(said).strip().lower()) if isinstance(said, (str, bool, int, float)) else None
    found = bool(said) if found is None and isinstance(said, (int, float)) and said in (0, 1) else found
    if found is None:
        raise ReplyError(f"{text_of(said, 60)!r} is neither true nor false")
    return found


def _complex(said: Any, wanted: Wanted) -> Any:
    data = data_of(said)
    if isinstance(data, str):
        data = complex(data.replace(" ", "").replace("i", "j"))
    if isinstance(data, bool) or not isinstance(data, (int, float, complex)):
        raise no_such(said, wanted.kind)
    return finite(wanted.kind(data), wanted.current)


def _of_subclass(value: Any, text: str, base: type, place: Place) -> str:
    """The literal of a value whose class may be a subclass of `base`."""
    ours = type(value).__module__.startswith("opto.")
    return text if type(value) is base or ours else f"{place(type(value))}({text})"


def _float_literal(value: float, place: Place) -> str:
    text = repr(float(value))
    text = text if math.isfinite(value) else f"float({text!r})"
    return _of_subclass(value, text, float, place)


register(
    "builtins.str",
    ValueType(
        _text,
        plain=str.__str__,
        schema=lambda value: {"type": "string"},
        literal=lambda value, place: _of_subclass(value, repr(str.__str__(value)), str, place),
    ),
)
register(
    "builtins.int",
    ValueType(
        number,
        plain=lambda value: int(value),
        schema=lambda value: {"type": "integer"},
        literal=lambda value, place: _of_subclass(value, repr(int(value)), int, place),
    ),
)
register(
    "builtins.float",
    ValueType(
        number, plain=lambda value: float(value), schema=lambda value: {"type": "number"}, literal=_float_literal
    ),
)
register("builtins.bool", ValueType(truth, schema=lambda value: {"type": "boolean"}))
register("builtins.NoneType", ValueType(lambda said, wanted: said))
register(
    "builtins.complex",
    ValueType(
        _complex,
        plain=lambda value: str(value).strip("()"),
        words=lambda value: "a complex number such as 1+2j",
        literal=lambda value, place: f"complex({value.real!r}, {value.imag!r})".replace("inf", "float('inf')").replace(
            "nan", "float('nan')"
        ),
    ),
)


# --- what the standard library's constructors make of a text ---


def _standard(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


_CONSTRUCTORS = {
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "uuid": ("UUID",),
    "pathlib": ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "zoneinfo": ("ZoneInfo",),
    "builtins": ("range", "bytearray"),
}


def made(data: Any) -> Any:
    """The object of the standard library that a call in a text makes; other data as it is."""
    if isinstance(data, Name) and data.path.endswith("timezone.utc"):
        return _standard("datetime", "timezone").utc
    if not isinstance(data, Call):
        return data
    name = data.name.rpartition(".")[2]
    module = next((module for module, names in _CONSTRUCTORS.items() if name in names), "")
    kind = _standard(module, name)
    is_exact = name in ("Decimal", "Fraction")
    if kind is None or (is_exact and _HUGE_EXPONENT.search(text_of(data.arguments))):
        raise ReplyError(f"{name}(...) is not known here")
    return kind(*[made(argument) for argument in data.arguments], **{k: made(v) for k, v in data.named.items()})


def _by_text(
    words: str, make: Callable[[str, Wanted], Any], *, also: tuple[type, ...] = (), write: Any = str
) -> ValueType:
    """A row of a type that is read from a text, a call of its class, or a number of the types `also`."""

    def read(said: Any, wanted: Wanted) -> Any:
        kind = wanted.kind
        data = made(data_of(said))
        if type(data) is kind:
            return data
        if isinstance(data, kind):  # a datetime is no date
            data = said = write(data)
        if type(data) in also and not isinstance(said, str):
            said = repr(data)
        if not isinstance(said, str):
            raise ReplyError(f"{words} is expected, not {text_of(said, 60)!r}")
        text = data if isinstance(data, str) else said
        try:
            return make(text.strip(), wanted)
        except ReplyError:
            raise
        except Exception as error:
            raise ReplyError(f"{text_of(text, 60)!r} is not {words}") from error

    def literal(value: Any, place: Place) -> str:
        return f"{place(type(value))}({write(value)!r})"

    return ValueType(read, write, lambda value: words, literal=literal)


def _bounded(text: str) -> str:
    if _HUGE_EXPONENT.search(text):
        raise ReplyError(f"{text_of(text, 60)!r} is too large or too small a number")
    return text


def _decimal(text: str, wanted: Wanted) -> Any:
    found = wanted.kind(_without_commas(_bounded(text)))
    if not found.is_finite() and not (wanted.current is not MISSING and not wanted.current.is_finite()):
        raise ReplyError(f"a number is expected, not {text}")
    return found


def _path(text: str, wanted: Wanted) -> Any:
    if not text or "\0" in text or _LONE.search(text):
        raise ReplyError(f"{text_of(text, 60)!r} is not a path")
    return wanted.kind(text)


register("decimal.Decimal", _by_text("a decimal number", _decimal, also=(int, float)))
register(
    "fractions.Fraction",
    _by_text(
        "a fraction such as 1/3", lambda text, wanted: wanted.kind(_bounded(text).replace(" ", "")), also=(int, float)
    ),
)
register("uuid.UUID", _by_text("a UUID", lambda text, wanted: wanted.kind(text)))
register("pathlib.PurePath", _by_text("a path", _path))


# --- dates and times ---


def _iso(words: str, *, has_zone: bool) -> ValueType:
    def make(text: str, wanted: Wanted) -> Any:
        found = wanted.kind.fromisoformat(text)
        current = wanted.current
        if has_zone and current is not MISSING and (found.tzinfo is None) is not (current.tzinfo is None):
            raise ReplyError(f"{text!r} {'lacks its' if found.tzinfo is None else 'is not to have an'} offset from UTC")
        return found

    row = _by_text(words, make, write=lambda value: value.isoformat())

    def literal(value: Any, place: Place) -> str | None:
        zone = getattr(value, "tzinfo", None)
        plain_zone = zone is None or type(zone) is _standard("datetime", "timezone")
        return f"{place(type(value))}.fromisoformat({value.isoformat()!r})" if plain_zone else None

    def wording(value: Any) -> str:
        return f"{words}+00:00, with its offset from UTC" if getattr(value, "tzinfo", None) is not None else words

    return ValueType(row.read, row.plain, wording, literal=literal)


_SPAN = re.compile(
    r"(?:(?P<days>[-+]?\d+) days?,? ?)?(?:(?P<sign>-)?(?P<h>\d+):(?P<m>\d\d)(?::(?P<s>\d\d(?:\.\d{1,6})?))?)?"
)
_ISO_SPAN = re.compile(
    r"(?P<sign>-)?P(?:(?P<days>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)


def _span(text: str, wanted: Wanted) -> Any:
    found = _SPAN.fullmatch(text) or _ISO_SPAN.fullmatch(text)
    if not text or found is None:
        return wanted.kind(seconds=float(_without_commas(text)))
    if not any(found[name] for name in ("days", "h", "m", "s")):
        raise ReplyError(f"{text!r} is not a length of time")
    day, *parts = (float(found[name] or 0) for name in ("days", "h", "m", "s"))
    sign = -1 if found["sign"] else 1
    if text.lstrip("-").startswith("P"):
        day *= sign
    hours, minutes, seconds = (sign * part for part in parts)
    return wanted.kind(days=day, hours=hours, minutes=minutes, seconds=seconds)


def _span_literal(value: Any, place: Place) -> str:
    return f"{place(type(value))}(days={value.days}, seconds={value.seconds}, microseconds={value.microseconds})"


_SPANS = _by_text("a length of time as H:MM:SS, or in seconds", _span, also=(int, float))
register("datetime.datetime", _iso("a date and time as YYYY-MM-DDTHH:MM:SS", has_zone=True))
register("datetime.date", _iso("a date as YYYY-MM-DD", has_zone=False))
register("datetime.time", _iso("a time as HH:MM:SS", has_zone=True))
register("datetime.timedelta", ValueType(_SPANS.read, _SPANS.plain, _SPANS.words, literal=_span_literal))


# --- bytes and ranges ---


def _bytes(said: Any, wanted: Wanted) -> Any:
    data = made(data_of(said))
    if not isinstance(data, (bytes, bytearray)):
        raise ReplyError(f"bytes are expected as Python writes them, b'...', not {text_of(said, 60)!r}")
    return data if type(data) is wanted.kind else wanted.kind(data)


def _bytes_literal(value: Any, place: Place) -> str:
    return repr(value) if type(value) in (bytes, bytearray) else f"{place(type(value))}({bytes(value)!r})"


def _range(said: Any, wanted: Wanted) -> range:
    data = made(data_of(said))
    if isinstance(data, range):
        return data
    raise ReplyError(f"a range is expected as Python writes it, range(0, 5), not {text_of(said, 60)!r}")


_BYTES = ValueType(
    _bytes,
    plain=lambda value: repr(bytes(value)),
    words=lambda value: "bytes as Python writes them: b'...'",
    literal=_bytes_literal,
)
register("builtins.bytes builtins.bytearray", _BYTES)
register(
    "builtins.range",
    ValueType(_range, plain=repr, words=lambda value: "a range as Python writes it: range(0, 5)"),
)
