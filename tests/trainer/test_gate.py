"""The gate keeps what does better, and only that."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from opto.errors import SandboxTimeoutError
from opto.trace import bundle, node
from opto.trainer.gate import Candidate, Standing, Verdict, best_of, judge_candidate, standing
from opto.trainer.rollouts import Judgement, Rollout, roll_out

scores = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=6)


def rollouts(values: list[float]) -> list[Rollout]:
    return [Rollout(i, node(0), score, "", {}) for i, score in enumerate(values)]


@given(scores, st.data())
def test_a_candidate_passes_if_and_only_if_its_total_is_greater(present: list[float], data: st.DataObject) -> None:
    n = len(present)
    fresh = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n))
    ran: list[int] = []

    def run(example: int) -> Rollout:
        ran.append(example)
        return rollouts(fresh)[example]

    verdict = judge_candidate(rollouts(present), run)
    if verdict.better:
        assert sum(fresh) > sum(present)
        assert [r.example for r in verdict.rollouts] == list(range(n))
    else:
        failing = [i for i in range(n) if present[i] < 1]
        no_gain = sum(fresh[i] for i in failing) <= sum(present[i] for i in failing)
        assert no_gain or sum(fresh) <= sum(present)
    assert len(ran) == len(set(ran))


def test_a_hopeless_candidate_never_runs_on_what_already_works() -> None:
    ran: list[int] = []

    def run(example: int) -> Rollout:
        ran.append(example)
        return Rollout(example, node(0), 0, "", {})

    verdict = judge_candidate(rollouts([1, 0, 1]), run)
    assert ran == [1]
    assert verdict.reason == "no better on the failing examples"
    assert not verdict.better and verdict.rollouts == ()


def test_a_candidate_that_does_not_end_is_dropped_at_its_second_such_run() -> None:
    ran: list[int] = []

    def run(example: int) -> Rollout:
        ran.append(example)
        return Rollout(example, node(0), 0, "", {}, failed=True, endless=example != 1)

    verdict = judge_candidate(rollouts([0] * 6), run)
    assert ran == [0, 1, 2]
    assert verdict.reason == "2 of its first 3 runs did not end in time"


def test_a_run_out_of_time_is_told_from_other_failures() -> None:
    def agent(example: Any) -> Any:
        @bundle()
        def inner(x: Any) -> Any:
            raise SandboxTimeoutError("too long") if x else ValueError("no")

        @bundle()
        def outer(x: Any) -> Any:
            return inner(x)

        return outer(example)

    def judge(example: Any, value: Any) -> Judgement:
        return Judgement(0, "")

    assert [roll_out(agent, example, judge).endless for example in (0, 1)] == [False, True]


def test_clearly_more_promise_passes_at_an_equal_score_and_a_little_does_not() -> None:
    assert Standing(1, 0.5).beats(Standing(1, 0.0))
    assert not Standing(1, 0.05).beats(Standing(1, 0.0))
    assert not Standing(1, 0.9).beats(Standing(2, 0.0))
    assert Standing(2, -3.0).beats(Standing(1, 1.0))


def test_of_equal_candidates_the_shorter_is_kept() -> None:
    long, short = (Candidate({"a": text}, Verdict(True, "", Standing(2, 0))) for text in ("a long value", "short"))
    worse = Candidate({"a": "s"}, Verdict(True, "", Standing(1, 0)))
    refused = Candidate({"a": "r"}, Verdict(False, "", Standing(3, 0)))
    assert best_of([long, short, worse, refused]) is short
    assert best_of([refused]) is None


def test_standing_adds_up_scores() -> None:
    assert standing(rollouts([0.1, 0.2])).score == 0.3


def test_a_score_that_is_no_number_counts_as_nothing() -> None:
    run = roll_out(lambda example: node(example) + 0, 1, lambda example, value: Judgement(float("nan"), "?"))
    assert run.score == 0.0 and not run.failed
    assert judge_candidate([run], lambda example: run).rollouts == (run,)
