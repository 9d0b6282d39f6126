"""Exported models: a plain Python file that gives the same results without the library."""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import json
import linecache
import math
import re
import subprocess
import sys
import textwrap
import types
from os.path import join as joined
from pathlib import Path
from random import choice
from sys import maxsize
from typing import Any, NamedTuple, TypedDict

import pytest

import opto.trace.operators as ops
from opto.trace.bundle import bundle
from opto.trace.containers import Map, Seq
from opto.trace.modules import Module, model
from opto.trace.nodes import Node, node
from opto.trace.operators import add, call_llm
from opto.trace.operators import call_llm as ask
from opto.trace.projections import Projection
from opto.trace.saving.export import export_source, without_nodes
from opto.utils.llm import DummyLLM

RATE = 3
SETTINGS = {"a": [1, 2]}
LIVE = object()
SHARED = node(11, name="shared", trainable=True)


def triple(x: Any) -> Any:
    return x * RATE


def unchanged(fun: Any) -> Any:
    return fun


@bundle(trainable=True)
def outside(x):
    """Outside."""
    return x - 1


@bundle()
def fixed_outside(x):
    return triple(x) + SETTINGS["a"][0]


class Base:
    offset = 100

    @bundle(trainable=True)
    def think(self, x):
        """Think."""
        return x + self.offset


@model
class Agent(Base):
    """An agent with "quotes"."""

    limit = 10
    places = ("a", "b")
    level = node(4, name="level", trainable=True)

    class Inner:
        value = 3

    def __init__(self, k: int = 2) -> None:
        self.k = k
        self.word, self.number = node("1 + 1", name="word", trainable=True), node(5, trainable=True)
        self.text: Any = node("say 'hi' \\ \"all\"\nnode(x) @bundle", name="text", trainable=True)
        self.list = [node(1, trainable=True), {"x": node(2)}]
        self.parts = Map({"s": Seq(node("é", trainable=True), 3)})
        self.last = None

    def forward(self, x):  # adds everything up
        self.last = self.scale(x)
        return self.think(self.last) + self.number + fixed_outside(x) + math.floor(2.5) + node(1)

    @bundle(trainable=True)
    def scale(self, x):
        """Scale."""
        return x * 2

    @staticmethod
    @bundle(trainable=True)
    def static(x):
        """Static."""
        return x

    @staticmethod
    def pair(a, b=(1, 2)):
        return a, b

    @classmethod
    def make(cls, k):
        return cls(k)

    @property
    def twice(self):
        return 2 * self.k

    @twice.setter
    def twice(self, value):
        self.k = value // 2

    def outer(self, x):
        return json.dumps([len(self.list), outside(x)])

    def typed(self, a: Path, b: Base, c: Inner | None = None) -> list[Any]:
        return [a, b]

    def __len__(self):
        return 8


@model
class Child(Agent):
    def __init__(self) -> None:
        super().__init__(9)
        self.own = node(0.5, name="own", trainable=True)

    def forward(self, x):
        return super().forward(x) * self.own


class Inner(Module):
    def __init__(self) -> None:
        self.hint = node("old", name="hint", trainable=True)

    def forward(self, x):
        return self.hint + x


@model
class Nested:
    def __init__(self) -> None:
        self.inner = Inner()
        self.tools = [Inner()]

    def forward(self, x):
        return self.inner(x)


@model
class Talker:
    def __init__(self, llm: Any) -> None:
        self.llm = llm
        self.system = node("Be brief.", name="system", trainable=True)

    def forward(self, text):
        return call_llm(self.llm, self.system, text) + ops.call_llm(self.llm, None, text)


@model
class Asker:
    """Names no model: the configured one answers."""

    def __init__(self) -> None:
        self.system = node("Be brief.", name="system", trainable=True)

    def forward(self, text):
        return ops.call_llm(self.system, text)


