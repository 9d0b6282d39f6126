"""Promise: the measures by which candidates of the same score are compared."""

from __future__ import annotations

from opto.optimizers.blame.from_runs import blame_from_runs
from opto.optimizers.blame.recorded_uses import RecordedUse
from opto.trace import node
from opto.trainer.gate import alignment, closeness, faults
from opto.trainer.rollouts import Rollout


def run(score: float, feedback: str = "", **used: object) -> Rollout:
    """A rollout in which each part got the input `score` and made the given value; "!" stands for an error."""
    uses = {
        name: (RecordedUse((f"{score}{feedback}{value}",), repr(value), value in ("!", None), level),)
        for level, (name, value) in enumerate(used.items(), 1)
    }
    return Rollout(object(), node(0), score, feedback, uses)


def test_faults_count_errors_nothing_and_constants() -> None:
    assert faults([run(0, "p", a="!"), run(0, "q", a="2")]) == 1
    assert faults([run(0, f"{i}", a="same") for i in range(3)]) == 3
    assert faults([run(0, f"{i}", a=i) for i in range(3)]) == 0


def test_alignment_is_high_where_equal_values_hear_equal_feedback() -> None:
    def runs(*values: str) -> list[Rollout]:
        said = ["expected Hello Ann", "expected Hello Bob", "expected Hola Eva", "expected Hola Leo"]
        return [run(0, feedback, a=value) for feedback, value in zip(said, values, strict=True)]

    right = alignment(runs("en", "en", "es", "es"), "a", 1)
    wrong = alignment(runs("en", "es", "en", "es"), "a", 1)
    assert right > 0.1 > wrong
    assert alignment(runs("x", "x", "x", "x"), "a", 1) == 0
    assert alignment(runs("1", "2", "3", "4"), "a", 1) == 0


def test_parts_that_only_give_back_their_input_do_no_work() -> None:
    echo = [Rollout(i, node(0), 0, "", {"a": (RecordedUse((f"'{i}'",), f"'{i}'", False, 1, True),)}) for i in "xy"]
    assert faults(echo) == 2
    assert blame_from_runs(echo, {}, 1)["a"] > 1.4


def test_closeness_counts_the_words_that_outputs_share_with_feedback() -> None:
    near, far = (Rollout(0, node(text), 0, "expected Hello Sam", {}) for text in ("Hello, Sam Hill", "Hola"))
    assert closeness([near], 1) > closeness([near, far], 1) > closeness([far], 1) == 0
    assert closeness([], 1) == 1


def test_closeness_tells_the_right_order_from_a_wrong_one() -> None:
    near, far = (Rollout(0, node(value), 0, "expected [1, 9, 2, 8]", {}) for value in ([1, 9, 8, 2], [8, 1, 2, 9]))
    assert closeness([near], 1) > closeness([far], 1) > 0
