"""Values are read by the rules of their types: forms that are taken, and what is refused with which words."""

from __future__ import annotations

import datetime as dt
import enum
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import ReplyError
from opto.llm import ScriptedLLM
from opto.optimizers import OptoPrime
from opto.trace import GRAPH, node
from opto.values import convert, plain, register_value_type, schema, shown, words


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"
    red = "RED"


class Word(enum.StrEnum):
    YES = "y"
    NO = "n"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Cfg:
    k: int
    t: float = 0.5
    mode: Literal["fast", "slow"] = "fast"
    limit: int | None = None
    tags: Sequence[str] = ()
    extra: Any = None
    share: Annotated[float, "of all"] = 1


@dataclass
class Made:
    size: int
    area: int = field(init=False)
    factor: InitVar[int] = 2

    def __post_init__(self, factor: int) -> None:
        self.area = self.size * factor


@dataclass
class Checked:
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError("a share is from 0 to 1")


@dataclass
class Tree:
    name: str
    parts: "list[Tree]" = field(default_factory=list)  # noqa: UP037


@attrs.define
class Private:
    _k: int
    size: int = attrs.field(default=1, validator=attrs.validators.ge(0))


class Model(pydantic.BaseModel):
    k: int = 1
    parts: list[Cfg] = []


class Point(NamedTuple):
    x: int
    y: int = 0


class Bare:
    def __init__(self, x: Any = None) -> None:
        self.x = x


class Metres(float):
    pass


