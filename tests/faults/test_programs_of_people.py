"""Kinds 11 to 16: programs of people, as they are written: private names, closures, dataclasses, locks, libraries."""

from __future__ import annotations

import copy
import json
import linecache
import socket
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import attrs
import pytest
from fault_cases import case, fails

from opto.errors import ExecutionError
from opto.llm import ScriptedLLM
from opto.optimizers import OptoPrime
from opto.trace import bundle, model, node


@model
class Keeper:
    __unit = "m"

    def __init__(self) -> None:
        self.__p = 5
        self.prompt = node("A", trainable=True)

    def __secret(self) -> int:
        return 7

    @bundle(trainable=True)
    def attribute(self, x: int) -> Any:
        """Read."""
        return self.__p + x

    @bundle(trainable=True)
    def method(self, x: int) -> Any:
        """Call."""
        return self.__secret() + x

    @bundle(trainable=True)
    def constant(self, x: int) -> Any:
        """Read of the class."""
        return f"{x}{self.__unit}"

    @bundle(trainable=True)
    def written(self, x: int) -> Any:
        """Write."""
        self.__q = x
        return self.__q

    @bundle(trainable=True)
    def local(self, x: int) -> Any:
        """A local name."""
        __y = x
        return __y + 1

    @bundle(trainable=True)
    def nested(self, x: int) -> Any:
        """A function inside."""

        def add() -> int:
            return self.__p + x

        return add()

    @bundle(trainable=True)
    def comprehended(self, x: int) -> Any:
        """A comprehension."""
        return sum(self.__p for _ in range(x))

    @bundle()
    def untrainable(self, x: int) -> Any:
        """Not trainable."""
        return self.__p + x


@model
class _Hidden:
    def __init__(self) -> None:
        self.__p = 5

    @bundle(trainable=True)
    def attribute(self, x: int) -> Any:
        """Read."""
        return self.__p + x


class Base:
    def hello(self) -> str:
        return "hello"


@model
class Heir(Base):
    @bundle(trainable=True)
    def hello(self) -> Any:  # type: ignore[override]
        """With super."""
        return super().hello() + "!"

    @bundle(trainable=True)
    def kind(self) -> Any:
        """With the class."""
        return __class__.__name__  # type: ignore[name-defined]


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        case("private attribute", lambda: Keeper().attribute(1), 6),
        case("private method", lambda: Keeper().method(1), 8),
        case("private name of the class", lambda: Keeper().constant(1), "1m"),
        case("private attribute written", lambda: Keeper().written(3), 3),
        case("private local name", lambda: Keeper().local(1), 2),
        case("private name in a function inside", lambda: Keeper().nested(1), 6),
        case("private name in a comprehension", lambda: Keeper().comprehended(2), 10),
        case("not trainable", lambda: Keeper().untrainable(1), 6),
        case("class with an underscore", lambda: _Hidden().attribute(1), 6),
        case("unbound", lambda: Keeper.attribute(Keeper(), 1), 6),
        case("of a copy", lambda: copy.deepcopy(Keeper()).attribute(1), 6),
        case("super()", lambda: Heir().hello(), "hello!"),
        case("__class__", lambda: Heir().kind(), "Heir"),
    ],
)
def test_kind_11_the_unmodified_text_runs_in_its_class(call: Any, wanted: Any) -> None:
    assert call().data == wanted


@pytest.mark.parametrize(
    ("name", "code", "wanted"),
    [
        case("private attribute, rewritten", "attribute", "def attribute(self, x):\n    return self.__p * x", 10),
        case("private method, rewritten", "method", "def method(self, x):\n    return self.__secret() * x", 14),
        case("private constant, rewritten", "constant", "def constant(self, x):\n    return self.__unit * x", "mm"),
        case("private local, rewritten", "local", "def local(self, x):\n    __y = x * 2\n    return __y", 4),
        case("mangled by hand", "attribute", "def attribute(self, x):\n    return self._Keeper__p * x", 10),
        case(
            "helper beside it",
            "attribute",
            "def attribute(self, x):\n    def twice(y):\n        return 2 * y\n    return twice(self.__p) * x",
            20,
        ),
    ],
)
def test_kind_11_rewritten_code_runs_in_its_class(name: str, code: str, wanted: Any) -> None:
    keeper: Any = Keeper()
    method = getattr(keeper, name)
    reply = json.dumps({"suggestion": {method.parameter.py_name: code}})
    optimizer = OptoPrime([method.parameter], llm=ScriptedLLM([reply]))
    optimizer.zero_feedback()
    optimizer.backward(method(2), "multiply")
    assert optimizer.step()
    assert method(2).data == wanted


def rebound() -> Any:
    number = 1

    @bundle(trainable=True)
    def add(x: int) -> int:
        """Add."""
        return x + number

    number = 10
    return add(2)


