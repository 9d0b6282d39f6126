"""Which format an optimizer speaks, what its logs keep, which parameters are code, and which model is the default."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OPRO, OPROv2, OptoPrime, OptoPrimeV1, OptoPrimeV2, TextGrad
from opto.trace import bundle, node

REPLY = json.dumps({"reasoning": "r", "suggestion": {"x0": 2}})
TAGS = "<reasoning>r</reasoning><variable><name>x0</name><value>2</value></variable>"


def posed(kind: Any, *replies: str, **options: Any) -> tuple[Any, Any, ScriptedLLM]:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM(replies or [REPLY])
    optimizer = kind([x], llm=llm, **options)
    optimizer.backward(x + 1, "more")
    return optimizer, x, llm


@pytest.mark.parametrize("kind", [OptoPrimeV1, OptoPrimeV2, OPRO, OPROv2])
def test_each_kind_is_an_optoprime_that_differs_by_its_format(kind: Any) -> None:
    optimizer, x, _ = posed(kind, TAGS if "v2" in kind.__name__.lower() else REPLY)
    assert isinstance(optimizer, OptoPrime) and optimizer.by_own_methods
    assert optimizer.step() == {x: 2}


def test_a_subclass_or_an_object_that_replaces_nothing_of_the_classic_format_stays_lean() -> None:
    class Mine(OptoPrime):
        """Adds a setting."""

        patience = 3

    optimizer, x, llm = posed(Mine)
    assert optimizer.step() == {x: 2} and "# Parts you may change" in llm.calls[0]["messages"][1]["content"]


def test_a_method_that_is_replaced_on_the_object_is_called() -> None:
    optimizer, x, llm = posed(OptoPrime)
    optimizer.call_llm = lambda **options: '{"suggestion": {"x0": 5}}'
    assert optimizer.step() == {x: 5} and llm.calls == []


def test_how_values_are_written_can_be_replaced() -> None:
    class Mine(OptoPrimeV1):
        @staticmethod
        def repr_node_value(node_dict: Any) -> str:
            return "\n".join(f"{name} is {value}" for name, (value, _) in node_dict.items())

    optimizer, _, llm = posed(Mine)
    optimizer.step()
    assert "#Variables\nx0 is 1" in llm.calls[0]["messages"][1]["content"]


# --- logs ---


def test_no_classic_problem_is_rendered_for_a_log_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[str] = []
    original = OptoPrime.problem_instance

    def counted(self: Any, summary: Any, mask: Any = None) -> Any:
        rendered.append(self.objective)
        return original(self, summary, mask)

    monkeypatch.setattr(OptoPrime, "problem_instance", counted)
    optimizer, _, _ = posed(OptoPrime, REPLY, objective="first")
    optimizer.step()
    assert rendered == []
    optimizer.objective = "second"
    entry = optimizer.summary_log[0]
    assert set(entry) == {"problem_instance", "summary"} and "first" in str(entry["problem_instance"])
    assert rendered == ["first"], "a log shows the objective of its step"


def test_a_log_can_be_pickled() -> None:
    optimizer, _, _ = posed(OptoPrimeV1)
    optimizer.step()
    entries = pickle.loads(pickle.dumps(optimizer.summary_log))
    assert entries[0]["problem_instance"].feedback == "more" == entries[0]["summary"].user_feedback


@pytest.mark.parametrize("kind", [OptoPrime, OptoPrimeV1])
def test_logs_keep_the_last_steps(kind: Any) -> None:
    optimizer, _, _ = posed(kind, *[REPLY] * 5, log=3)
    for _ in range(5):
        optimizer.step(bypassing=True)
    assert len(optimizer.log) == len(optimizer.summary_log) == 3
    optimizer, _, _ = posed(kind)
    assert optimizer.logged_steps == 100


# --- kinds ---

STYLE = "Write code like this:\ndef  double( x ):\n   return 2*x"


@pytest.mark.parametrize("kind", [OptoPrime, OptoPrimeV1, OptoPrimeV2])
def test_a_text_whose_name_looks_like_code_is_a_text(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    formatted: list[str] = []
    black = SimpleNamespace(FileMode=lambda: None, format_str=lambda text, mode: formatted.append(text) or text)
    monkeypatch.setitem(sys.modules, "black", black)

    @bundle(trainable=True)
    def double(x):
        """Twice the value."""
        return x + x

    style = node("Be brief.", name="my__code_style", trainable=True)
    better = "def double(x):\n    '''Twice the value.'''\n    return 2 * x"
    values = {style.py_name: STYLE, double.parameter.py_name: better}
    tags = "".join(f"<variable><name>{k}</name><value>{v}</value></variable>" for k, v in values.items())
    reply = f"<reasoning>r</reasoning>{tags}" if kind is OptoPrimeV2 else json.dumps({"suggestion": values})
    llm = ScriptedLLM([reply])
    optimizer = kind([style, double.parameter], llm=llm)
    optimizer.backward(double(style), "longer")
    assert optimizer.step() == {style: STYLE, double.parameter: better}
    assert formatted == [better], "only code is formatted"
    shown = llm.calls[0]["messages"][1]["content"]
    code = double.parameter.py_name
    assert {
        OptoPrime: f"{style.py_name} (text): Be brief." in shown and f"{code} (code):" in shown,
        OptoPrimeV1: f"(str) {style.py_name}=Be brief." in shown and f"(code) {code}:def double" in shown,
        OptoPrimeV2: f'name="{style.py_name}" type="str"' in shown and f'name="{code}" type="code"' in shown,
    }[kind]


# --- the default model ---


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("opto.optimizers.optoprime", OptoPrime),
        ("opto.optimizers.optoprime", OptoPrimeV1),
        ("opto.optimizers.optoprime_v2", OptoPrimeV2),
        ("opto.optimizers.textgrad", TextGrad),
        ("opto.utils.llm", OptoPrime),
        ("opto.utils.llm", OptoPrimeV2),
        ("opto.utils.llm", TextGrad),
    ],
)
def test_a_patched_default_model_is_used(place: str, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ScriptedLLM([])
    x = node(1, name="x", trainable=True)
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module(place), "LLM", lambda: fake)
        optimizer = kind([x])
    assert optimizer.llm is fake, "also where the patch is over before the first question"
