"""The small functions of opto.trace.utils."""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.trace import utils
from opto.trace.nodes import node


def test_contain_goes_by_identity() -> None:
    a, b = node(1), node(1)
    assert a in [b] and not utils.contain([b], a) and utils.contain((x for x in [b, a]), a)


def test_dedent_strips_both_sides() -> None:
    assert utils.dedent("\n  a \n\t\tb\n") == "\na\nb\n"


@given(st.text())
def test_remove_non_ascii(text: str) -> None:
    assert utils.remove_non_ascii(text) == "".join(letter for letter in text if ord(letter) < 128)


def test_parse_eqs() -> None:
    text = "ignored first line\nx = 1\n\ncode = `def f(x):\n    y == 2`\nlast"
    assert utils.parse_eqs_to_dict("a b\nx =1") == {"x": "1"}
    assert utils.parse_eqs_to_dict(text) == {"x": " 1", "code": " def f(x):", "y": "= 2\nlast"}
    assert utils.parse_eqs_to_dict("") == {}


def test_for_all_methods() -> None:
    def plus_one(fun: Any) -> Any:
        return lambda *args: fun(*args) + 1

    @utils.for_all_methods(plus_one)
    class C:
        constant = 5

        class Inner:
            pass

        def __call__(self) -> int:
            return 0

        def method(self) -> int:
            return 1

        @staticmethod
        def static(x: int) -> int:
            return x

        @classmethod
        def of_class(cls) -> int:
            return cls.constant

        @property
        def prop(self) -> int:
            return 7

    c = C()
    assert (c(), c.method(), c.static(1), C.of_class(), c.prop, c.constant) == (0, 2, 2, 6, 7, 5)
    assert isinstance(c.Inner(), C.Inner)


quoted = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='\\"{}')).map(
    lambda s: f'{s}"{s}'
)


@given(quoted, quoted)
def test_bare_quotes_are_escaped(name: str, value: str) -> None:
    broken = f'{{"name": "{name}", "value": "{value}"}}'
    assert json.loads(utils.escape_json_nested_quotes(broken)) == {"name": name, "value": value}


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a", "value": "b"}',
        '{"value": 3, "name": "say \\"hi\\""}',
        '[{"name": "a\\\\", "value": "b"}, {"name": "c", "value": [1]}]',
        "no json at all",
        '{"name": "never closed',
    ],
)
def test_good_or_hopeless_text_stays(text: str) -> None:
    assert utils.escape_json_nested_quotes(text) == text


class Recorded:
    def __init__(self, reply: str, feedback: Any = "too <low>") -> None:
        problem = type("Problem", (), {"feedback": feedback, "__str__": lambda self: "the problem"})()
        self.log = [{"response": reply}]
        self.summary_log = [{"problem_instance": problem, "summary": None}]


def test_steps_outside_notebooks_are_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython.display", raising=False)
    reply = json.dumps({"reasoning": "because", "suggestion": {"x0": "a<b"}})
    page = utils.render_opt_step(0, Recorded(reply))
    text = page._repr_html_()  # type: ignore[union-attr]
    assert text == str(page)
    for part in ("the problem", "too &lt;low&gt;", "because", "x0:\na&lt;b", "Step 0"):
        assert part in text
    short = str(utils.render_opt_step(0, Recorded(reply, None), no_trace_graph=True, no_improvement=True))
    assert "because" in short and "the problem" not in short and "x0" not in short and "Feedback" not in short
    assert "an answer" in str(utils.render_opt_step(0, Recorded('{"reasoning": "r", "answer": "an answer"}')))
    for odd in ("not json", "[1, 2]"):
        assert odd in str(utils.render_opt_step(0, Recorded(odd)))


def test_steps_in_notebooks_are_displayed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    fake = types.ModuleType("IPython.display")
    fake.display = shown.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    assert utils.render_opt_step(0, Recorded("text")) is None and "text" in str(shown[0])


def test_for_all_methods_tells_names() -> None:
    class Remembers:
        def __init__(self, fun: Any) -> None:
            self.name = ""

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = f"{owner.__name__}.{name}"

        def __call__(self) -> None: ...

    @utils.for_all_methods(Remembers)
    class D:
        def method(self) -> None: ...

    assert D.method.name == "D.method"  # type: ignore[attr-defined]
