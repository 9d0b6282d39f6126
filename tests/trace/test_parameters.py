"""What optimizers do with a parameter: its kind, trials, and taking a change back."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from opto.trace import Module, bundle, node
from opto.trace.containers import Map
from opto.trace.nodes import ParameterNode
from opto.trace.spaces import Code, Text


@bundle(trainable=True)
def double(x: Any) -> Any:
    return 2 * x


class Agent(Module):
    @bundle(trainable=True)
    def act(self, x: Any) -> Any:
        return x


CODE = "def f(x):\n    return x"


@pytest.mark.parametrize(
    "parameter",
    [
        double.parameter,
        Agent().act.parameter,
        copy.deepcopy(double.parameter),
        copy.copy(double.parameter),
        pickle.loads(pickle.dumps(copy.deepcopy(double.parameter))),
        copy.deepcopy(double).parameter,
        node(CODE, name="policy", trainable=True, space=Code()),
        node(CODE, name="__code", trainable=True),  # the reserved name, by hand
        node(double.parameter, trainable=True),
    ],
)
def test_program_text_is_code(parameter: Any) -> None:
    assert parameter.is_code


@pytest.mark.parametrize(
    "parameter",
    [
        node("Write in my style.", name="my__code_style", trainable=True),
        node(CODE, name="__code_of_conduct", trainable=True),
        node(CODE, name="a text about code", trainable=True, space=Text()),
        node(3, trainable=True),
    ],
)
def test_a_name_that_holds_the_reserved_one_is_no_code(parameter: Any) -> None:
    assert not parameter.is_code


def test_files_keep_the_kind(tmp_path: Path) -> None:
    class Holder(Module):
        def __init__(self, *texts: Any) -> None:
            self.texts = Map({f"text {i}": text for i, text in enumerate(texts)})

    code = copy.deepcopy(double.parameter)
    assert code is not None and "_copy:" in code.name
    Holder(code, node("Hello", trainable=True)).save(tmp_path / "file")
    found = Holder()
    found.load(tmp_path / "file")
    assert [p.is_code for p in found.parameters()] == [True, False]


def test_a_trial_leaves_no_trace() -> None:
    x = node("one", trainable=True)
    x.change("two")
    with x.trial("three"):
        assert x.data == "three"
        with x.trial("four"):
            assert x.data == "four"
        assert x.data == "three"
    assert x.data == "two"
    assert x.rollback() and x.data == "one" and not x.rollback()


def test_a_trial_that_fails_leaves_no_trace() -> None:
    x = node(1, trainable=True)
    with pytest.raises(ZeroDivisionError), x.trial(0):
        1 / x.data
    assert x.data == 1 and not x.rollback()


def test_a_trial_of_code_leaves_the_users_text() -> None:
    fun = copy.deepcopy(double)
    parameter: ParameterNode[Any] | None = fun.parameter
    assert parameter is not None
    before, own = parameter.data, parameter._user_texts()
    with parameter.trial("def double(x):\n    return 3 * x"):
        assert fun(2).data == 6
    assert parameter.data is before and parameter._user_texts() == own and type(parameter.data) is str
    assert fun(2).data == 4