def rebound_twice() -> Any:
    number = 1

    @bundle(trainable=True)
    def add(x: int) -> int:
        """Add."""
        return x + number

    add(2)
    number = 10
    return add(2)


def defined_later() -> Any:
    @bundle(trainable=True)
    def add(x: int) -> int:
        """Add."""
        return helper(x)

    def helper(x: int) -> int:
        return x + 10

    return add(2)


def in_a_loop() -> Any:
    functions = []
    for number in (1, 10):

        @bundle(trainable=True)
        def add(x: int) -> int:
            """Add."""
            return x + number  # noqa: B023

        functions.append(add)
    return functions[0](2)


def counted() -> Any:
    count = 0

    @bundle(trainable=True)
    def add(x: int) -> int:
        """Count the calls."""
        nonlocal count
        count += 5
        return x + count

    add(2)
    return add(2)


def of_an_argument() -> Any:
    def outer(number: int) -> Any:
        @bundle(trainable=True)
        def add(x: int) -> int:
            """Add."""
            return x + number

        return add

    return outer(10)(2)


def two_levels() -> Any:
    number = 1

    def inner() -> Any:
        @bundle(trainable=True)
        def add(x: int) -> int:
            """Add."""
            return x + number

        return add

    add = inner()
    number = 10
    return add(2)


def by_another_function() -> Any:
    number = 1

    @bundle(trainable=True)
    def add(x: int) -> int:
        """Add."""
        return x + number

    def change() -> None:
        nonlocal number
        number = 10

    change()
    return add(2)


def in_a_list() -> Any:
    number = 1

    @bundle(trainable=True)
    def add(x: int) -> int:
        """Add."""
        return sum([x, *[number for _ in range(1)]])

    number = 10
    return add(2)


def untrainable() -> Any:
    number = 1

    @bundle()
    def add(x: int) -> int:
        """Add."""
        return x + number

    number = 10
    return add(2)


@pytest.mark.parametrize(
    "program",
    [
        fails(12, "rebound", rebound),
        fails(12, "rebound after a call", rebound_twice),
        case("defined later", defined_later),
        fails(12, "variable of a loop", in_a_loop),
        fails(12, "nonlocal", counted),
        case("argument of the outer function", of_an_argument),
        fails(12, "two levels", two_levels),
        fails(12, "rebound by another function", by_another_function),
        fails(12, "read in a comprehension", in_a_list),
        case("without trainable", untrainable),
    ],
)
def test_kind_12_a_closure_is_read_as_it_is_now(program: Any) -> None:
    assert program().data == 12


def plain_dataclass() -> Any:
    @dataclass
    @model
    class Agent:
        prompt: Any
        size: int = 3

    return Agent(node("A", trainable=True))


def frozen_field() -> Any:
    @dataclass(repr=True, eq=False)
    @model
    class Agent:
        prompt: Any = field(default_factory=lambda: node("A", trainable=True))
        size: int = 3

    return Agent()


def by_keyword() -> Any:
    @dataclass(kw_only=True)
    @model
    class Agent:
        prompt: Any
        size: int = 3

    return Agent(prompt=node("A", trainable=True))


def with_post_init() -> Any:
    @dataclass
    @model
    class Agent:
        prompt: Any
        size: int = 1

        def __post_init__(self) -> None:
            self.size += 2

    return Agent(node("A", trainable=True))


def of_attrs() -> Any:
    @attrs.define(slots=False)
    @model
    class Agent:
        prompt: Any
        size: int = 3

    return Agent(node("A", trainable=True))


def of_old_attrs() -> Any:
    @attrs.define(slots=False, eq=False)
    @model
    class Agent:
        prompt: Any = attrs.field(factory=lambda: node("A", trainable=True))
        size: int = 3

    return Agent()


def below() -> Any:
    @model
    @dataclass
    class Agent:
        prompt: Any
        size: int = 3

    return Agent(node("A", trainable=True))


def attrs_below() -> Any:
    @model
    @attrs.define(slots=False)
    class Agent:
        prompt: Any
        size: int = 3

    return Agent(node("A", trainable=True))


@pytest.mark.parametrize(
    "make",
    [
        case("dataclass above", plain_dataclass),
        case("dataclass with a factory", frozen_field),
        case("dataclass by keyword", by_keyword),
        case("dataclass with __post_init__", with_post_init),
        case("attrs above", of_attrs),
        case("attrs with a factory", of_old_attrs),
        case("dataclass below", below),
        case("attrs below", attrs_below),
    ],
)
def test_kind_13_fields_are_seen_above_and_below_model(make: Any) -> None:
    agent = make()
    assert agent.size == 3 and agent.parameters() == [agent.prompt]
    assert copy.deepcopy(agent).prompt is not agent.prompt


class Client:
    def __init__(self) -> None:
        self.inner = threading.Lock()


