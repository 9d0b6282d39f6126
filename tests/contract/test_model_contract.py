"""`@model` classes."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
from typing import Any

import pytest

import opto.trace as trace
from opto.trace import Model, Module, bundle, model, node
from opto.trace.nodes import Node


@model
class Agent:
    """A plain agent."""

    limit = 10

    class Inner:
        value = 3

    def __init__(self, k: int = 1) -> None:
        self.k = k
        self.prompt = node("Hello node(", name="prompt", trainable=True)
        self.number = node(2, name="number", trainable=True)
        self.history: list[int] = []

    @property
    def twice(self) -> int:
        return 2 * self.k

    def forward(self, x: Any) -> Any:
        self.history.append(1)
        return self.scale(x) * self.number + self.shift(self.k)

    @bundle(trainable=True)
    def scale(self, x):
        """Scale x."""
        return x + 1

    @bundle()
    def shift(self, x):
        return x - 1


@model
class Child(Agent):
    def __init__(self) -> None:
        super().__init__(5)
        self.extra = node(0, name="extra", trainable=True)

    @bundle(trainable=True)
    def more(self, x):
        """More."""
        return x


class Base:
    @bundle(trainable=True)
    def think(self, x):
        """Think."""
        return x * 2


@trace.model
class Mixed(Base):
    def __init__(self) -> None:
        super().__init__()
        self.w = node(1, name="w", trainable=True)

    def __call__(self, x: Any) -> Any:
        return self.think(x) + self.w

    def __len__(self) -> int:
        return 4


def ids(nodes: Any) -> set[int]:
    return {id(n) for n in nodes}


def test_kind() -> None:
    a = Agent()
    assert isinstance(a, Module) and isinstance(a, Model) and isinstance(a, trace.Module)
    assert issubclass(Mixed, Base)
    assert Agent.__doc__ == "A plain agent." and Agent.__module__ == __name__
    assert Agent.__name__ in ("Agent", "AgentModel")


def test_callable_through_forward() -> None:
    assert Agent(3)(1).data == 6
    assert Mixed()(3).data == 7 and len(Mixed()) == 4


def test_parameters() -> None:
    a = Agent()
    assert list(a.parameters_dict()) == ["number", "prompt", "scale"]
    assert len(Mixed().parameters()) == 2


def test_class_attributes() -> None:
    a = Agent(4)
    assert a.twice == 8 and a.limit == Agent.limit == 10 and a.Inner.value == 3


def test_subclass_of_a_model() -> None:
    c = Child()
    assert len(c.parameters()) == 5 and isinstance(c, Agent)
    assert c(1).data == 8

    class Plain(Agent):
        def forward(self, x: Any) -> Any:
            return super().forward(x) + 1000

    assert Plain()(1).data == 1004


def test_self_node_is_named_after_the_class() -> None:
    a = Agent()
    assert a.shift(1).inputs["self"].name.split(":")[0] in ("Agent", "AgentModel")


def test_model_in_a_function() -> None:
    @model
    class Local:
        def __init__(self) -> None:
            self.w = node(3, name="w", trainable=True)

        def forward(self, x: Any) -> Any:
            return self.w + x

    m = Local()
    m.w._data = 4
    dup = copy.deepcopy(m)
    assert dup(1).data == 5


def test_pickle() -> None:
    a = Agent(7)
    a.scale.parameter._data = "def scale(self, x):\n    return -x"
    a.number._data = 3
    a(1)
    back = pickle.loads(pickle.dumps(a))
    assert type(back) is Agent and back.k == 7 and back.history == [1]
    assert back(1).data == 3 and not ids(back.parameters()) & ids(a.parameters())


def test_pickle_of_nodes_used_by_operators() -> None:
    x = node(2, name="x", trainable=True)
    y = x + 1
    y.backward("fb")
    assert pickle.loads(pickle.dumps(x)).data == 2


def test_getstate() -> None:
    a = Agent(7)
    a(1)
    state = a.__getstate__()
    assert set(state) == {"parameters_dict", "non_parameters_dict"}
    assert not any("__TRACE_RESERVED_" in key for key in state["non_parameters_dict"])
    assert set(state["parameters_dict"]) == {"number", "prompt", "scale"}


def test_save_and_load(tmp_path: Any) -> None:
    a = Agent(7)
    a.scale.parameter._data = "def scale(self, x):\n    return -x"
    path = str(tmp_path / "new" / "agent.pkl")
    a.save(path)
    b = Agent(1)
    kept = b.number
    b.load(path)
    assert b.k == 7 and b.number is kept and b(1).data == a(1).data == 4
    c = Child()
    with pytest.raises(AssertionError):
        c.load(path)


def test_deepcopy() -> None:
    a = Agent()
    a.scale.parameter._data = "def scale(self, x):\n    return 100"
    twice = copy.deepcopy(copy.deepcopy(a))
    assert twice(1).data == 200 and not ids(twice.parameters()) & ids(a.parameters())
    assert "_copy:" in twice.number.name and "_copy:" in twice.scale.parameter.name
    twice.scale.parameter._data = "def scale(self, x):\n    return 0"
    twice.k = 99
    assert a(1).data == 200 and twice(1).data == 98


def test_shallow_copy() -> None:
    a = Agent()
    a.scale.parameter._data = "def scale(self, x):\n    return 100"
    b = copy.copy(a)
    assert b.number is a.number and b(1).data == 200


def test_saved_deepcopy_has_no_graph(tmp_path: Any) -> None:
    a = Agent()
    a.last = None
    big = node("q" * 1000)
    for _ in range(50):
        big = big + "r" * 1000
    a.prompt._data = "short"
    y = a.prompt + big
    y.backward("fb", retain_graph=True)
    assert y.data
    path = tmp_path / "agent.pkl"
    copy.deepcopy(a).save(str(path))
    assert path.stat().st_size < 50_000


def test_copy_shares_parameters() -> None:
    a = Agent()
    b = a.copy()
    assert ids(a.parameters()) == ids(b.parameters()) and b.history is not a.history
    assert b(1).data == a(1).data


def local_code() -> Any:
    def plus(x):
        return x + 1

    return bundle(trainable=True)(plus)


@model
class Holder:
    """Holds code that is no method."""

    def __init__(self) -> None:
        self.code = local_code()

    def forward(self, x: Any) -> Any:
        return self.code(x)


def test_code_held_as_an_attribute(tmp_path: Any) -> None:
    a = Holder()
    assert a.parameters_dict()["code"] is a.code.parameter and len(a.parameters()) == 1
    a.code.parameter._data = "def plus(x):\n    return x + 100"
    assert copy.deepcopy(a)(1).data == 101 and a.copy().code.parameter is a.code.parameter
    path = str(tmp_path / "holder.pkl")
    a.save(path)
    b = Holder()
    b.load(path)
    assert b(1).data == 101


# --- export ---------------------------------------------------------------------------------------------------------


@model
class Exported:
    """Goes to a file."""

    def __init__(self) -> None:
        self.text = node("1 + 1", name="text", trainable=True)
        self.greeting = node("say 'hi' to \"all\"\nplease", name="greeting", trainable=True)
        self.number = node(2, name="number", trainable=True)
        self.plain = [1, 2]

    def __call__(self, x):
        return self.times(x) + self.shift(self.number)

    def __len__(self):
        return 3

    @bundle(trainable=True)
    def times(self, x):
        """Times."""
        return x * 2

    @bundle()
    def shift(self, x):
        return x + 10

    def words(self):
        return self.text


def load_file(path: Any) -> Any:
    spec = importlib.util.spec_from_file_location("exported_agent", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("exported_agent", None)
    return module


def test_export(tmp_path: Any) -> None:
    m = Exported()
    m.times.parameter._data = "def times(self, x):\n    # better\n    return x * 7"
    m.number._data = 5
    path = tmp_path / "exported_agent.py"
    m.export(str(path))
    text = path.read_text()
    assert "class Exported:" in text and "@bundle" not in text and "node(" not in text and "trainable" not in text
    plain = load_file(path).Exported()
    assert plain(3) == m(3).data == 36
    assert plain.text == "1 + 1" and plain.words() == "1 + 1" and plain.number == 5
    assert plain.greeting == "say 'hi' to \"all\"\nplease" and plain.plain == [1, 2] and len(plain) == 3
    assert not isinstance(plain.text, Node)


def test_export_without_formatting(tmp_path: Any) -> None:
    path = tmp_path / "exported_agent.py"
    Exported().export(str(path), projections=[])
    assert load_file(path).Exported()(3) == 18
