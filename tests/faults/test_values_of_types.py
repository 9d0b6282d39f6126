"""Kind 3: a value is built by the rules of its type, shape and keys included, or refused with a reason."""

from __future__ import annotations

import datetime as dt
import enum
import json
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
from fault_cases import J, case, step_on

from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2


@dataclass
class Cfg:
    k: int
    t: float = 0.5


@dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    size: int = 1


@dataclass(kw_only=True)
class ByName:
    a: int
    b: str = "b"


@dataclass
class Outer:
    cfg: Cfg
    tags: list[str] = field(default_factory=list)


@attrs.define
class Attrs:
    k: int
    t: float = 0.5


class Pydantic(pydantic.BaseModel):
    k: int
    t: float = 0.5


class Point(NamedTuple):
    x: int
    y: int = 0


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


DAY = dt.date(2025, 1, 2)
NOON = dt.datetime(2025, 1, 2, 12, 0)
ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, np.ndarray):
        return bool(found.dtype == wanted.dtype and found.shape == wanted.shape and (found == wanted).all())
    return type(found) is type(wanted) and bool(found == wanted)


@pytest.mark.parametrize(
    ("current", "said", "wanted"),
    [
        case("dataclass", Cfg(1), {"k": 2, "t": 0.7}, Cfg(2, 0.7)),
        case("dataclass as text", Cfg(1), '{"k": 2, "t": 0.7}', Cfg(2, 0.7)),
        case("dataclass as Python", Cfg(1), "Cfg(k=2, t=0.7)", Cfg(2, 0.7)),
        case("frozen dataclass", Frozen("a"), {"name": "b", "size": 3}, Frozen("b", 3)),
        case("dataclass by name", ByName(a=1), {"a": 2, "b": "c"}, ByName(a=2, b="c")),
        case("dataclass in a dataclass", Outer(Cfg(1)), {"cfg": {"k": 2}, "tags": ["x"]}, Outer(Cfg(2), ["x"])),
        case("dataclass in a list", [Cfg(1)], [{"k": 2, "t": 0.7}], [Cfg(2, 0.7)]),
        case("dataclass in a dict", {"a": Cfg(1)}, {"a": {"k": 2, "t": 0.7}}, {"a": Cfg(2, 0.7)}),
        case("attrs", Attrs(1), {"k": 2, "t": 0.7}, Attrs(2, 0.7)),
        case("pydantic", Pydantic(k=1), {"k": 2, "t": 0.7}, Pydantic(k=2, t=0.7)),
        case("named tuple of a dict", Point(1), {"x": 2, "y": 3}, Point(2, 3)),
        case("named tuple of a list", Point(1), [2, 3], Point(2, 3)),
        case("enum by value", Colour.RED, "blue", Colour.BLUE),
        case("enum by name", Colour.RED, "BLUE", Colour.BLUE),
        case("enum by path", Colour.RED, "Colour.BLUE", Colour.BLUE),
        case("int enum by value", Level.LOW, 2, Level.HIGH),
        case("int enum by name", Level.LOW, "HIGH", Level.HIGH),
        case("date", DAY, "2025-03-04", dt.date(2025, 3, 4)),
        case("datetime", NOON, "2025-03-04T05:06:00", dt.datetime(2025, 3, 4, 5, 6)),
        case("time", dt.time(1, 2), "03:04:00", dt.time(3, 4)),
        case("timedelta", dt.timedelta(seconds=1), "0:00:05", dt.timedelta(seconds=5)),
        case("Decimal", Decimal("1.5"), "2.50", Decimal("2.50")),
        case("Decimal of a number", Decimal("1.5"), 2.5, Decimal("2.5")),
        case("Decimal of tenths", Decimal("0.1"), 0.3, Decimal("0.3")),
        case("Fraction", Fraction(1, 2), "1/3", Fraction(1, 3)),
        case("UUID", ONE, str(TWO), TWO),
        case("path", PurePosixPath("a"), "b/c", PurePosixPath("b/c")),
        case("complex", 1j, "2+3j", 2 + 3j),
        case("range", range(3), "range(0, 5)", range(5)),
        case("bytes as Python", b"abc", "b'xyz'", b"xyz"),
        case("dict with int keys", {1: 0.5, 2: 0.5}, {"1": 0.9, "2": 0.1}, {1: 0.9, 2: 0.1}),
        case("dict with float keys", {0.5: "a"}, {"0.5": "b"}, {0.5: "b"}),
        case("dict with bool keys", {True: "a", False: "b"}, {"true": "c", "false": "d"}, {True: "c", False: "d"}),
        case("dict with None for a key", {None: "a"}, {"null": "b"}, {None: "b"}),
        case("dict with tuple keys", {(1, 2): "a"}, {"(1, 2)": "b"}, {(1, 2): "b"}),
        case("dict with enum keys", {Colour.RED: 1}, {"red": 2}, {Colour.RED: 2}),
        case("int keys in a dict", {"a": {1: 2}}, {"a": {"1": 3}}, {"a": {1: 3}}),
        case("dict as text", {1: 0.5}, "{1: 0.9}", {1: 0.9}),
        case("OrderedDict", OrderedDict(a=1), {"a": 2}, OrderedDict(a=2)),
        case("defaultdict", defaultdict(int, a=1), {"a": 2}, defaultdict(int, a=2)),
        case("Counter", Counter(a=1), {"a": 2}, Counter(a=2)),
        case("deque", deque([1, 2], maxlen=3), [3, 4], deque([3, 4], maxlen=3)),
        case("set", {1, 2}, [2, 3], {2, 3}),
        case("set as Python", {1, 2}, "{2, 3}", {2, 3}),
        case("frozenset", frozenset({1}), [2], frozenset({2})),
        case("tuple", (1, "a"), [2, "b"], (2, "b")),
        case("tuples in a list", [(1, 2)], [[3, 4]], [(3, 4)]),
        case("array", np.array([1.0, 2.0]), [3, 4], np.array([3.0, 4.0])),
        case("int array", np.array([1, 2]), [3, 4], np.array([3, 4])),
        case("bool array", np.array([True, True]), ["false", "true"], np.array([False, True])),
        case("bool array of truth", np.array([True, True]), [False, True], np.array([False, True])),
        case("array of two axes", np.zeros((2, 2)), [[1, 2], [3, 4]], np.array([[1.0, 2], [3, 4]])),
        case("numpy number", np.float64(1), 2.5, np.float64(2.5)),
        case("bool", True, "false", False),
        case("text that reads as a number", "A", 3, "3"),
    ],
)  # fmt: skip
def test_kind_03_a_value_is_built_by_its_type(current: Any, said: Any, wanted: Any) -> None:
    found = step_on(J(said), value=current)
    assert same(found.value, wanted), found.said
    if isinstance(wanted, defaultdict):
        assert found.value.default_factory is int
    if isinstance(wanted, deque):
        assert found.value.maxlen == 3


