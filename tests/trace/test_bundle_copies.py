"""Bundled functions on classes, copied and pickled; they stand at module level next to things that cannot be copied."""

from __future__ import annotations

import abc
import copy
import functools
import inspect
import pickle
import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from opto.trace import GRAPH, node
from opto.trace.bundle import FunModule, bundle
from opto.trace.nodes import ParameterNode

LOCK = threading.Lock()


def outer(fun: Any) -> Any:
    @functools.wraps(fun)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fun(*args, **kwargs)

    return wrapper


@bundle()
def plain(x):
    return x


@bundle(trainable=True)
def changing(x):
    return x + 1


@outer
@bundle(trainable=True)
def below(x):
    return x


def raw(x):
    return 2 * x


inline = bundle()(raw)


class Counter:
    def __init__(self) -> None:
        self.start = 10

    @bundle(trainable=True)
    def count(self, x):
        return self.start + x

    @bundle()
    def fixed(self, x):
        return self.start

    @classmethod
    @bundle()
    def made(cls, x):
        return cls.__name__


@pytest.fixture(autouse=True)
def original_texts() -> Any:
    GRAPH.clear()
    yield
    changing.parameter._data = changing.info["source"]
    Counter.count.parameter._data = Counter.count.info["source"]


def round_trip(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj))


def test_copies_and_their_parameters() -> None:
    changing.parameter._data = "def changing(x):\n    return 7"
    shared, twin = copy.copy(changing), changing.copy()
    own, detached = copy.deepcopy(changing), changing.detach()
    assert shared.parameter is twin.parameter is changing.parameter
    assert own.parameter is not changing.parameter and detached.parameter is not own.parameter
    assert [f(0).data for f in (shared, twin, own, detached)] == [7, 7, 7, 7]
    own.parameter._data = "def changing(x):\n    return 8"
    assert [own(0).data, changing(0).data] == [8, 7]


def test_plain_functions_pickle_by_reference() -> None:
    assert round_trip(plain) is plain
    assert round_trip([plain, plain]) == [plain, plain]


def test_trainable_functions_pickle_with_their_text() -> None:
    changing.parameter._data = "def changing(x):\n    return x * 3"
    twin = round_trip(changing)
    assert twin(2).data == 6 and twin.parameter is not changing.parameter
    assert twin.parameter.py_name == changing.parameter.py_name
    assert twin.info["source"] == changing.info["source"]


def test_pickling_below_decorators_and_inline() -> None:
    assert round_trip(below.__wrapped__)(3).data == 3
    assert round_trip(inline)(4).data == 8


def test_a_vanished_function_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    written = pickle.dumps(changing)
    monkeypatch.delattr(sys.modules[__name__], "changing")
    with pytest.raises(AttributeError, match="no bundled function changing"):
        pickle.loads(written)
    assert isinstance(pickle.dumps(plain), bytes)


def test_functions_of_functions_cannot_be_pickled() -> None:
    @bundle()
    def local(x):
        return x

    with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
        pickle.dumps(local)


def test_methods_pickle_with_their_instance_and_text() -> None:
    one = Counter()
    one.count.parameter._data = "def count(self, x):\n    return self.start * x"
    two = round_trip(one)
    two.start = 3
    assert [one.count(2).data, two.count(2).data] == [20, 6]
    assert two.count is two.count and two.count.parameter is not one.count.parameter
    assert round_trip(one.count)(5).data == 50
    assert round_trip(one.fixed)(5).data == 10


def test_shallow_copies_of_instances_get_methods_of_their_own() -> None:
    one = Counter()
    one.count.parameter._data = "def count(self, x):\n    return self.start * x"
    two = copy.copy(one)
    two.start = 2
    assert [one.count(2).data, two.count(2).data] == [20, 4]
    assert two.count.parameter is not one.count.parameter
    assert two.count is two.count


def test_deep_copies_of_instances_bind_to_the_copy() -> None:
    one = Counter()
    one.count.parameter._data = "def count(self, x):\n    return self.start * x"
    two = copy.deepcopy(one)
    two.start = 5
    assert [one.count(2).data, two.count(2).data] == [20, 10]
    assert two.count.parameter is not one.count.parameter


