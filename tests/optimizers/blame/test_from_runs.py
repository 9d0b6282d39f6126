"""Which part is to blame, told from how runs used each."""

from __future__ import annotations

from opto.optimizers.blame.from_runs import blame_from_runs, runs_to_show
from opto.optimizers.blame.recorded_uses import RecordedUse
from opto.trace import node
from opto.trainer.rollouts import Rollout


def run(score: float, feedback: str = "", **used: object) -> Rollout:
    """A rollout in which each part got the input `score` and made the given value; "!" stands for an error."""
    uses = {
        name: (RecordedUse((f"{score}{feedback}{value}",), repr(value), value in ("!", None), level),)
        for level, (name, value) in enumerate(used.items(), 1)
    }
    return Rollout(object(), node(0), score, feedback, uses)


def test_a_part_whose_values_occur_in_successful_runs_is_blamed_less() -> None:
    rollouts = [run(1, a="x", b="good"), run(0, a="x", b="bad")]
    assert list(blame_from_runs(rollouts, {}, 1)) == ["b", "a"]
    assert blame_from_runs(rollouts, {}, 1)["a"] < blame_from_runs(rollouts, {}, 1)["b"]


def test_a_part_that_gives_one_value_for_all_inputs_comes_first() -> None:
    rollouts = [run(0, "p", a=None, b="1"), run(0, "q", a=None, b="2")]
    assert next(iter(blame_from_runs(rollouts, {}, 1))) == "a"


def test_of_equals_the_one_nearer_to_the_output_comes_first() -> None:
    rollouts = [run(0, "p", a="1", b="1"), run(0, "q", a="2", b="2")]
    assert list(blame_from_runs(rollouts, {}, 1)) == ["b", "a"]


def test_tries_that_led_nowhere_lower_blame() -> None:
    rollouts = [run(0, "p", a="1", b="1"), run(0, "q", a="2", b="2")]
    assert list(blame_from_runs(rollouts, {"b": 1}, 1)) == ["a", "b"]


def test_parts_that_no_failing_run_used_are_not_blamed() -> None:
    assert list(blame_from_runs([run(1, a="x"), run(0, b="y")], {}, 1)) == ["b"]
    assert blame_from_runs([], {}, 1) == {}


def test_runs_to_show_are_differing_failures_first_then_a_success() -> None:
    rollouts = [run(0, a="1"), run(0, a="1"), run(0, a="2"), run(1, a="3"), run(0, b="4")]
    shown = runs_to_show(rollouts, "a", failing=2, passing=1, perfect=1)
    assert [r.uses["a"][0].value for r in shown] == ["'1'", "'2'", "'3'"]


def test_values_that_successful_runs_share_are_shown_last() -> None:
    rollouts = [run(0, a="fine"), run(1, a="fine"), run(0, a="odd")]
    shown = runs_to_show(rollouts, "a", failing=1, passing=0, perfect=1)
    assert [r.uses["a"][0].value for r in shown] == ["'odd'"]


def test_runs_to_show_are_each_kind_of_input_rather_than_one_kind_thrice() -> None:
    def near(kind: str, name: str, score: float) -> Rollout:
        usage = RecordedUse((f"'{kind}'", f"'{name}'"), f"'{name}!'", False, 1)
        return Rollout(name, node(0), score, f"expected {name}", {"a": (usage,)})

    rollouts = [near("es", "Eva", 0.5), near("es", "Leo", 0.5), near("es", "Rosa", 0.5), near("en", "Ann", 0)]
    rollouts.append(near("en", "Bob", 1))
    shown = runs_to_show(rollouts, "a", failing=3, passing=1, perfect=1)
    assert [r.example for r in shown] == ["Eva", "Ann", "Leo", "Bob"]