@pytest.mark.parametrize(
    ("current", "said"),
    [
        case("dataclass without a field", Cfg(1), {"t": 0.7}),
        case("dataclass with a field too many", Cfg(1), {"k": 2, "z": 1}),
        case("dataclass with a wrong type", Cfg(1), {"k": "many", "t": 0.7}),
        case("dataclass of a number", Cfg(1), 5),
        case("dataclass of a list", Cfg(1), ["a"]),
        case("attrs with a wrong field", Attrs(1), {"k": 1, "z": 2}),
        case("pydantic with a wrong type", Pydantic(k=1), {"k": "many"}),
        case("named tuple too long", Point(1), [1, 2, 3]),
        case("named tuple with a wrong type", Point(1), {"x": "far", "y": 1}),
        case("enum without this member", Colour.RED, "green"),
        case("date that is none", DAY, "2025-13-45"),
        case("time that is none", dt.time(1), "25:00"),
        case("UUID that is none", ONE, "one"),
        case("Fraction over zero", Fraction(1, 2), "1/0"),
        case("Decimal that is none", Decimal(1), "one"),
        case("Decimal not a number", Decimal(1), "NaN"),
        case("bytes of a number", b"abc", 5),
        case("bytes of a list", b"abc", [1, 2]),
        case("bytearray of a number", bytearray(b"abc"), 5),
        case("bool of a list", True, ["x"]),
        case("bool of a dict", True, {"a": 1}),
        case("bool of a float", True, 0.5),
        case("int keys that are none", {1: 0.5}, {"one": 0.5}),
        case("int array of floats", np.array([1, 2]), [1.7, 2]),
        case("array of another shape", np.zeros(2), [1, 2, 3]),
        case("array with an axis more", np.zeros(2), [[1, 2]]),
        case("array of a number", np.zeros(2), 1),
        case("bool array of words", np.array([True]), ["maybe"]),
        case("small int array", np.array([1], dtype=np.int8), [300]),
        case("unsigned array", np.array([1], dtype=np.uint8), [-1]),
        case("set of lists", {1, 2}, [[1], [2]]),
        case("path of a number", PurePosixPath("a"), 5),
        case("list of a number", [1, 2], 5),
        case("number of a list", 1.5, [2.5]),
        case("int of a dict", 1, {"value": 2, "why": "x"}),
    ],
)
def test_kind_03_what_the_type_does_not_take_is_refused_with_a_reason(current: Any, said: Any) -> None:
    found = step_on(J(said), value=current)
    assert same(found.value, current) and not found.update
    reason = found.update.refused["p0"]
    assert reason and reason in found.question, "the second question quotes the reason"


@pytest.mark.parametrize("optimizer", [case("lean", OptoPrime), case("V1", OptoPrimeV1), case("V2", OptoPrimeV2)])
@pytest.mark.parametrize(
    ("current", "said", "wanted"),
    [
        case("a dataclass in every format", Cfg(1), {"k": 2, "t": 0.7}, Cfg(2, 0.7)),
        case("a date in every format", DAY, "2025-03-04", dt.date(2025, 3, 4)),
        case("int keys in every format", {1: 0.5}, {"1": 0.9}, {1: 0.9}),
    ],
)
def test_kind_03_the_tag_format_builds_them_too(optimizer: Any, current: Any, said: Any, wanted: Any) -> None:
    body = said if isinstance(said, str) else json.dumps(said)
    tags = f"<reasoning>r</reasoning><variable><name>p0</name><value>{body}</value></variable>"
    assert same(step_on(tags, value=current, optimizer=optimizer).value, wanted)


@pytest.mark.parametrize(
    ("current", "words"),
    [
        case("fields of a dataclass are shown", Cfg(1), ("k", "t", "0.5")),
        case("members of an enum are shown", Colour.RED, ("red", "blue")),
        case("shape and dtype are shown", np.zeros((2, 3), dtype=np.float32), ("2", "3", "float32")),
        case("fields of pydantic are shown", Pydantic(k=1), ("k", "t")),
        case("keys of a dict are shown", {1: 0.5}, ("1", "0.5")),
    ],
)
def test_kind_03_the_prompt_asks_for_such_a_value(current: Any, words: tuple[str, ...]) -> None:
    question = step_on("{}", value=current).llm.calls[0]["messages"][-1]["content"]
    assert all(word in question for word in words)
