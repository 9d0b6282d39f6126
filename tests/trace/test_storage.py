"""Files of parameters: what was saved comes back, and a file can make nothing run."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import json
import os
import pickle
import sys
import threading
import types
import uuid
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import LoadError
from opto.trace.bundle import bundle
from opto.trace.containers import Map, Seq
from opto.trace.modules import Module, model
from opto.trace.nodes import MessageNode, Node, ParameterNode, node
from opto.trace.saving.parameter_file import write_atomic
from opto.trace.saving.plain_data import Encoder, NotPlainError, decode
from opto.trace.saving.safe_pickle import classes_in, dumps, loads


def parameter(value: Any = 0, name: str = "p") -> Any:
    return node(value, name=name, trainable=True)


@dataclasses.dataclass
class Turn:
    text: str
    tags: list[str] = dataclasses.field(default_factory=list)


class Mood(enum.Enum):
    GOOD = 1


class Shell:
    ran: ClassVar[list[Any]] = []

    def __init__(self, command: str) -> None:
        Shell.ran.append(command)


@bundle(trainable=True)
def free(x):
    """Free."""
    return x


class Inner(Module):
    def __init__(self, value: Any = 1) -> None:
        self.weight = parameter(value, "weight")


class Net(Module):
    def __init__(self, value: Any = 1) -> None:
        self.inner = Inner(value)
        self.seq = Seq(parameter(value, "s"), "raw", Map({"m": parameter(value, "m"), 3: parameter(value, "n")}))

    @bundle(trainable=True)
    def think(self, x):
        """Think."""
        return x


@model
class Agent:
    def __init__(self, k: int = 0) -> None:
        self.k = k
        self.prompt = parameter("p", "prompt")
        self.frozen = node("plain", name="frozen", description="said")
        self.inner = Inner(k)
        self.listed: list[Any] = []

    @bundle(trainable=True)
    def think(self, x):
        """Think."""
        return x + self.k


# --- laws ---------------------------------------------------------------------------------------

keys = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.tuples(st.integers(), st.text()))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.complex_numbers(allow_nan=False),
)
plain = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(keys, inner),
        st.sets(keys),
        st.frozensets(keys),
    ),
    max_leaves=12,
)


def alike(one: Any, other: Any) -> bool:
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(alike(a, b) for a, b in zip([*one, *one.values()], [*other, *other.values()], strict=True))
    return not isinstance(one, list | tuple) or all(alike(a, b) for a, b in zip(one, other, strict=True))


@given(plain)
def test_plain_values_survive_json(value: Any) -> None:
    try:
        tree = Encoder().encode(value)
    except NotPlainError:  # hypothesis reuses equal lists: then one object stands in two places
        return
    text = json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert alike(decode(json.loads(text.decode("utf-8", "surrogatepass"))), value)


@given(plain)
def test_values_survive_safe_pickle(value: Any) -> None:
    assert alike(loads(dumps(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(10**6000, id="long"),
        pytest.param(-(10**6000), id="long negative"),
        float("inf"),
        "\ud800 lone",
        {"$tuple": [1]},
        {"a": {"$x": 1}},
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.defaultdict(list, a=[1]),
        collections.deque([1, 2]),
        datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC),
        decimal.Decimal("1.50"),
        uuid.UUID(int=5),
        Path("a/b"),
        range(3),
        Turn("hi", ["x"]),
        types.SimpleNamespace(a=1),
        True,
        Mood.GOOD,
    ],
)
def test_saved_values_come_back(tmp_path: Path, value: Any) -> None:
    one, other = Inner(value), Inner(Turn("") if isinstance(value, Turn) else Mood.GOOD)
    one.save(tmp_path / "f")
    other.load(tmp_path / "f")
    assert other.weight.data == value and type(other.weight.data) is type(value)


def test_arrays_come_back(tmp_path: Path) -> None:
    one, other = Inner(np.arange(6.0).reshape(2, 3)), Inner()
    one.save(tmp_path / "f")
    other.load(tmp_path / "f")
    assert np.array_equal(other.weight.data, one.weight.data)
    assert loads(dumps(np.float32(1.5))) == 1.5 and loads(dumps(np.array([1, "a"], dtype=object)))[1] == "a"


# --- modules ------------------------------------------------------------------------------------


def test_nested_containers_load_in_place(tmp_path: Path) -> None:
    one, other = Net(1), Net(2)
    one.think.parameter._data = "def think(self, x):\n    return -x"
    one.save(str(tmp_path / "deep" / "net.json"))
    before = [id(p) for p in other.parameters()]
    other.load(str(tmp_path / "deep" / "net.json"))
    assert [id(p) for p in other.parameters()] == before
    assert other.inner.weight.data == 1 and [p.data for p in other.seq.parameters()] == [1, 1, 1]
    assert other.think(4).data == -4


def test_files_are_readable_json(tmp_path: Path) -> None:
    Inner("Grüße").save(tmp_path / "f")
    document = json.loads((tmp_path / "f").read_text(encoding="utf-8"))
    assert document["parameters"]["weight"]["value"] == "Grüße" and "Grüße" in (tmp_path / "f").read_text("utf-8")


def test_unknown_names_are_attached(tmp_path: Path) -> None:
    big = Net(5)
    big.extra, big.map = parameter(7, "extra"), Map({"a b": parameter(8, "ab")})  # type: ignore[attr-defined]
    big.extra.trainable = False  # type: ignore[attr-defined]
    big.save(tmp_path / "f")
    net = Net()
    net.load(tmp_path / "f")
    assert net.extra.data == 7 and not net.extra.trainable and isinstance(net.extra, ParameterNode)  # type: ignore[attr-defined]
    assert net.map["a b"].data == 8  # type: ignore[attr-defined]
    bare = Module()
    bare.load(tmp_path / "f")
    assert bare.inner.weight.data == 5 and isinstance(bare.seq, Map | Seq)  # type: ignore[attr-defined]
    longer, short = Net(), Net()
    longer.seq.append(parameter(3, "more"))
    longer.save(tmp_path / "g")
    short.load(tmp_path / "g")
    assert short.seq[-1].data == 3
    Seq_only = Module()
    Seq_only.load(tmp_path / "g")
    assert len(Seq_only.parameters()) == 6


def test_missing_names_change_nothing(tmp_path: Path) -> None:
    Inner(9).save(tmp_path / "f")
    other = Inner(1)
    other.more = parameter(2, "more")  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="more"):
        other.load(tmp_path / "f")
    assert other.weight.data == 1


def test_kinds_must_fit(tmp_path: Path) -> None:
    Net().save(tmp_path / "f")
    other = Net()
    other.inner = parameter(1)  # type: ignore[assignment]
    with pytest.raises(LoadError, match="inner is a ParameterNode here"):
        other.load(tmp_path / "f")


def test_rings_and_shared_containers(tmp_path: Path) -> None:
    one, other = Net(1), Net(2)
    for net in (one, other):
        net.inner.owner, net.same = net, net.inner  # type: ignore[attr-defined]
    one.save(tmp_path / "f")
    other.load(tmp_path / "f")
    assert other.inner.weight.data == 1


def test_map_with_parameter_keys(tmp_path: Path) -> None:
    def box(key: str, value: int) -> Any:
        made = Module()
        made.map = Map({parameter(key, "key"): parameter(value, "value"), "raw": 1})  # type: ignore[attr-defined]
        return made

    one, other = box("a", 1), box("b", 2)
    one.save(tmp_path / "f")
    other.load(tmp_path / "f")
    assert [p.data for p in other.parameters()] == [1, "a"] or [p.data for p in other.parameters()] == ["a", 1]
    bad = Module()
    bad.map = Map({object(): parameter()})  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="cannot be saved"):
        bad.save(tmp_path / "g")


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    for value in (threading.Lock(), Turn, len, iter([])):
        with pytest.raises(TypeError, match="cannot be saved"):
            Inner(value).save(tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_bundled_functions_save_their_code(tmp_path: Path) -> None:
    before = free.parameter.data
    free.save(tmp_path / "f")
    free.parameter._data = "def free(x):\n    return 2 * x"
    assert free(2).data == 4
    free.load(tmp_path / "f")
    assert free.parameter.data == before and free(2).data == 2


# --- models -------------------------------------------------------------------------------------


def test_models_save_all_attributes(tmp_path: Path) -> None:
    a = Agent(3)
    a.listed = [1, (2, {"x": 3}), Turn("hi")]
    a.array = np.ones(2)
    a.prompt._data, a.think.parameter._data = "new", "def think(self, x):\n    return 42"
    a.save(tmp_path / "f")
    b = Agent()
    b.listed = [Turn("")]
    prompt, inner = b.prompt, b.inner
    b.load(tmp_path / "f")
    assert b.k == 3 and b.listed == a.listed and np.array_equal(b.array, a.array) and b.think(0).data == 42
    assert b.prompt is prompt and prompt.data == "new" and b.inner is inner and inner.weight.data == 3
    assert (b.frozen.data, b.frozen.description, b.frozen.name.split(":")[0]) == ("plain", "said", "frozen")


def test_nested_models_save_all_attributes(tmp_path: Path) -> None:
    def nested(k: int) -> Any:
        made = Module()
        made.agent = Agent(k)  # type: ignore[attr-defined]
        return made

    one, other = nested(5), nested(0)
    one.save(tmp_path / "f")
    other.load(tmp_path / "f")
    assert other.agent.k == 5


def test_references_to_parameters_stay(tmp_path: Path) -> None:
    a, b = Agent(1), Agent(2)
    a.listed = [a.prompt, a.inner.weight, a.think.parameter]
    a.extra = parameter("loose")
    a.mixed = {"p": a.prompt, "o": Turn("x"), "me": a}
    a.save(tmp_path / "f")
    b.load(tmp_path / "f", known=[Turn])
    assert b.listed[0] is b.prompt and b.listed[1] is b.inner.weight and b.listed[2] is b.think.parameter
    assert b.mixed["p"] is b.prompt and b.mixed["me"] is b and b.extra.data == "loose"


def test_shared_values_stay_shared(tmp_path: Path) -> None:
    a, b = Agent(), Agent()
    a.one = a.two = [1]
    a.ring = [2]
    a.ring.append(a.ring)
    a.save(tmp_path / "f")
    b.load(tmp_path / "f")
    assert b.one is b.two and b.ring[1] is b.ring


def test_computed_nodes_are_saved_without_their_past(tmp_path: Path) -> None:
    a, b = Agent(), Agent()
    long = a.prompt
    for _ in range(3_000):
        long = long + "x"
    a.last, a.objects = long, [Turn("o"), long, parameter(long.data, "inside")]
    a.save(tmp_path / "f")
    b.load(tmp_path / "f", known=[Turn])
    assert b.last.data == long.data and type(b.last) is Node and not isinstance(b.objects[1], MessageNode)
    assert isinstance(b.objects[2], ParameterNode) and (tmp_path / "f").stat().st_size < 40_000


def test_programs_and_locks_are_kept_not_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a, b = Agent(), Agent()
    for agent in (a, b):
        agent.fun, agent.lock, agent.part = len, threading.Lock(), functools.partial(len, [])
        agent.kind, agent.module, agent.free = Turn, json, Agent.think
        agent.kinds = [Turn]
    lock = b.lock
    a.save(tmp_path / "f")
    assert "'lock' is not saved" in caplog.text
    b.load(tmp_path / "f")
    assert b.lock is lock and b.fun is len and b.kinds == [Turn]
    c = Agent()
    c.load(tmp_path / "f")
    assert not hasattr(c, "lock") and "'lock' was not saved and Agent has none" in caplog.text


def test_slots_are_restored(tmp_path: Path) -> None:
    @model
    class Slim:
        __slots__ = ("count",)

        def __init__(self, count: int) -> None:
            self.count = count

    Slim(4).save(tmp_path / "f")
    other = Slim(0)
    other.load(tmp_path / "f")
    assert other.count == 4


# --- nothing foreign runs -----------------------------------------------------------------------


def pickled_file(path: Path, data: bytes) -> Path:
    document = {"format": "opto-trace", "version": 1, "parameters": {}}
    document["parameters"] = {"weight": {"name": "w", "value": {"$pickle": base64.b64encode(data).decode()}}}  # type: ignore[assignment]
    path.write_text(json.dumps(document))
    return path


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, open, __import__])
def test_dangerous_calls_are_refused(tmp_path: Path, function: Any) -> None:
    data = pickle.dumps(Calls(function, "touch " + str(tmp_path / "ran")))
    for path in (pickled_file(tmp_path / "f", data), tmp_path / "raw"):
        if path.name == "raw":
            path.write_bytes(pickle.dumps({"weight": Calls(function, "x")}))
        with pytest.raises(LoadError, match="not among the known classes"):
            Inner().load(path)
    assert not (tmp_path / "ran").exists()


def test_known_classes_are_made_blank_not_called(tmp_path: Path) -> None:
    net = Inner(Shell("mine"))
    Shell.ran.clear()
    with pytest.raises(LoadError, match=r"wants to call Shell"):
        net.load(pickled_file(tmp_path / "f", pickle.dumps(Calls(Shell, "rm"))))
    with pytest.raises(LoadError, match="itself as a value"):
        net.load(pickled_file(tmp_path / "f", pickle.dumps([Shell])))
    assert Shell.ran == []
    with pytest.raises(LoadError, match="known="):
        Inner().load(pickled_file(tmp_path / "f", pickle.dumps(Turn("x"))))


def test_a_file_cannot_change_classes(tmp_path: Path) -> None:
    # GLOBAL collections Counter, then BUILD with a slot state that would overwrite Counter.update
    data = b"\x80\x04ccollections\nCounter\nN}X\x06\x00\x00\x00updateK\x01s\x86b."
    before = collections.Counter.update
    net = Inner()
    with pytest.raises(LoadError):
        net.load(pickled_file(tmp_path / "f", data))
    assert collections.Counter.update is before
    assert classes_in([Turn("x"), 1, {"k": Mood.GOOD}]) == {Turn, Mood}


START = '{"format": "opto-trace", "version": 1, '


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "neither JSON"),
        ("nonsense", "neither JSON"),
        ("[1]", "not a file of saved parameters"),
        ('{"format": "opto-trace", "version": 99}', "format version is 99"),
        (START + '"parameters": {"weight": 3}}', "'weight' is damaged"),
        (START + '"parameters": [3]}', "list of parameters is damaged"),
        (
            START + '"parameters": {"weight": {"name": "w", "value": {"$new": 1}}}}',
            "not known",
        ),
        (
            START + '"parameters": {"weight": {"name": "w", "value": {"$int": "z"}}}}',
            "damaged",
        ),
        (
            START + '"parameters": {"weight": {"name": "w", "value": {"$pickle": "!"}}}}',
            "damaged",
        ),
        (
            START + '"parameters": {"weight": {"name": "w", "value": {"$pickle": 5}}}}',
            "damaged",
        ),
        (
            START + '"parameters": {"weight": {"name": "w", "value": {"$pickle": "AAAA"}}}}',
            "damaged",
        ),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(LoadError, match=match) as error:
        Inner().load(tmp_path / "f")
    assert str(tmp_path / "f") in str(error.value)


@pytest.mark.parametrize(
    "attributes",
    [
        3,
        {},
        {"plain": {"k": {"$no": 1}}},
        {"plain": {}, "pickled": "AAAA"},
        {"plain": {"x": {"$member": ["gone", "x"]}}},
    ],
)
def test_a_file_that_fails_changes_nothing(tmp_path: Path, attributes: Any) -> None:
    net = Net(1)
    net.save(tmp_path / "f")
    document = json.loads((tmp_path / "f").read_text())
    document["parameters"]["inner"]["attributes"] = attributes
    (tmp_path / "f").write_text(json.dumps(document))
    other = Net(2)
    with pytest.raises(LoadError):
        other.load(tmp_path / "f")
    changed = isinstance(attributes, dict) and "x" in attributes.get("plain", {})  # found out only when all is in place
    assert changed or [p.data for p in other.parameters()[:1]] == [2]


@pytest.mark.parametrize(
    "entry", [{"value": 1}, {"value": 1, "name": "a:b"}, {"value": 1, "name": "w", "description": 3}]
)
def test_damaged_entries(tmp_path: Path, entry: Any) -> None:
    document = {"format": "opto-trace", "version": 1, "parameters": {"weight": entry}}
    (tmp_path / "f").write_text(json.dumps(document))
    with pytest.raises(LoadError, match="'weight' is damaged"):
        Module().load(tmp_path / "f")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Inner().load(tmp_path / "none")


def test_references_out_of_place() -> None:
    with pytest.raises(LoadError, match="refers to parameters"):
        loads(dumps([1, (p := parameter())], {id(p): ("p",)}))
    with pytest.raises(LoadError, match="not known"):
        decode({"$member": ["p"]})


# --- the earlier library ------------------------------------------------------------------------


def old_classes() -> types.ModuleType:
    """Classes as the earlier library pickled them, under its names."""
    made = types.ModuleType("opto.trace.nodes_old")

    def put(module: str, name: str) -> Any:
        cls = type(name, (), {"__module__": module, "__qualname__": name})
        setattr(made, name, cls)
        return cls

    put("opto.trace.nodes_old", "ParameterNode")
    put("opto.trace.nodes_old", "Seq")
    return made


def test_old_pickles_are_read_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = old_classes()
    monkeypatch.setitem(sys.modules, "opto.trace.nodes_old", old)

    def stored(value: Any) -> Any:
        record = old.ParameterNode()
        record.__dict__.update(_data=value, _name="w:0", _description="[ParameterNode] words", _children=[], _self={1})
        return record

    seq = old.Seq()
    seq.data = [stored(4)]
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps({"weight": stored([1, 2]), "seq": seq, "more": {"x": stored(1)}}))
    net = Inner()
    net.seq = Seq(parameter(0))  # type: ignore[attr-defined]
    net.load(path)
    assert net.weight.data == [1, 2] and net.seq[0].data == 4  # type: ignore[attr-defined]
    path.write_bytes(pickle.dumps({"parameters_dict": {"weight": stored(8)}, "non_parameters_dict": {"k": 3}}))
    net = Inner()
    net.load(path)
    assert net.weight.data == 8 and net.k == 3  # type: ignore[attr-defined]
    for bad in ([1], {"weight": 3}, {"weight": old.Seq()}):
        path.write_bytes(pickle.dumps(bad))
        with pytest.raises(LoadError):
            Inner().load(path)


# --- writing ------------------------------------------------------------------------------------


def test_writing_keeps_links_permissions_and_devices(tmp_path: Path) -> None:
    target, link, nowhere = tmp_path / "target", tmp_path / "link", tmp_path / "nowhere"
    write_atomic(target, b"old")
    os.chmod(target, 0o600)
    link.symlink_to(target)
    nowhere.symlink_to(os.devnull)
    for path in (link, nowhere):
        write_atomic(path, b"new")
        assert path.is_symlink()
    assert target.read_bytes() == b"new" and target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path, b"new")
    assert sorted(os.listdir(tmp_path)) == ["link", "nowhere", "target"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_atomic(path, b"old")

    def fail(fd: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["f"]