DAY = dt.date(2025, 1, 2)
UTC_NOON = dt.datetime(2025, 1, 2, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("said", "current", "expected"),
    [
        ({"k": 2}, Cfg(1), Cfg(2)),
        ({"k": 2.0, "t": 1}, Cfg(1), Cfg(2, 1.0)),
        ({"k": 1, "mode": "slow", "limit": 5, "tags": ["a"], "extra": {"x": 1}, "share": "0.5"}, Cfg(1),
         Cfg(1, 0.5, "slow", 5, ("a",), {"x": 1}, 0.5)),
        ({"k": 1, "limit": None}, Cfg(1, limit=5), Cfg(1)),
        ("Cfg(2, t=0.7)", Cfg(1), Cfg(2, 0.7)),
        ("mod.Cfg(2)", Cfg(1), Cfg(2)),
        (Cfg(5), Cfg(1), Cfg(5)),
        ({"size": 3, "factor": 4}, Made(1), Made(3, 4)),
        ({"name": "a", "parts": [{"name": "b", "parts": []}]}, Tree("x"), Tree("a", [Tree("b")])),
        ({"k": 2}, Private(1), Private(2)),
        ({"_k": 2}, Private(1), Private(2)),
        ({"parts": [{"k": 1}]}, Model(), Model(parts=[Cfg(1)])),
        ("k=3 parts=[]", Model(), Model(k=3)),
        ("(1, 2)", Point(0), Point(1, 2)),
        ("Point(x=1)", Point(0), Point(1)),
        ([1], Point(0), Point(1)),
        ("Colour.red", Colour.BLUE, Colour.red),
        ("<Colour.RED: 'red'>", Colour.BLUE, Colour.RED),
        ("y", Word.NO, Word.YES),
        ("YES", Word.NO, Word.YES),
        ("READ|WRITE", Rights.READ, Rights.READ | Rights.WRITE),
        (3, Rights.READ, Rights.READ | Rights.WRITE),
        ("Rights.WRITE", Rights.READ, Rights.WRITE),
        ("datetime.date(2025, 3, 4)", DAY, dt.date(2025, 3, 4)),
        ("2025-01-02T13:00:00Z", UTC_NOON, dt.datetime(2025, 1, 2, 13, tzinfo=dt.UTC)),
        ("datetime.datetime(2025, 1, 2, 13, 0, tzinfo=datetime.timezone.utc)", UTC_NOON,
         dt.datetime(2025, 1, 2, 13, tzinfo=dt.UTC)),
        ("1 day, 0:00:05", dt.timedelta(1), dt.timedelta(days=1, seconds=5)),
        ("-1 day, 23:59:59", dt.timedelta(1), dt.timedelta(seconds=-1)),
        ("P1DT2H", dt.timedelta(1), dt.timedelta(days=1, hours=2)),
        (90, dt.timedelta(1), dt.timedelta(seconds=90)),
        ("90.5", dt.timedelta(1), dt.timedelta(seconds=90.5)),
        ("1:30", dt.timedelta(1), dt.timedelta(hours=1, minutes=30)),
        ("Decimal('2.50')", Decimal(1), Decimal("2.50")),
        ("1,000.5", Decimal(1), Decimal("1000.5")),
        (0.5, Fraction(1, 3), Fraction(1, 2)),
        ("Fraction(1, 4)", Fraction(1, 3), Fraction(1, 4)),
        ("PosixPath('a/b')", PurePosixPath("x"), PurePosixPath("a/b")),
        ("2 + 3i", 1j, 2 + 3j),
        ("b'\\x00'", bytearray(b"a"), bytearray(b"\0")),
        ("[[1, 2]]", [(3, 4)], [(1, 2)]),
        ("deque([1, 2])", deque([1], maxlen=3), deque([1, 2], maxlen=3)),
        ("Counter({'a': 2})", Counter(b=1), Counter(a=2)),
        ("defaultdict(<class 'int'>, {'a': 2})", defaultdict(int, b=1), defaultdict(int, a=2)),
        ({"a": 1.5}, {"a": 1}, {"a": 1.5}),
        ([1, 2.5], [1, 2], [1, 2.5]),
        (["3"], [1], [3]),
        ([3], ["a"], ["3"]),
        ({"a": [1], "c": 2}, {"a": "x", "b": 1}, None),
        ([{"role": "user", "content": ["x"]}], [{"role": "a", "content": "b"}, {"role": "a", "content": []}],
         [{"role": "user", "content": ["x"]}]),
        ({"1": "a", "x": "b"}, {1: "c", "x": "d"}, {1: "a", "x": "b"}),
        ("[1. 2.]", np.zeros(2), np.array([1.0, 2.0])),
        ("array([1, 2], dtype=int8)", np.zeros(2, np.int8), np.array([1, 2], np.int8)),
        (["1.5", "2"], np.zeros(2), np.array([1.5, 2])),
        (["2025-01-02"], np.array(["2024-01-01"], "M8[D]"), np.array(["2025-01-02"], "M8[D]")),
        ([{"k": 2}], np.array([Cfg(1)], dtype=object), np.array([Cfg(2)], dtype=object)),
        ("np.True_", np.bool_(False), np.bool_(True)),
        ("np.float32(0.5)", np.float32(1), np.float32(0.5)),
        ("2.5", Metres(1), Metres(2.5)),
    ],
)  # fmt: skip
def test_forms_that_are_taken(said: Any, current: Any, expected: Any) -> None:
    if expected is None:
        with pytest.raises(ReplyError):
            convert(said, current)
        return
    found = convert(said, current)
    assert type(found) is type(expected)
    assert np.array_equal(found, expected) if isinstance(expected, np.ndarray) else found == expected


