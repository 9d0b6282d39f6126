"""Module and `@model`: calling, copies, pickles; what users of the existing library ran into."""

from __future__ import annotations

import abc
import collections
import copy
import dataclasses
import gc
import pickle
import threading
import weakref
from typing import Any, Generic, TypeVar

import pytest

from opto.trace.bundle import bundle
from opto.trace.modules import Model, Module, blank_model, model
from opto.trace.nodes import GRAPH, node

Value = TypeVar("Value")


@pytest.fixture(autouse=True)
def names_from_zero() -> None:
    GRAPH.clear()


def parameter(value: Any = 0, name: str = "p") -> Any:
    return node(value, name=name, trainable=True)


NEW_CODE = "def think(self, x):\n    return x + 1000"


@model
class Agent:
    """Thinks."""

    limit = 3
    table = {"a": 1}  # noqa: RUF012 - as users write it

    class Inner:
        pass

    def __init__(self, k: int = 1) -> None:
        self.k = k
        self.prompt = parameter("hi", "prompt")
        self.log: list[Any] = []

    @property
    def double(self) -> int:
        return 2 * self.k

    @classmethod
    def make(cls) -> Any:
        return cls(7)

    @staticmethod
    def helper() -> int:
        return 5

    def forward(self, x: Any) -> Any:
        return self.think(x)

    @bundle(trainable=True)
    def think(self, x):
        """Think."""
        return x + self.k


@model
class Child(Agent):
    def __init__(self) -> None:
        super().__init__(10)
        self.own = parameter(1, "own")

    @bundle(trainable=True)
    def think(self, x):
        """Think again."""
        return -x


def test_module_needs_forward() -> None:
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        Module()(1)


def test_names_and_docs_stay() -> None:
    assert (Agent.__name__, Agent.__qualname__, Agent.__doc__, Agent.__module__) == (
        "Agent",
        "Agent",
        "Thinks.",
        __name__,
    )
    assert issubclass(Agent, Model) and issubclass(Agent, Module)
    assert Agent().think(1).inputs["self"].name == "Agent:0"


def test_anything_may_stand_in_a_class() -> None:
    a = Agent.make()
    assert (a.double, a.limit, a.table, a.helper(), a.k) == (14, 3, {"a": 1}, 5, 7)
    assert isinstance(a.Inner(), Agent.Inner) and a(1).data == 8


def test_models_inherit() -> None:
    c = Child()
    assert c(1).data == -1 and isinstance(c, Agent)
    assert list(c.parameters_dict()) == ["own", "prompt", "think"]

    class Plain(Child):
        def forward(self, x: Any) -> Any:
            return super().forward(x) * 2

    assert Plain()(1).data == -2
    assert model(Agent) is not Agent and model(Agent)(2)(1).data == 3


def test_generic_classes_stay_generic() -> None:
    @model
    class Wrapper(Generic[Value]):
        def forward(self, x: Value) -> Value:
            return x

    class Numbers(Wrapper[int]):
        pass

    assert Wrapper[int]()(1) == Numbers()(1) == 1


def test_dataclass_and_abstract_bases() -> None:
    class Base(abc.ABC):
        @abc.abstractmethod
        def forward(self, x: Any) -> Any: ...

    @model
    @dataclasses.dataclass
    class Data(Base):
        word: Any = dataclasses.field(default_factory=lambda: parameter("w", "word"))

        def forward(self, x: Any) -> Any:
            return self.word + x

    d = Data()
    assert d("!").data == "w!" and len(d.parameters()) == 1
    assert copy.deepcopy(d)("!").data == "w!"


# --- copies -------------------------------------------------------------------------------------


def test_deepcopy_twice() -> None:
    a = Agent()
    a.think.parameter._data = NEW_CODE
    b = copy.deepcopy(a)
    c = copy.deepcopy(b)
    assert c(1).data == 1001 and c.prompt.name.startswith("prompt0_copy0_copy")
    assert len({id(x.prompt) for x in (a, b, c)}) == 3 and len({id(x.think.parameter) for x in (a, b, c)}) == 3
    assert c.think(1).inputs["self"].data is c
    a.think.parameter._data = "def think(self, x):\n    return 0"
    assert b(1).data == 1001


def test_deepcopy_keeps_inner_identity() -> None:
    a = Agent()
    a.me, a.same = a, a.prompt
    b = copy.deepcopy(a)
    assert b.me is b and b.same is b.prompt


def test_copy_shares_attributes_and_carries_code() -> None:
    a = Agent()
    a.think.parameter._data = NEW_CODE
    b = copy.copy(a)
    assert b.prompt is a.prompt and b.log is a.log and b(1).data == 1001
    assert b.think is not a.think and b.think(1).inputs["self"].data is b


def test_copy_method_shares_code_too() -> None:
    a = Agent()
    b = a.copy()
    assert b.think.parameter is a.think.parameter and b.log is not a.log and b.prompt is a.prompt


