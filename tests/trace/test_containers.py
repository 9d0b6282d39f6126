"""Containers: what belongs to an object is found by looking, never by running."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import Any

import pytest

from opto.trace.bundle import bundle
from opto.trace.containers import Map, NodeContainer, ParameterContainer, Seq, assign, own_attributes, trainable_method
from opto.trace.nodes import ParameterNode, node


def parameter(value: Any = 0, name: str = "p") -> Any:
    return node(value, name=name, trainable=True)


class Agent(ParameterContainer):
    shared = parameter("s", "shared")

    def __init__(self) -> None:
        self.prompt = parameter("hi", "prompt")
        self.notes: list[str] = []

    @property
    def dangerous(self) -> Any:
        raise RuntimeError("a property was run")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"__getattr__({name}) was run")

    @bundle(trainable=True)
    def think(self, x):
        """Think."""
        return x

    @bundle()
    def fixed(self, x):
        return x

    @staticmethod
    @bundle(trainable=True)
    def static(x):
        """Static."""
        return x


def same(found: list[Any], expected: list[Any]) -> bool:
    return [id(p) for p in found] == [id(p) for p in expected]


def test_looking_runs_nothing() -> None:
    agent = Agent()
    assert list(agent.parameters_dict()) == ["prompt", "shared", "static", "think"]
    assert same(agent.parameters(), [agent.prompt, Agent.shared, Agent.static.parameter, agent.think.parameter])


def test_untrainable_methods_are_not_bound_by_looking() -> None:
    agent = Agent()
    agent.parameters()
    assert not any("fixed" in name for name in vars(agent))


def test_frozen_parameters_count_and_plain_nodes_do_not() -> None:
    box = ParameterContainer()
    box.a, box.b, box.c = parameter(), node(1), [parameter()]  # type: ignore[attr-defined]
    box.a.trainable = False  # type: ignore[attr-defined]
    assert list(box.parameters_dict()) == ["a"]


def test_each_parameter_once_also_in_a_ring() -> None:
    inner, outer = ParameterContainer(), ParameterContainer()
    p = parameter()
    inner.p, inner.owner = p, outer  # type: ignore[attr-defined]
    outer.again, outer.inner, outer.twice = p, inner, inner  # type: ignore[attr-defined]
    assert same(outer.parameters(), [p])


def test_deep_nesting_needs_no_recursion() -> None:
    top = box = ParameterContainer()
    for _ in range(5_000):
        box.inner = box = ParameterContainer()  # type: ignore[attr-defined]
    box.p = parameter()  # type: ignore[attr-defined]
    assert len(top.parameters()) == 1


def test_slots_are_seen() -> None:
    class Slim(NodeContainer):
        __slots__ = ("missing", "p")

        def __init__(self) -> None:
            self.p = parameter()

    assert list(own_attributes(Slim())) == ["p"]

    class Slotted(ParameterContainer):
        __slots__ = ("p",)

        def __init__(self) -> None:
            self.p = parameter()

    assert list(Slotted().parameters_dict()) == ["p"]


def test_reserved_attributes_are_skipped() -> None:
    box = ParameterContainer()
    setattr(box, "__TRACE_RESERVED_x", parameter())
    assert box.parameters_dict() == {}


def test_partial() -> None:
    agent, box = Agent(), ParameterContainer()
    box.fine = functools.partial(Agent.fixed, 1)  # type: ignore[attr-defined]
    assert box.parameters() == []
    box.bad = functools.partial(agent.think, 1)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="'bad'"):
        box.parameters()


def test_trainable_method() -> None:
    agent = Agent()
    assert trainable_method(agent.think) and trainable_method(Agent.think)
    assert not trainable_method(agent.fixed) and not trainable_method(len) and not trainable_method(agent)


def test_bundled_function_as_attribute() -> None:
    @bundle(trainable=True)
    def own(x):
        """Own."""
        return x

    box = ParameterContainer()
    box.own, box.fixed = own, Agent.fixed  # type: ignore[attr-defined]
    assert box.parameters_dict() == {"own": own.parameter}


def test_set_is_in_place() -> None:
    agent, p = Agent(), parameter(3, "extra")
    prompt = agent.prompt
    values = {**dict.fromkeys(agent.parameters_dict(), "new"), "prompt": node("from a node"), "extra": p}
    agent._set(values)
    assert agent.prompt is prompt and prompt.data == "from a node" and agent.extra is p
    with pytest.raises(AssertionError, match="think"):
        agent._set({"prompt": 1, "shared": 2, "static": 3})
    with pytest.raises(AssertionError, match="dict"):
        agent._set([1])  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="several parameters"):
        assign(agent, "text")
    Agent.static.parameter._data = "def static(x):\n    return x"
    Agent.shared._data = "s"


def test_copy_shares_parameters_only() -> None:
    agent = Agent()
    agent.notes.append("one")
    twin = agent.copy()
    assert twin.prompt is agent.prompt and twin.think.parameter is agent.think.parameter
    assert twin.notes == ["one"] and twin.notes is not agent.notes
    assert twin.think is not agent.think and twin.think(1).inputs["self"].data is twin


# --- Seq and Map --------------------------------------------------------------------------------


def test_seq_is_a_list() -> None:
    a, b = parameter(1, "a"), parameter(2, "b")
    s = Seq(a, b)
    assert len(s) == 2 and s[1] is b and s[1:] == Seq([b])
    assert s + Seq(1) == Seq(a, b, 1)
    s.append(3)
    assert list(s)[2] == 3 and len(Seq(parameter([1, 2]))) == 1 and len(Seq((1, 2))) == 2 and len(Seq(5)) == 1


def test_seq_keeps_members_that_look_alike() -> None:
    class Named(ParameterContainer):
        def __init__(self) -> None:
            self.p = parameter()

        def __str__(self) -> str:
            return "same"

    s = Seq(Named(), Named(), Named())
    assert list(s.parameters_dict()) == ["same", "same#1", "same#1#2"] or len(s.parameters_dict()) == 3
    assert len(s.parameters()) == 3
    one = Named()
    assert len(Seq(one, one).parameters_dict()) == 1


def test_seq_set() -> None:
    a, b = parameter(1, "a"), parameter(2, "b")
    s = Seq(a, b)
    s._set({a.name: 10, b.name: 20})
    assert (a.data, b.data) == (10, 20)
    s._set(Seq(parameter(5), parameter(6), parameter(7)))
    assert (a.data, b.data, len(s), s[2].data) == (5, 6, 3, 7)
    s._set({"other": 1, "names": 2, "three": 3})
    assert [p.data for p in s] == [1, 2, 3]
    with pytest.raises(AssertionError, match="1 values given"):
        s._set({"one": 1})


def test_map_is_a_dict() -> None:
    a, key = parameter(1, "a"), parameter("k", "key")
    m = Map({"a": a, key: 5, "raw": 3}, more=parameter(2, "m"))
    found = m.parameters_dict()
    assert found["a"] is a and found[str(key)] is key and "raw" not in found and found["more"].data == 2
    assert Map() == Map({}) and m.copy()["a"] is a

    class Hashable(ParameterContainer):
        pass

    with pytest.raises(TypeError, match="key of a Map"):
        Map({Hashable(): 1}).parameters_dict()


def test_map_set() -> None:
    a = parameter(1, "a")
    m = Map({"a": a, "inner": Seq(parameter(2, "b"))})
    m._set({"a": 5, "inner": {"b": 6}, "new": parameter(9)})
    assert a.data == 5 and m["inner"][0].data == 6 and m["new"].data == 9
    with pytest.raises(AssertionError, match="inner"):
        m._set({"a": 1})


def test_pickle_and_deepcopy() -> None:
    m = Map({"s": Seq(parameter(1, "a"), Map({1: parameter(2, "b")})), "raw": [1]})
    for twin in (pickle.loads(pickle.dumps(m)), copy.deepcopy(m)):
        assert twin == m and [p.data for p in twin.parameters()] == [1, 2]
        assert all(isinstance(p, ParameterNode) for p in twin.parameters())
        assert not {id(p) for p in twin.parameters()} & {id(p) for p in m.parameters()}
