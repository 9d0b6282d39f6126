"""Names, the registry and the tracing switch."""

# ruff: noqa: RUF005  (concatenation of nodes is what is tested)
from __future__ import annotations

import asyncio
import threading
import weakref

import pytest

from opto.trace import GRAPH, bundle, node, operators, stop_tracing
from opto.trace.nodes import NAME_SCOPES, MessageNode, Node, ParameterNode


class Foo:
    pass


def test_base_is_the_name_or_the_type() -> None:
    assert node(1).name == "int:0"
    assert node(2).name == "int:1"
    assert node("a").name == "str:0"
    assert node("b").name == "str:1"
    assert node(None).name == "NoneType:0"
    assert node(Foo()).name == "Foo:0"
    assert node(int).name == "type:0"
    assert node(1.0, name="weight").name == "weight:0"
    assert node(1.0, name="weight").name == "weight:1"


def test_first_vectors() -> None:
    a = node(1)
    b = node(1, name="w", trainable=True)
    c = node(a, trainable=True)
    d = node(b, trainable=True)
    assert [n.name for n in (a, b, c, d)] == ["int:0", "w:0", "int:1", "w:1"]


def test_py_name_and_id() -> None:
    node(0, name="x")
    x = node(0, name="x")
    assert (x.name, x.py_name, x.id) == ("x:1", "x1", "1")
    assert isinstance(x.id, str)


@pytest.mark.parametrize("name", ["a:b", ":", "x:0"])
def test_a_colon_is_refused(name: str) -> None:
    with pytest.raises(AssertionError):
        node(1, name=name)


@pytest.mark.parametrize("name", ["Foo.add", "a/b", "with space", "größe"])
def test_other_characters_are_fine(name: str) -> None:
    assert node(1, name=name).name == f"{name}:0"


def test_counters_are_per_base() -> None:
    for k in range(5):
        assert node(k, name="p").name == f"p:{k}"
        assert node(k, name="q").name == f"q:{k}"


def test_name_scopes_prefix_the_base() -> None:
    NAME_SCOPES.append("outer")
    assert node(1, name="x").name == "outer/x:0"
    NAME_SCOPES.append("inner")
    assert node(1, name="x").name == "inner/x:0"
    NAME_SCOPES.pop()
    assert node(1).name == "outer/int:0"
    NAME_SCOPES.pop()
    assert node(1, name="x").name == "x:0"


def test_scopes_reach_operators() -> None:
    x = node(1, name="x")
    NAME_SCOPES.append("s")
    y = x + x
    assert y.name == "s/add:0"
    assert y.py_name == "s/add0"


def test_clear_resets_counters_only() -> None:
    x = node(1, name="x")
    y = x + 1
    GRAPH.clear()
    assert (x.name, y.name) == ("x:0", "add:0")
    assert node(1, name="x").name == "x:0"
    assert y.parents[0] is x


def test_count_len_str() -> None:
    for _ in range(3):
        node(0, name="x")
    node(0, name="y")
    assert GRAPH.count("x") == 3
    assert GRAPH.count("y") == 1
    assert len(GRAPH) == 4
    assert isinstance(str(GRAPH), str)
    assert callable(GRAPH.register)
    with pytest.raises(AssertionError):
        GRAPH.count("never made")
    GRAPH.clear()
    assert len(GRAPH) == 0


def test_message_nodes_are_counted() -> None:
    x = node(1, name="x")
    _ = x + x
    assert GRAPH.count("add") == 1


def test_registry_keeps_nothing_alive() -> None:
    x = node([1], name="x")
    y = x + [2]
    refs = [weakref.ref(x), weakref.ref(y)]
    del y
    assert refs[1]() is None
    del x
    assert refs[0]() is None


def test_get_and_roots_need_legacy_mode() -> None:
    x = node(1, name="x")
    with pytest.raises(ValueError):
        GRAPH.get(x.name)
    with pytest.raises(ValueError):
        GRAPH.roots