def run(path: Path, code: str) -> Any:
    """The result of `code` with the exported file, in a Python that cannot import this library."""
    program = f"""
        import sys
        sys.modules["opto"] = None
        sys.path.insert(0, {str(path.parent)!r})
        from {path.stem} import *
        print(repr({code}))
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + path.read_text()
    return ast.literal_eval(done.stdout)


def test_everything_in_a_class_survives(tmp_path: Path) -> None:
    agent = Agent(7)
    agent.number._data = 50
    agent.scale.parameter._data = "def scale(self, x):\n    # now by ten\n    return x * 10"
    expected = agent(3).data
    path = tmp_path / "agent_file.py"
    agent.export(path)
    text = path.read_text()
    assert "from typing import Any\n" in text
    assert "class Agent(Base):" in text and "# now by ten" in text and "# adds everything up" in text
    assert "@bundle" not in text.replace("node(x) @bundle", "") and "trainable=True" not in text.split("class Agent")[1]
    assert run(path, "Agent(7)(3)") == expected
    assert run(path, "(lambda a: (a.word, a.number, a.text, a.list, a.parts, a.last, a.level))(Agent())") == (
        agent.word.data,
        50,
        agent.text.data,
        [1, {"x": 2}],
        {"s": ["é", 3]},
        None,
        4,
    )
    assert run(path, "(Agent.pair(1), Agent.make(3).twice, len(Agent()), Agent.Inner.value, Agent.places)") == (
        (1, (1, 2)),
        6,
        8,
        3,
        ("a", "b"),
    )
    assert run(path, "(Agent.static(4), Agent().outer(3), Agent.__doc__)") == (4, "[2, 2]", 'An agent with "quotes".')


def test_subclasses_of_models(tmp_path: Path) -> None:
    child = Child()
    child.number._data = 1000
    child.think.parameter._data = "def think(self, x):\n    return 1"
    path = tmp_path / "child_file.py"
    child.export(str(path))
    assert run(path, "Child()(3)") == child(3).data


def test_nested_parts_take_their_values_along(tmp_path: Path) -> None:
    nested = Nested()
    nested.inner.hint._data = "new"
    path = tmp_path / "nested_file.py"
    nested.export(path)
    assert run(path, "Nested()('!')") == "new!"


HELPED = """
from math import sqrt

def triple(x):
    return sqrt(x)