@pytest.mark.parametrize(
    ("said", "current", "reason"),
    [
        ({}, Cfg(1), "the field 'k' of Cfg is missing"),
        ({"k": 1, "z": 1}, Cfg(1), "Cfg has no field 'z' to set: it has k, t, mode"),
        ({"k": 2}, Cfg(1, t=0.9), "the field 't' is missing, which is 0.9 now: give all fields"),
        ({"k": "many"}, Cfg(1), "k: 'many' is not a int"),
        ({"k": True}, Cfg(1), "k: a number is expected, not true"),
        ({"k": 1, "mode": "medium"}, Cfg(1), "mode: 'medium' is not one of 'fast', 'slow'"),
        ({"k": 1.5}, Cfg(1), "k: a whole number is expected, not 1.5"),
        ({"share": 2}, Checked(0.5), "a share is from 0 to 1"),
        ({"size": 1, "area": 5}, Made(1), "has no field 'area'"),
        ({"k": 1, "size": -1}, Private(1), "must be >= 0"),
        ({"k": 1, "z": 1}, Model(), "Model has no field 'z'"),
        ([1, 2, 3], Point(0), "2 values are expected, not 3"),
        ("Other(k=1)", Cfg(1), "is not a Cfg"),
        ("green", Colour.RED, "is not one of: RED ('red'), BLUE ('blue'), red ('RED')"),
        ("RED", Colour.BLUE, "write Colour.RED"),
        (True, Rights.READ, "one of: READ (1), WRITE (2)"),
        ("2025-01-02T13:00:00", UTC_NOON, "lacks its offset from UTC"),
        ("2025-01-02T13:00:00Z", dt.datetime(2025, 1, 2), "is not to have an offset"),
        (5, DAY, "a date as YYYY-MM-DD is expected, not '5'"),
        ("2025-02-30", DAY, "'2025-02-30' is not a date as YYYY-MM-DD"),
        ("1e99999999", Fraction(1, 2), "too large or too small"),
        ("Fraction('1e99999999')", Fraction(1, 2), "is not known here"),
        ("a\0b", PurePosixPath("x"), "is not a path"),
        ([1, 2], b"abc", "bytes are expected as Python writes them"),
        ([0, 1, 2], range(3), "a range is expected as Python writes it"),
        ([1, 2, 3, 4], deque([1], maxlen=3), "3 items are the most, not 4"),
        ([1], (1, "a"), "2 items are expected, not 1"),
        ([1, ["x"]], [1, 2], "item 1: "),
        ({"a": "x"}, {"a": 1}, "a: 'x' is not a int"),
        ({"b": "x"}, {"a": 1}, "b: 'x' is not a int"),
        ({"1": "a", 1: "b"}, {1: "c"}, "the key 1 stands there twice"),
        ({"x": 1}, {1: 1}, "the key 'x'"),
        ([[1, 2], [3]], np.zeros((2, 2)), "is not a ndarray"),
        ([[1, 2]], np.zeros(2), "an array of the shape (2,) is expected, not of (1, 2)"),
        ([300], np.zeros(1, np.int8), "does not fit into int8"),
        (300, np.int8(1), "300"),
        (["abcdef"], np.array(["abc"]), "longer than <U3 holds"),
        ([1e300], np.zeros(1, np.float32), "not an infinite one"),
        ([None], np.zeros(1), "an array of numbers is expected"),
        ([1j], np.zeros(1), "an array of numbers is expected"),
        ("[0. ... 9.]", np.zeros(9), "write nested lists"),
        ("[1, …[200 cut]…, 9]", [1], "the value is cut"),
        ({"x": 1}, Bare(), "a Bare cannot be read from a reply"),
        ("[foo, bar]", [], "is no plain data"),
        ("f(x)", ["a"], "is not a list"),
    ],
)
def test_reasons(said: Any, current: Any, reason: str) -> None:
    with pytest.raises(ReplyError) as caught:
        convert(said, current)
    assert reason in str(caught.value)


def test_a_value_given_as_it_is_shown_stays() -> None:
    bare, clock = Bare(), dt.datetime(2025, 1, 2, tzinfo=ZoneInfo("Europe/Rome"))
    for value in (bare, [bare, 1], {"a": bare}, clock, np.arange(5_000), Path("a"), print):
        assert convert(str(value), value) is value
        assert convert(shown(value), value) is value
    assert convert(shown(10**5000), 10**5000) == 10**5000


@pytest.mark.parametrize(
    ("value", "told", "piece"),
    [
        (1, None, {"type": "integer"}),
        ("a", None, {"type": "string"}),
        ([1, 2], None, {"type": "array", "items": {"type": "integer"}}),
        ({"a": 1}, None, None),
        (DAY, "a date as YYYY-MM-DD", None),
        ([DAY], "of items, each a date as YYYY-MM-DD", None),
        (UTC_NOON, "a date and time as YYYY-MM-DDTHH:MM:SS+00:00, with its offset from UTC", None),
        (Word.YES, "one of: YES ('y'), NO ('n')", {"type": "string", "enum": ["YES", "NO"]}),
        (Point(1), "an object with the fields x (int), y (int)", {
            "type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
            "required": ["x", "y"], "additionalProperties": False}),
        (Model(), "an object with the fields k (int), parts (list[", None),
        (np.zeros((2, 3), np.float32), "nested lists of the shape (2, 3), of float32", None),
        (deque([1], maxlen=3), "at most 3 items", {"type": "array", "items": {"type": "integer"}}),
    ],
)  # fmt: skip
def test_what_is_asked_for(value: Any, told: str | None, piece: Any) -> None:
    assert (words(value) or "").startswith(told or "") and schema(value) == piece
    assert words(value) is not None or told is None


