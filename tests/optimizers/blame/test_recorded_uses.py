"""A function that gives something else than its header says did not do its work."""

from __future__ import annotations

from typing import Any

import pytest

from opto.optimizers.blame.recorded_uses import keeps_promise
from opto.trace import bundle
from opto.trainer.rollouts import Judgement, roll_out


@pytest.mark.parametrize(
    ("annotation", "value", "kept"),
    [
        ("str | None", "en", True),
        ("str | None", None, True),
        ("str | None", True, False),
        ("Optional[int]", None, True),
        ("int", True, False),
        ("float", 3, True),
        ("list[int]", [1], True),
        ("list[int]", (1,), False),
        ("None", 1, False),
        ("Pandas", 1, True),  # a kind we do not know holds for everything
        ("int | Pandas", "x", True),
        ("'str'", 1, True),
    ],
)
def test_values_are_held_against_the_annotation(annotation: str, value: Any, kept: bool) -> None:
    assert keeps_promise(f"def f(x) -> {annotation}:\n    return x", value) is kept


@pytest.mark.parametrize("code", ["def f(x): return x", "def f(x", "x = 1", "", "def f(x) -> None\0: ..."])
def test_code_without_a_readable_annotation_promises_nothing(code: str) -> None:
    assert keeps_promise(code, object())


def test_a_run_tells_that_a_part_gave_what_it_does_not_promise() -> None:
    @bundle(trainable=True)
    def language(text: str) -> str:
        """Finds the language"""
        return text

    name = language.parameter.py_name
    judge = lambda example, value: Judgement(0, "no")  # noqa: E731
    fine = roll_out(language, "en", judge, parameters=[language.parameter])
    language.parameter._data = "def language(text: str) -> str:\n    return text == 'en'"
    wrong = roll_out(language, "en", judge, parameters=[language.parameter])
    assert [r.uses[name][0].broken for r in (fine, wrong)] == [False, True]