@model
class Holder:
    def __init__(self, thing: Any) -> None:
        self.prompt = node("A", trainable=True)
        self.thing = thing


HELD = [
    case("lock", threading.Lock),
    case("lock that may be taken again", threading.RLock),
    case("client with a lock", Client),
    case("socket", socket.socket),
    case("generator", lambda: (x for x in ())),
    case("lock in a list", lambda: [threading.Lock()]),
    case("lock in a dict", lambda: {"a": threading.Lock()}),
    case("module", lambda: sys),
    case("open file", lambda: open(__file__)),  # noqa: SIM115
    case("event", threading.Event),
]


@pytest.mark.parametrize("make", HELD)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_kind_14_an_attribute_that_cannot_be_copied_is_named_with_the_way_out(make: Any) -> None:
    thing = make()
    agent: Any = Holder(thing)
    try:
        with pytest.raises(Exception, match=r"thing") as caught:
            copy.deepcopy(agent)
    finally:
        if hasattr(thing, "close"):
            thing.close()
    assert "__deepcopy__" in str(caught.value) or "share" in str(caught.value), "the way out"


def suggested(code: str, uses: Any, text: str) -> Any:
    """What a function with a suggested text returns for 2."""
    parameter = uses.parameter
    optimizer = OptoPrime([parameter], llm=ScriptedLLM([json.dumps({"suggestion": {parameter.py_name: code}})]))
    optimizer.zero_feedback()
    optimizer.backward(uses(2), text)
    optimizer.step()
    return uses(2)


PACKAGES = {
    "module": {"lib_of_mine.py": "def twice(x):\n    return 2 * x\n"},
    "package": {
        "lib_of_mine/__init__.py": "from .deep import twice\n",
        "lib_of_mine/deep.py": "def twice(x):\n    return 2 * x\n",
    },
    "package with data": {
        "lib_of_mine/__init__.py": "from pathlib import Path\n"
        "N = int(Path(__file__).with_name('n.txt').read_text())\ndef twice(x):\n    return N * x\n",
        "lib_of_mine/n.txt": "2",
    },
    "namespace": {"lib_of_mine/part.py": "def twice(x):\n    return 2 * x\n"},
}


@pytest.mark.parametrize(
    ("package", "where"),
    [
        case("module on sys.path", "module", "path"),
        case("package on sys.path", "package", "path"),
        fails(15, "package with data", "package with data", "path"),
        fails(15, "package without __init__", "namespace", "path"),
        case("imported in the code", "module", "code"),
        case("imported by name in the code", "package", "from"),
    ],
)
def test_kind_15_a_library_outside_site_packages_is_there_or_named(
    package: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in PACKAGES[package].items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("lib_of_mine")]:
        del sys.modules[name]
    if package == "namespace":
        import lib_of_mine.part as lib  # type: ignore[import-not-found]
    else:
        import lib_of_mine as lib  # type: ignore[import-not-found]

    @bundle(trainable=True)
    def use(x: int) -> int:
        """Use the library."""
        return lib.twice(x)  # type: ignore[no-any-return]

    code = {
        "path": "def use(x):\n    return lib.twice(x) + 1",
        "code": "def use(x):\n    import lib_of_mine\n    return lib_of_mine.twice(x) + 1",
        "from": "def use(x):\n    from lib_of_mine import twice\n    return twice(x) + 1",
    }[where]
    try:
        assert suggested(code, use, "one more").data == 5
    except ExecutionError as error:
        assert "lib_of_mine" in str(error) and str(tmp_path) in str(error)


@pytest.mark.parametrize(
    "magic",
    [
        case("%%time", "%%time"),
        case("%%timeit", "%%timeit -n 1"),
        case("%%capture", "%%capture out"),
        case("magic after a comment", "# cell\n%%time"),
        case("line magic", "%load_ext autoreload"),
        case("shell", "!pip install numpy"),
    ],
)
def test_kind_16_a_cell_with_a_magic_is_read_or_the_magic_named(magic: str) -> None:
    body = 'from opto.trace import bundle\n\n@bundle(trainable=True)\ndef twice(x):\n    """2x."""\n    return 2 * x\n'
    cell = f"{magic}\n{body}"
    name = f"<ipython-input-{abs(hash(magic))}>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    compiled_name = "<timed exec>" if "%%time" in magic and "timeit" not in magic else name
    blank = "\n" * (magic.count("\n") + 1) if compiled_name == name else ""
    scope: dict[str, Any] = {"__name__": "__main__"}
    try:
        exec(compile(blank + body, compiled_name, "exec"), scope)
        assert scope["twice"](2).data == 4
        assert magic.split()[-1] not in scope["twice"].parameter.data
    except Exception as error:
        assert "%%" in str(error) or "magic" in str(error), error
    finally:
        del linecache.cache[name]