def test_indices_are_predictable() -> None:
    GRAPH.clear()

    class Local:
        @bundle(trainable=True)
        def go(self, x):
            return x

    first, second = Local(), Local()
    assert [first.go.parameter.name, second.go.parameter.name] == ["__code0_copy:0", "__code0_copy:1"]
    assert first.go.parameter == second.go.parameter and first.go != second.go


def test_captured_namespace_is_not_copied() -> None:
    module, lock = threading, threading.Lock()

    @bundle(trainable=True)
    def uses(x):
        return lock.locked() or module.__name__

    for twin in (copy.copy(uses), copy.deepcopy(uses), uses.detach()):
        assert twin(1).data == "threading"
        assert twin._environment is uses._environment
    assert isinstance(module, ModuleType)


def test_class_methods() -> None:
    class Derived(Counter):
        pass

    assert [Counter.made(1).data, Derived.made(1).data, Derived().made(1).data] == ["Counter", "Derived", "Derived"]
    assert not [name for name in vars(Counter) if "RESERVED" in name]


def test_class_and_static_methods_below_bundle() -> None:
    class Local:
        @bundle(trainable=True)
        @classmethod
        def named(cls, x):
            return cls.__name__ + x

        @bundle()
        @staticmethod
        def free(x):
            return x

    assert [Local.named("!").data, Local().named("?").data] == ["Local!", "Local?"]
    assert Local().named.parameter is Local.named.parameter
    assert [Local.free(1).data, Local().free(2).data] == [1, 2]
    assert list(Local.free(1).inputs) == ["x"]


def test_slots_have_no_place_for_copies() -> None:
    class Small:
        __slots__ = ("v",)

        @bundle(trainable=True)
        def go(self, x):
            self.v = x
            return x

    one = Small()
    assert one.go(3).data == 3 and one.v == 3
    assert one.go.parameter is Small.go.parameter


def test_equally_named_classes_keep_apart() -> None:
    class Model:
        @bundle()
        def go(self, x):
            return x

    inner = Model

    class Model(inner):  # type: ignore[no-redef]
        @bundle()
        def go(self, x):
            return super().go(x) + 1

    one = Model()
    assert inner.go.name == Model.go.name
    assert one.go(1).data == 2
    assert one.go is one.go


def test_bound_functions_stay_bound() -> None:
    one = Counter()
    holder = type("Holder", (), {"go": one.fixed})()
    assert holder.go(1).data == 10


def test_methods_added_later_and_aliases() -> None:
    class Local:
        pass

    Local.go = bundle(trainable=True)(raw_method)
    one = Local()
    assert one.go(2).data == 2
    assert list(one.go(2).inputs) == ["self", "x", "__code"]


def raw_method(self, x):
    return x


def test_looks_like_the_function() -> None:
    assert list(inspect.signature(plain).parameters) == ["x"]
    assert (plain.__name__, plain.__module__, plain.__wrapped__.__name__) == ("plain", __name__, "plain")
    assert isinstance(plain, FunModule) and not plain.trainable and plain.parameters() == []
    assert isinstance(changing.parameters()[0], ParameterNode)
    assert Counter().count.forward(1).data == 11


def test_keyed_by_method_and_operator() -> None:
    class Two:
        @bundle("[op] first")
        def first(self):
            return 1

        @bundle("[op] second")
        def second(self):
            return 2

    one = Two()
    assert [one.first().data, one.second().data] == [1, 2]
    assert node(1).data == 1


def test_abstract_methods_stay_abstract() -> None:
    class Base(abc.ABC):
        @bundle()
        @abc.abstractmethod
        def step(self, x: Any) -> Any: ...

    class Whole(Base):
        @bundle()
        def step(self, x: Any) -> Any:
            return x

    with pytest.raises(TypeError, match="step"):
        Base()  # type: ignore[abstract]
    assert Whole().step(1).data == 1