def test_legacy_mode_stores_nodes() -> None:
    GRAPH.LEGACY_GRAPH_BEHAVIOR = True
    GRAPH.clear()
    x = node(1, name="x")
    y = x + 1
    assert GRAPH.get("x:0") is x
    assert GRAPH.get("add:0") is y
    assert any(r is x for r in GRAPH.roots)
    assert not any(r is y for r in GRAPH.roots)


def test_legacy_backward_does_not_detach() -> None:
    GRAPH.LEGACY_GRAPH_BEHAVIOR = True
    GRAPH.clear()
    x = node(1, name="x", trainable=True)
    y = x + 1
    y.backward("fb")
    assert [c is y for c in x.children] == [True]


def test_defaults_of_the_switches() -> None:
    assert GRAPH.TRACE is True
    assert GRAPH.ALLOW_NESTED_GRAPHS is False
    assert GRAPH.LEGACY_GRAPH_BEHAVIOR is False


# --- stop_tracing ---------------------------------------------------------------------------------------------------


def test_stop_tracing_unlinks() -> None:
    x = node(3, name="x", trainable=True)
    with stop_tracing():
        assert GRAPH.TRACE is False
        y = x + 1
    assert GRAPH.TRACE is True
    assert isinstance(y, MessageNode)
    assert y.data == 4
    assert y.inputs == {}
    assert y.parents == []
    assert not y.parameter_dependencies
    assert not y.expandable_dependencies
    assert y.is_root and y.level == 0
    assert x.children == []
    y.backward("nothing to do")
    assert not x.feedback


def test_node_works_inside_stop_tracing() -> None:
    with stop_tracing():
        x = node(3, name="x", trainable=True)
        plain = node("a")
    assert isinstance(x, ParameterNode) and type(plain) is Node
    y = x + 1
    assert y.parents[0] is x


def test_no_external_check_inside_stop_tracing() -> None:
    ext = node(7)

    @bundle()
    def reads(x):
        return x + ext.data

    with stop_tracing():
        assert reads(1).data == 8


def test_nested_stop_tracing_restores() -> None:
    x = node(1)
    with stop_tracing():
        with stop_tracing():
            pass
        assert GRAPH.TRACE is False
        assert (x + 1).parents == []
    assert (x + 1).parents[0] is x


def test_stop_tracing_restores_after_an_error() -> None:
    with pytest.raises(KeyError), stop_tracing():
        raise KeyError("x")
    assert GRAPH.TRACE is True


def test_trainable_bundle_inside_stop_tracing() -> None:
    @bundle(trainable=True)
    def double(x):
        """Twice."""
        return 2 * x

    with stop_tracing():
        y = double(4)
    assert isinstance(y, MessageNode)
    assert y.data == 8
    assert y.parents == [] and y.inputs == {}
    assert double(4).parents


def test_iteration_and_containers_inside_stop_tracing() -> None:
    with stop_tracing():
        assert [e.data for e in node([1, 2])] == [1, 2]
        assert operators.make_list(1, 2).data == [1, 2]


def test_trace_attribute_switches() -> None:
    x = node(1)
    GRAPH.TRACE = False
    assert (x + 1).inputs == {}
    GRAPH.TRACE = True
    assert (x + 1).parents[0] is x


# --- uniqueness under concurrency -----------------------------------------------------------------------------------


async def test_tasks_never_share_a_name() -> None:
    async def make(k: int) -> list[str]:
        names = []
        for _ in range(5):
            names.append(node(k, name="t").name)
            await asyncio.sleep(0)
        return names

    names = [n for batch in await asyncio.gather(*(make(k) for k in range(100))) for n in batch]
    assert len(set(names)) == 500


def test_threads_never_share_a_name() -> None:
    out: list[list[str]] = []
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait()
        out.append([node(0, name="t").name for _ in range(300)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    names = [n for batch in out for n in batch]
    assert len(names) == len(set(names)) == 2400
    assert GRAPH.count("t") == 2400