def scale(self, x):
    return triple(x) + self.k + len(\'\'\'a
b\'\'\')
"""


def test_code_with_helpers_and_imports(tmp_path: Path) -> None:
    agent = Agent()
    agent.scale.parameter._data = HELPED
    path = tmp_path / "helpers_file.py"
    agent.export(path)
    assert run(path, "Agent()(9)") == agent(9).data


def test_strings_keep_their_lines(tmp_path: Path) -> None:
    @model
    class Poet:
        """A poet.

        Writes.
        """

        def forward(self, x):
            a = f"""one {x}
two
            three"""
            return a + "four"

        @bundle()
        def more(self, x):
            return """five
      six"""

    path = tmp_path / "poet_file.py"
    Poet().export(path, projections=[])
    assert run(path, "Poet()(1)") == Poet()(1) == "one 1\ntwo\n            threefour"
    assert run(path, "Poet().more(1)") == Poet().more(1).data == "five\n      six"


def test_language_model_calls_need_no_library(tmp_path: Path) -> None:
    path = tmp_path / "talker_file.py"
    Talker(None).export(path)
    fake = (
        "(lambda N: Talker(lambda messages: N(choices=[N(message=N(content=str(len(messages))))]))('hi'))"
        "(__import__('types').SimpleNamespace)"
    )
    assert run(path, fake) == "21"


def test_calls_that_name_no_model_go_to_the_one_that_the_user_sets(tmp_path: Path) -> None:
    path = tmp_path / "asker_file.py"
    Asker().export(path)
    fake = (
        "(lambda N: setattr(sys.modules['asker_file'], 'DEFAULT_LLM', lambda messages: N(choices=[N(message=N("
        "content=' '.join(m['role'] + ': ' + m['content'] for m in messages)))])))(__import__('types').SimpleNamespace)"
    )
    assert run(path, f"{fake} or Asker()('hi')") == "system: Be brief. user: hi"
    with pytest.raises(AssertionError, match="set DEFAULT_LLM of this module"):
        run(path, "Asker()('hi')")


def test_export_of_classes_in_functions(tmp_path: Path) -> None:
    factor = 6

    def helper(x):
        return x * factor

    @model
    class Local:
        def __init__(self) -> None:
            self.w = node(2, name="w", trainable=True)

        def forward(self, x):
            return helper(x) + self.w

    path = tmp_path / "local_file.py"
    Local().export(path)
    assert run(path, "Local()(2)") == 14


def test_projections_are_applied(tmp_path: Path) -> None:
    class Shout(Projection):
        def project(self, x: str) -> str:
            return "# shouted\n" + x

    Nested().export(tmp_path / "shout_file.py", projections=[Shout()])
    assert (tmp_path / "shout_file.py").read_text().startswith("# shouted\n")
    assert run(tmp_path / "shout_file.py", "Nested()('!')") == "old!"


def test_broken_code_is_refused(tmp_path: Path) -> None:
    agent = Agent()
    agent.scale.parameter._data = "def scale(self, x:\n"
    with pytest.raises(ValueError, match=r"Agent\.scale does not parse"):
        agent.export(tmp_path / "f.py")
    assert not (tmp_path / "f.py").exists()


def test_missing_sources_are_named() -> None:
    scope: dict[str, Any] = {}
    exec("def forward(self, x):\n    return x", scope)
    made = model(type("Made", (), {"forward": scope["forward"]}))
    with pytest.raises(ValueError, match=r"Made\.forward cannot be found"):
        export_source(made())
    nested = model(type("Outer", (), {"Inner": type("Inner", (), {"__qualname__": "Outer.Inner"})}))
    with pytest.raises(ValueError, match=r"Outer\.Inner"):
        export_source(nested())


def test_class_constants_by_name() -> None:
    @model
    class Holds:
        tool = math.sqrt
        other = triple
        kind = Path
        part = functools.reduce

        def forward(self, x):
            return self.tool(x)

    text = export_source(Holds())
    assert "tool = sqrt" in text and "from math import sqrt" in text and "def triple" in text and "RATE = 3" in text

    @model
    class Written:
        thing = LIVE
        words: Any = re.compile("a b")

    text = export_source(Written())
    assert "LIVE = object()" in text and "thing = LIVE" in text and 'words = re.compile("a b")' in text

    @model
    class Bad:
        thing, count = LIVE, 1

    with pytest.raises(ValueError, match=r"Bad\.thing of type object cannot be exported"):
        export_source(Bad())


def later(x: int) -> int:
    return x if x < 1 else later(x - 1)


alias = later
shorter = lambda x: x + 1  # noqa: E731 - users write such
Kind = Inner
WORDS = re.compile(
    r"\w+",
)
MADE = DummyLLM("hi")


def test_names_of_all_kinds(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    @model
    class Uses:
        def forward(self, x: Any) -> Any:
            try:
                len(joined("a", "b")), choice([1]), unknown_name  # type: ignore[name-defined]
            except NameError:
                return (
                    later(1),
                    alias(2),
                    shorter(x),
                    SHARED,
                    Kind()("!"),
                    WORDS.findall("a b"),
                    maxsize > 0,
                    node(print is not None),
                )

    uses = Uses()
    path = tmp_path / "names_file.py"
    uses.export(path)
    assert run(path, "Uses()(1)") == (0, 0, 2, 11, "old!", ["a", "b"], True, True)
    assert "needs opto" not in caplog.text

    @model
    class Needs:
        def forward(self, x: Any) -> Any:
            return ops.add(x, 1), add(x, 2), ops.call_llm, ask, Node

    text = export_source(Needs())
    assert "from opto.trace.operators import add" in text and "import opto.trace.operators as ops" in text
    assert "from opto.trace import Node" in text and "ask = call_llm" in text and "needs opto" in caplog.text


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 2


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    a: Any
    b: Any = None


class Named(TypedDict):
    name: str


def test_plain_classes_are_written_as_they_stand(tmp_path: Path) -> None:
    @model
    class Makes:
        def forward(self, x: Any) -> Any:
            return Point(x), Colour.RED.name, Pair(x, self.named(name="n"))

        named = Named

    path = tmp_path / "plain_classes.py"
    Makes().export(path)
    assert run(path, "[str(part) for part in Makes()(1)]") == [
        "Point(x=1, y=2)",
        "RED",
        "Pair(a=1, b={'name': 'n'})",
    ]

    @model
    @dataclasses.dataclass
    class Data:
        word: str = "w"

    with pytest.raises(ValueError, match="Data is a dataclass"):
        export_source(Data())


def test_bundled_methods_are_written_like_others(tmp_path: Path) -> None:
    @model
    class Asks:
        @bundle(trainable=True)
        def ask(self, llm, x):
            return ops.call_llm(llm, None, x)

        @bundle(trainable=True)
        @unchanged
        def twice(self, x):
            text = """
"""
            return 2 * x + len(text)

    path = tmp_path / "asks.py"
    Asks().export(path)
    reply = "type('R', (), {'choices': [type('C', (), {'message': type('M', (), {'content': 'hi'})})]})"
    assert run(path, f"(Asks().ask(lambda messages: {reply}, 'q'), Asks().twice(3))") == ("hi", 7)


def test_values_that_the_file_cannot_hold_are_named(caplog: pytest.LogCaptureFixture) -> None:
    @model
    class Holds:
        def __init__(self) -> None:
            self.tool = node(LIVE, name="tool")
            self.plain = node(1, name="plain", trainable=True)
            self.live = node(LIVE, name="live", trainable=True)
            vars(self)["hidden"] = node(2, name="hidden", trainable=True)

    export_source(Holds())
    assert re.findall(r"value of ([\w.]+)", caplog.text) == ["Holds.hidden", "Holds.live"]


def test_objects_without_text(caplog: pytest.LogCaptureFixture) -> None:
    def closed(thing: Any) -> Any:
        @model
        class Closed:
            def forward(self, x: Any) -> Any:
                return thing, MADE

        return Closed()

    text = export_source(closed(object()))
    assert "thing = None  # was a object: define it here" in text and "thing" in caplog.text
    assert 'MADE = DummyLLM("hi")' in text and " import DummyLLM\n" in text


CELLS = (
    "%magic is no Python",
    'import re\nWORDS = re.compile("b+")\nWORDS = re.compile("a+")',
    "from opto.trace import model\n@model\nclass Cell:\n    def forward(self, x):\n        return WORDS.findall(x)",
)


def test_notebook_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    for number, cell in enumerate(CELLS):
        name = f"<ipython-input-{number}>"
        monkeypatch.setitem(linecache.cache, name, (len(cell), None, cell.splitlines(True), name))
        if number:
            exec(compile(cell, name, "exec"), notebook.__dict__)
    path = tmp_path / "cell_file.py"
    notebook.Cell().export(path)
    assert run(path, "Cell()('baab')") == ["aa"]


def test_agents_of_shipped_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's agent stands in this package and is exported without it."""
    shipped = types.ModuleType("opto.cli.shipped")
    shipped.__file__ = "site-packages/opto/cli/shipped.py"
    monkeypatch.setitem(sys.modules, "opto.cli.shipped", shipped)
    text = "from opto.trace import model\ndef greet(x):\n    return 'Hola ' + x\n"
    text += "@model\nclass Shipped:\n    def forward(self, x):\n        return greet(x)\n"
    monkeypatch.setitem(linecache.cache, "<shipped>", (len(text), None, text.splitlines(True), "<shipped>"))
    exec(compile(text, "<shipped>", "exec"), shipped.__dict__)
    path = tmp_path / "shipped_file.py"
    shipped.Shipped().export(path)
    assert run(path, "Shipped()('Ada')") == "Hola Ada"


def test_bundled_functions_export_their_code(tmp_path: Path) -> None:
    path = tmp_path / "function_file.py"
    fixed_outside.export(path)
    assert run(path, "fixed_outside(2)") == fixed_outside(2).data
    outside.export(path)
    assert run(path, "outside(2)") == 1


def test_names_in_closures_may_be_unset() -> None:
    @model
    class Early:
        def forward(self, x: Any) -> Any:
            return late

    text = export_source(Early())
    late = 3
    assert "late = 3" not in text and "late = 3" in export_source(Early()) and late == 3


def test_annotated_and_chained_assignments(tmp_path: Path) -> None:
    @model
    class Odd:
        def __init__(self, *, on: bool = True) -> None:
            self.a: Any = node("ä" * 3, name="a", trainable=True)
            self.b = self.c = node("ö", trainable=True)
            if on:
                self.d = self.keep(node(1, trainable=True))
            self.e, rest = node(5, trainable=True), 3
            self.f: int
            other = {}
            other["x"] = self.g = rest

        def reset(self):
            self.a = node("zero", trainable=True)
            self.d = self.keep(self.d)

        def keep(self, value):
            return value

    odd = Odd()
    odd.a._data, odd.d._data = "new ä", 9
    path = tmp_path / "odd_file.py"
    odd.export(path)
    assert run(path, "(lambda o: (o.a, o.b, o.c, o.d, o.e, o.g))(Odd())") == ("new ä", "ö", "ö", 9, 5, 3)


def test_without_nodes() -> None:
    assert without_nodes(node({"a": (node(1), [node(2)])}, name="x")) == {"a": (1, [2])}


def test_methods_stand_at_the_depth_of_their_class() -> None:
    @model
    class Speaker:
        def __init__(self) -> None:
            self.word = node("hey", trainable=True)

        @bundle(trainable=True)
        def loud(self, text):
            """Say it.

            Loudly.
            """
            if text:
                return f"""
    {text}
"""
            return ""

        @bundle()
        def quiet(self, text):
            # softly
            return text.lower()

    text = export_source(Speaker())
    assert '\n    def loud(self, text):\n        """Say it.\n' in text
    assert '        if text:\n            return f"""\n    {text}\n"""\n        return ""' in text
    assert "\n    def quiet(self, text):\n        # softly\n        return text.lower()" in text
