"""Containers and Module."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import Any

import pytest

from opto.trace import Module, bundle, node
from opto.trace.containers import Map, NodeContainer, ParameterContainer, Seq
from opto.trace.nodes import Node, ParameterNode


def ids(nodes: Any) -> list[int]:
    return [id(n) for n in nodes]


class Box(ParameterContainer):
    def __init__(self) -> None:
        self.b = node(2, name="b", trainable=True)
        self.a = node(1, name="a", trainable=True)
        self.plain = node(3, name="plain")
        self.listed = [node(4, trainable=True)]
        self.state = [0]

    @bundle(trainable=True)
    def code(self, x):
        """Code."""
        return x

    @bundle()
    def fixed(self, x):
        return x


class Outer(ParameterContainer):
    def __init__(self) -> None:
        self.box = Box()
        self.z = node(9, name="z", trainable=True)


# --- containers -----------------------------------------------------------------------------------------------------


def test_node_container_is_a_marker() -> None:
    assert issubclass(ParameterContainer, NodeContainer)
    assert NodeContainer() is not None


def test_parameters_dict() -> None:
    box = Box()
    found = box.parameters_dict()
    assert list(found) == ["a", "b", "code"]
    assert found["a"] is box.a and found["code"] is box.code.parameter
    assert ids(box.parameters()) == ids([box.a, box.b, box.code.parameter])
    assert all(isinstance(p, ParameterNode) for p in box.parameters())


def test_private_names_and_properties() -> None:
    class Private(ParameterContainer):
        def __init__(self) -> None:
            self._hidden = node(1, trainable=True)

        @property
        def shown(self) -> Any:
            return 3

    p = Private()
    assert list(p.parameters_dict()) == ["_hidden"] and p.parameters()[0] is p._hidden


def test_frozen_parameters_are_listed() -> None:
    box = Box()
    box.a.trainable = False
    assert "a" in box.parameters_dict()


def test_nesting() -> None:
    outer = Outer()
    assert outer.parameters_dict()["box"] is outer.box
    assert ids(outer.parameters()) == ids([*outer.box.parameters(), outer.z])


def test_partial_of_a_trainable_bundle() -> None:
    @bundle(trainable=True)
    def code(x, y):
        return x

    @bundle()
    def fixed(x, y):
        return x

    box = Box()
    box.part = functools.partial(fixed, 1)
    box.plain_part = functools.partial(max, 1)
    assert list(box.parameters_dict()) == ["a", "b", "code"]
    box.bad = functools.partial(code, 1)
    with pytest.raises(ValueError):
        box.parameters_dict()


def test_copy_shares_parameters() -> None:
    outer = Outer()
    dup = outer.copy()
    assert dup is not outer and dup.box is not outer.box and dup.box.state is not outer.box.state
    assert ids(dup.parameters()) == ids(outer.parameters())
    assert dup.box.code.parameter is outer.box.code.parameter
    dup.box.state.append(1)
    assert outer.box.state == [0]
    outer.box.code.parameter._data = "def code(self, x):\n    return x + 1"
    assert dup.box.code(1).data == 2


def test_seq() -> None:
    a, b = node(1, name="a", trainable=True), node(2, name="b", trainable=True)
    s = Seq(a, b, node(3), "raw")
    assert len(s) == 4 and s[0] is a and ids(s.parameters()) == ids([a, b])
    assert list(s.parameters_dict()) == ["a:0", "b:0"]
    assert len(Seq([a, b])) == 2 and Seq([a, b])[1] is b
    assert len(Seq(a)) == 1 and len(Seq()) == 0
    inner = Seq(a)
    assert Seq(inner, b).parameters_dict()[str(inner)] is inner
    assert ids(Seq(inner, b).parameters()) == ids([a, b])


def test_map() -> None:
    a, b = node(1, name="a", trainable=True), node("key", name="b", trainable=True)
    m = Map({"first": a, "raw": 3, b: 4})
    assert m["first"] is a and m.parameters_dict()["first"] is a
    assert m.parameters_dict()[str(b)] is b
    assert set(ids(m.parameters())) == set(ids([a, b]))
    with pytest.raises(Exception):  # noqa: B017
        Map({Seq(a): 1}).parameters_dict()


def test_seq_and_map_nest_compare_pickle() -> None:
    a, b = node(1, name="a", trainable=True), node(2, name="b", trainable=True)
    m = Map({"s": Seq(a, b)})
    assert ids(m.parameters()) == ids([a, b])
    assert Seq(a, b) == Seq(a, b) and Map({"k": a}) == Map({"k": a})
    back = pickle.loads(pickle.dumps(m))
    assert isinstance(back, Map) and isinstance(back["s"], Seq) and back["s"][0].data == 1
    assert isinstance(pickle.loads(pickle.dumps(Seq(a)))[0], ParameterNode)


# --- Module ---------------------------------------------------------------------------------------------------------


class Net(Module):
    def __init__(self, weight: int = 2) -> None:
        self.weight = node(weight, name="weight", trainable=True)
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return self.scale(x) * self.weight

    @bundle(trainable=True)
    def scale(self, x):
        """Scale."""
        return x + 1


class Better(Net):
    @bundle(trainable=True)
    def scale(self, x):
        """Scale better."""
        return x + 100


def test_forward() -> None:
    with pytest.raises(NotImplementedError):
        Module()(1)
    with pytest.raises(NotImplementedError):
        Module().forward(1)
    net = Net()
    y = net(3)
    assert y.data == 8 and net.calls == 1
    assert y.parameter_dependencies == set(net.parameters())
    assert Better()(1).data == 202 and len(Better().parameters()) == 2


def test_save_and_load(tmp_path: Any) -> None:
    net = Net()
    net.scale.parameter._data = "def scale(self, x):\n    return x - 1"
    path = str(tmp_path / "a" / "b" / "net.pkl")
    net.save(path)
    other = Net(50)
    weight, code, name = other.weight, other.scale.parameter, other.weight.name
    other.load(path)
    assert other.weight is weight and other.scale.parameter is code and weight.name == name
    assert other.weight.data == 2 and other(3).data == 4


def test_load_needs_every_name(tmp_path: Any) -> None:
    class More(Net):
        def __init__(self) -> None:
            super().__init__()
            self.extra = node(7, name="extra", trainable=True)

    small, big = str(tmp_path / "small.pkl"), str(tmp_path / "big.pkl")
    Net(4).save(small)
    More().save(big)
    with pytest.raises(AssertionError):
        More().load(small)
    net = Net(5)
    net.load(big)
    assert net.weight.data == 2
    assert net.extra.data == 7 and isinstance(net.extra, Node)


def test_set_from_a_container() -> None:
    a, b = Net(1), Net(9)
    weight = a.weight
    a._set(b)
    assert a.weight is weight and weight.data == 9
    a._set(Net(3).parameters_dict())
    assert a.weight is weight and weight.data == 3


class Holder(Module):
    def __init__(self, k: int) -> None:
        self.seq = Seq(node(k, name="s", trainable=True))
        self.map = Map({"m": node(k, name="m", trainable=True), "deep": Seq(node(k, name="d", trainable=True))})


def test_containers_load(tmp_path: Any) -> None:
    path = str(tmp_path / "holder.pkl")
    one = Holder(1)
    one.save(path)
    for p in one.parameters():
        p._data = 5
    before = ids(one.parameters())
    one.load(path)
    assert [p.data for p in one.parameters()] == [1, 1, 1] and ids(one.parameters()) == before


def test_maps_with_parameters_as_keys_load(tmp_path: Any) -> None:
    class Keyed(Module):
        def __init__(self, k: int) -> None:
            self.map = Map({node(f"key {k}", name="k", trainable=True): node(k, name="v", trainable=True)})

    path = str(tmp_path / "keyed.pkl")
    one, two = Keyed(1), Keyed(2)
    one.save(path)
    two.load(path)
    ((key, value),) = two.map.items()
    assert (key.data, value.data) == ("key 1", 1)


def test_loading_runs_no_foreign_code(tmp_path: Any) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (open, (str(marker), "w"))

    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"weight": Evil(), "scale": Evil()}))
    with pytest.raises(Exception):  # noqa: B017
        Net().load(str(path))
    assert not marker.exists()


def test_module_deepcopy() -> None:
    net = Net()
    dup = copy.deepcopy(net)
    assert not set(ids(dup.parameters())) & set(ids(net.parameters()))
    assert dup(3).data == 8
    dup.weight._data = 100
    assert net(3).data == 8 and dup(3).data == 400
