"""Whatever value a parameter may hold comes back equal when a reply gives it as it is shown, in every format."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import json
import math
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import attrs
import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from opto.llm import ScriptedLLM
from opto.optimizers import OPRO, OPROv2, OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.trace import GRAPH, node
from opto.values import convert, literal, plain, shown


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"
    red = "RED"  # the name of one is the value of the other


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


@dataclass
class Inner:
    size: int
    name: str = "n"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    share: float = 0.5
    tags: list[str] = field(default_factory=list)
    level: Level | None = None


@attrs.define
class Attrs:
    k: int
    _hidden: str = "h"


class Model(pydantic.BaseModel):
    k: int
    day: dt.date
    names: list[str] = []


class Pair(NamedTuple):
    left: int
    right: Inner


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)
INTS = st.integers(-(10**9), 10**9)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ZONES = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))])
INNERS = st.builds(Inner, INTS, TEXT)
SCALARS: dict[str, Any] = {
    "int": INTS,
    "float": FLOATS,
    "bool": st.booleans(),
    "complex": st.complex_numbers(allow_nan=False, allow_infinity=False),
    "bytes": st.binary(max_size=8),
    "bytearray": st.binary(max_size=8).map(bytearray),
    "range": st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
    "date": st.dates(),
    "time": st.times(),
    "time with an offset": st.times(timezones=ZONES),
    "datetime": st.datetimes(),
    "datetime with an offset": st.datetimes(timezones=ZONES),
    "timedelta": st.timedeltas(dt.timedelta(days=-9_999), dt.timedelta(days=9_999)),
    "Decimal": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9),
    "Fraction": st.fractions(),
    "UUID": st.uuids(),
    "path": st.lists(st.sampled_from(["a", "b c", "d.e"]), min_size=1, max_size=3).map(lambda p: PurePosixPath(*p)),
    "enum": st.sampled_from(Colour),
    "int enum": st.sampled_from(Level),
    "flag": st.integers(1, 7).map(Rights),
    "numpy float": st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32),
    "numpy int": st.integers(-128, 127).map(np.int8),
    "numpy bool": st.booleans().map(np.bool_),
}
RECORDS: dict[str, Any] = {
    "dataclass": INNERS,
    "nested dataclass": st.builds(
        Outer, INNERS, FLOATS, st.lists(TEXT, max_size=3), st.none() | st.sampled_from(Level)
    ),
    "attrs": st.builds(Attrs, INTS, TEXT),
    "pydantic": st.builds(lambda k, day, names: Model(k=k, day=day, names=names), INTS, st.dates(), st.lists(TEXT)),
    "named tuple": st.builds(Pair, INTS, INNERS),
}
ARRAYS: dict[str, Any] = {
    "floats": hnp.arrays(np.float64, (2, 3), elements=st.floats(-1e9, 1e9)),
    "short floats": hnp.arrays(np.float32, 4, elements=st.floats(-1000, 1000, width=32)),
    "ints": hnp.arrays(np.int16, (3,)),
    "truths": hnp.arrays(np.bool_, (2, 2)),
    "texts": hnp.arrays(np.dtype("U4"), 3, elements=st.text("abc d", min_size=1, max_size=4)),
    "of no axis": hnp.arrays(np.float64, (), elements=st.floats(-9, 9)),
}
ITEMS = ["int", "float", "date", "Decimal", "enum", "UUID", "bool", "timedelta", "bytes"]
STRUCTURES: dict[str, Any] = {
    "texts": st.lists(TEXT, min_size=1, max_size=3),
    "dict of texts": st.dictionaries(TEXT, TEXT, min_size=1, max_size=3),
    "records": st.lists(INNERS, min_size=1, max_size=3),
    "dict of records": st.dictionaries(TEXT, INNERS, min_size=1, max_size=3),
    "dict of lists": st.dictionaries(TEXT, st.lists(INTS, min_size=1, max_size=2), min_size=1, max_size=3),
    "ordered dict": st.dictionaries(TEXT, INTS, min_size=1, max_size=3).map(OrderedDict),
    "counter": st.dictionaries(TEXT, INTS, min_size=1, max_size=3).map(Counter),
    "default dict": st.dictionaries(TEXT, INTS, min_size=1, max_size=3).map(lambda d: defaultdict(int, d)),
    "deque": st.lists(INTS, min_size=1, max_size=3).map(lambda items: deque(items, 4)),
    "keys that are pairs": st.dictionaries(st.tuples(INTS, st.booleans()), TEXT, min_size=1, max_size=2),
}
for name in ITEMS:
    STRUCTURES[f"list of {name}"] = st.lists(SCALARS[name], min_size=1, max_size=3)
    STRUCTURES[f"tuple of {name}"] = st.lists(SCALARS[name], min_size=1, max_size=3).map(tuple)
    STRUCTURES[f"set of {name}"] = st.sets(SCALARS[name], min_size=1, max_size=3)
    STRUCTURES[f"frozenset of {name}"] = st.frozensets(SCALARS[name], min_size=1, max_size=3)
    STRUCTURES[f"{name} as keys"] = st.dictionaries(SCALARS[name], INTS, min_size=1, max_size=3)
    STRUCTURES[f"{name} in lists"] = st.lists(st.lists(SCALARS[name], min_size=1, max_size=2), min_size=1, max_size=2)
VALUES = {**SCALARS, **RECORDS, **ARRAYS, **STRUCTURES}


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, np.ndarray):
        return bool(found.dtype == wanted.dtype and found.shape == wanted.shape and np.array_equal(found, wanted))
    if isinstance(wanted, (list, tuple, deque)):
        return type(found) is type(wanted) and len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, dict):
        return type(found) is type(wanted) and found == wanted and {*map(type, found)} == {*map(type, wanted)}
    return type(found) is type(wanted) and bool(found == wanted)


@pytest.mark.parametrize("name", VALUES)
def test_what_is_shown_is_read_as_what_it_was(name: str) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(VALUES[name], VALUES[name])
    def check(current: Any, new: Any) -> None:
        in_json = json.loads(json.dumps(plain(new)))
        assert same(convert(in_json, current), new), in_json
        assert same(convert(shown(new), current), new), shown(new)
        assert same(convert(new, current), new)
        if not isinstance(new, np.ndarray):  # their own text is rounded
            for text in {repr(new), str(new)}:
                assert same(convert(text, current), new), text

    check()


NAMESPACE = {
    cls.__name__: cls
    for cls in (
        dt.date, dt.datetime, dt.time, dt.timedelta, Decimal, Fraction, uuid.UUID, PurePosixPath, Colour, Level, Rights,
        Inner, Outer, Attrs, Model, Pair, OrderedDict, Counter, defaultdict, deque, int,
        np.float32, np.int8, np.bool_, np.array,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_what_is_written_as_code_is_the_value(name: str) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(VALUES[name])
    def check(value: Any) -> None:
        text = literal(value, lambda cls: str(cls.__name__))
        assert text is not None and same(eval(text, dict(NAMESPACE)), value), text

    check()


def examples(name: str) -> list[Any]:
    """A few values of the table, the same in every run."""
    found: list[Any] = []

    @settings(max_examples=8, deadline=None, database=None, derandomize=True,
              suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
    @given(VALUES[name])
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def in_json(value: Any) -> str:
    return json.dumps({"reasoning": "r", "suggestion": {"p0": plain(value)}})


def in_schema(value: Any) -> str:
    return json.dumps({"reasoning": "r", "changes": [{"name": "p0", "value": shown(value)}]})


def in_tags(value: Any) -> str:
    return f"<reasoning>r</reasoning>\n<variable>\n<name>p0</name>\n<value>\n{shown(value)}\n</value>\n</variable>"


FORMATS: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "lean JSON": (OptoPrime, {}, in_json),
    "lean schema": (OptoPrime, {"reply": "json_schema"}, in_schema),
    "lean tags": (OptoPrime, {"reply": "text"}, in_tags),
    "lean prefill": (OptoPrime, {"reply": "prefill"}, lambda value: f"{shown(value)}\n"),
    "classic": (OptoPrimeV1, {}, in_json),
    "OPRO": (OPRO, {}, in_json),
    "tags": (OptoPrimeV2, {}, in_tags),
    "tags in OPRO": (OPROv2, {}, in_tags),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", VALUES)
def test_every_format_gives_it_back(name: str, form: str) -> None:
    optimizer, options, write = FORMATS[form]
    values = examples(name)
    for current, new in itertools.pairwise(values):
        GRAPH.clear()
        p = node(current, name="p", trainable=True)
        asking = optimizer([p], llm=ScriptedLLM([write(new)] * 3), **options)
        asking.zero_feedback()
        asking.backward(p.clone(), "not good enough")
        update = asking.step()
        assert same(p.data, new) or same(current, new), (write(new), update.reason, dict(update.refused))


def test_numbers_that_are_no_usual_ones_stay_where_they_are() -> None:
    for value in (float("nan"), float("inf"), [1.0, float("nan")], np.array([1.0, float("inf")]), {"a": float("nan")}):
        found = convert(json.loads(json.dumps(plain(value))), value)
        assert repr(found) == repr(value)
    assert math.isnan(convert("nan", float("nan")))