def test_class_level_code_survives_copies_of_instances() -> None:
    @model
    class Static:
        @staticmethod
        @bundle(trainable=True)
        def f(x):
            """F."""
            return x

    first = Static.f.parameter
    twin = copy.deepcopy(Static())
    assert Static.f.parameter is first and twin.f.parameter is first


def test_bundled_function_as_attribute() -> None:
    @bundle(trainable=True)
    def f(x):
        """F."""
        return x

    @model
    class Holder:
        def __init__(self) -> None:
            self.f = f

        def forward(self, x: Any) -> Any:
            return self.f(x)

    h = Holder()
    twin = copy.deepcopy(h)
    twin.f.parameter._data = "def f(x):\n    return 9"
    assert h(1).data == 1 and twin(1).data == 9
    shallow = copy.copy(h)
    assert shallow(1).data == 1


def test_models_on_builtin_containers() -> None:
    @model
    class Bag(dict):  # type: ignore[type-arg]
        pass

    @model
    class Row(list):  # type: ignore[type-arg]
        pass

    bag, row = Bag(a=[1]), Row([[1]])
    for twin in (copy.deepcopy(bag), copy.copy(bag), pickle.loads(pickle.dumps(bag))):
        assert twin == {"a": [1]} and isinstance(twin, Model)
    assert copy.deepcopy(row) == [[1]] and copy.deepcopy(row)[0] is not row[0] and copy.copy(row)[0] is row[0]


def test_nothing_is_kept_alive() -> None:
    gc.collect()
    gc.disable()
    try:
        a = Agent()
        gone = weakref.ref(a.prompt)
        del a
        assert gone() is None
    finally:
        gc.enable()


# --- pickles ------------------------------------------------------------------------------------


def local_class() -> Any:
    @model
    class Local:
        def __init__(self) -> None:
            self.p = parameter(1)

    return Local


def test_pickle_of_models() -> None:
    a = Agent(4)
    a.think.parameter._data = NEW_CODE
    b = pickle.loads(pickle.dumps(a))
    assert type(b) is Agent and b.k == 4 and b(1).data == 1001


def test_pickle_of_classes_made_in_functions() -> None:
    cls = local_class()
    twin = pickle.loads(pickle.dumps(cls()))
    assert type(twin) is cls and twin.p.data == 1
    newer = local_class()
    assert type(copy.deepcopy(cls())) is cls and type(copy.copy(cls())) is cls
    assert type(pickle.loads(pickle.dumps(newer()))) is newer


def test_pickle_of_unknown_classes() -> None:
    with pytest.raises(pickle.UnpicklingError, match="run the code that defines it"):
        blank_model("no.such", "Thing")


def test_classes_with_their_own_state_keep_it() -> None:
    @model
    class Own:
        def __init__(self) -> None:
            self.a, self.lock = 1, threading.Lock()

        def __getstate__(self) -> Any:
            return {"a": self.a}

    twin = pickle.loads(pickle.dumps(Own()))
    assert twin.a == 1 and not hasattr(twin, "lock") and copy.deepcopy(Own()).a == 1
    assert copy.copy(Own()).a == 1


@model
class Reducing:
    def __init__(self, a: int) -> None:
        self.a = a

    def __reduce__(self) -> Any:
        return Reducing, (self.a + 1,)


def test_classes_with_their_own_reduce_keep_it() -> None:
    assert pickle.loads(pickle.dumps(Reducing(1))).a == 2


def test_slots() -> None:
    @model
    class Slim:
        __slots__ = ("p",)

        def __init__(self) -> None:
            self.p = parameter(3)

    assert copy.deepcopy(Slim()).p.data == 3 and pickle.loads(pickle.dumps(Slim())).p.data == 3


def test_named_tuples_inside() -> None:
    a = Agent()
    a.pair = collections.Counter("aab")
    assert copy.deepcopy(a).pair == {"a": 2, "b": 1}


@model
class Reserving:
    def __init__(self) -> None:
        self.__dict__["__TRACE_RESERVED_mine"] = ["a list"]
        self.__dict__["__TRACE_RESERVED_bundle_mine"] = 3

    @bundle(trainable=True)
    def act(self, x: Any) -> Any:
        return x


class ReservingModule(Module):
    __init__ = Reserving.__init__
    act = Reserving.act


@pytest.mark.parametrize("cls", [Reserving, ReservingModule])
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.copy()]
)
def test_copies_keep_attributes_of_the_user_whatever_their_names(cls: Any, copied: Any) -> None:
    agent = cls()
    assert agent.act(2).data == 2
    twin = vars(copied(agent))
    assert twin["__TRACE_RESERVED_mine"] == ["a list"] and twin["__TRACE_RESERVED_bundle_mine"] == 3


def test_files_keep_attributes_of_the_user_whatever_their_names(tmp_path: Any) -> None:
    agent, fresh = Reserving(), Reserving()
    agent.__dict__["__TRACE_RESERVED_mine"].append("more")
    agent.act(1)
    agent.save(tmp_path / "agent")
    fresh.load(tmp_path / "agent")
    assert vars(fresh)["__TRACE_RESERVED_mine"] == ["a list", "more"]