class Temperature:
    def __init__(self, celsius: float) -> None:
        self.celsius = celsius

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Temperature) and other.celsius == self.celsius

    __hash__ = None  # type: ignore[assignment]


def to_temperature(said: Any) -> Temperature:
    if not str(said).endswith("C"):
        raise ValueError("say it in degrees, such as 21.5 C")
    return Temperature(float(str(said)[:-1]))


def test_a_program_adds_a_type_of_its_own() -> None:
    with pytest.raises(ReplyError, match="register_value_type"):
        convert("20 C", Temperature(1))
    register_value_type(
        Temperature, plain=lambda value: f"{value.celsius} C", read=to_temperature, words="degrees such as 21.5 C"
    )
    assert plain([Temperature(2)]) == ["2 C"] and shown(Temperature(2)) == "2 C"
    assert convert(["3 C"], [Temperature(2)]) == [Temperature(3)]
    GRAPH.clear()
    p = node(Temperature(20), name="p", trainable=True)
    llm = ScriptedLLM(['{"suggestion": {"p0": "hot"}}', '{"suggestion": {"p0": "30 C"}}'])
    optimizer = OptoPrime([p], llm=llm)
    optimizer.backward(p.clone(), "warmer")
    optimizer.step()
    assert p.data == Temperature(30)
    assert "p0 (Temperature): 20 C\n  must satisfy: degrees such as 21.5 C" in llm.calls[0]["messages"][1]["content"]
    assert "say it in degrees, such as 21.5 C" in llm.calls[1]["messages"][-1]["content"]


def test_the_schema_asks_for_values_of_the_types() -> None:
    GRAPH.clear()
    parts = [node(v, name=n, trainable=True) for n, v in (("p", "a"), ("n", 1), ("c", Colour.RED))]
    llm = ScriptedLLM(['{"reasoning": "r", "changes": [{"name": "n0", "value": 2}, {"name": "c0", "value": "BLUE"}]}'])
    optimizer = OptoPrime(parts, llm=llm, reply="json_schema")
    for part in parts:
        optimizer.backward(part.clone(), "no")
    optimizer.step()
    assert [part.data for part in parts] == ["a", 2, Colour.BLUE]
    items = llm.calls[0]["response_format"]["json_schema"]["schema"]["properties"]["changes"]["items"]["anyOf"]
    assert {"type": "integer"} in [item["properties"]["value"] for item in items]


CURRENT = [
    *(1, 0.5, True, 1j, b"a", range(3), [1], (1, "a"), {1}, {1: "a"}, {"a": [DAY]}, DAY, UTC_NOON, dt.time(1)),
    *(Decimal(1), dt.timedelta(1), Fraction(1, 2), UUID(int=1), PurePosixPath("a"), Colour.RED, Rights.READ, Cfg(1)),
    *(Private(1), Model(), Point(1), deque([1]), Counter("a"), defaultdict(int), np.zeros((2, 2)), np.array(["a"])),
    *(np.float32(1), np.bool_(True), Tree("a"), Bare()),
]
TEXTS = st.text(max_size=40) | st.text("[](){}<>:,.'\"0123456789eE+-_ TtFfNnPpDdHhMmSs=|ab\\\0", max_size=40)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "x", "1", "name", ""]), inner),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(range(len(CURRENT))), DATA)
def test_a_value_is_read_or_refused_and_nothing_else_is_raised(index: int, said: Any) -> None:
    current = CURRENT[index]
    try:
        found = convert(said, current)
    except ReplyError as error:
        assert str(error)
    else:
        assert type(found) is type(current)


LONG = [
    *("(" * 50_000, "[" * 50_000, "1," * 50_000 + "x", "<a: " * 50_000, " a=" * 50_000, "1+" * 50_000 + "1"),
    *("9" * 200_000, "e0" * 50_000, "P" * 100_000, "-" * 100_000, "a." * 50_000, "{'a':" * 20_000, "[0 " * 50_000),
]


@pytest.mark.parametrize("text", LONG, ids=[text[:4] for text in LONG])
def test_long_texts_take_no_long_time(text: str) -> None:
    began = time.perf_counter()
    for current in CURRENT:
        try:
            convert(text, current)
        except ReplyError:
            continue
    assert time.perf_counter() - began < 20
