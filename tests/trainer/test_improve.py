"""The loop: candidates are tried behind the gate, parameters end at the best values found, and events tell."""

from __future__ import annotations

import random
import socketserver
import threading
import time
from typing import Any

import pytest

from opto.errors import ExecutionError, OptimizerError, RunTimeoutError
from opto.events import Event, listen
from opto.llm import Budget, OpenAICompatible, ScriptedLLM
from opto.llm.fakes import DummyLLM
from opto.llm.profile import ModelProfile
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.problem.uses import Focus
from opto.trace import bundle, node
from opto.trainer.improve import Improvement, TrainingPlan, improve
from opto.trainer.rollouts import Judgement, roll_out, time_limit
from opto.trainer.training_events import CandidateTried, ImproveEnded, RolloutDone, StepBegun, StepEnded


class Scripted(Optimizer):
    """Proposes the given values, one proposal after the other."""

    def __init__(self, parameters: list[Any], script: list[dict[str, Any]]) -> None:
        super().__init__(parameters)
        self.script = iter(script)
        self.feedback: list[list[Any]] = []

    def _step(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        self.feedback.append(
            [graph.user_feedback for p in self.parameters for graphs in p.feedback.values() for graph in graphs]
        )
        by_name = {p.name.split(":")[0]: p for p in self.parameters}
        return {by_name[name]: value for name, value in next(self.script, {}).items()}


class Focused(Scripted):
    """The same, and remembers what it was told to change."""

    def __init__(self, parameters: list[Any], script: list[dict[str, Any]]) -> None:
        super().__init__(parameters, script)
        self.seen: list[Focus] = []

    def _step(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        assert self.focus is not None
        self.seen.append(self.focus)
        return super()._step(*args, **kwargs)


def compare(target: int, value: Any) -> Judgement:
    if value == target:
        return Judgement(1, "right")
    return Judgement(0, "too high" if value > target else "too low")


def one_number(*tries: int, optimizer: type[Scripted] = Scripted, **plan: Any) -> tuple[Improvement, Any, Scripted]:
    x = node(1, name="x", trainable=True)
    subject = optimizer([x], [{"x": value} for value in tries])
    done = improve(lambda target: x + 0, subject, [4], compare, plan=TrainingPlan(candidates=1, **plan))
    return done, x, subject


def test_it_stops_when_everything_is_solved() -> None:
    done, x, _ = one_number(9, 2, 4, 7)
    assert (done.reason, len(done.steps), x.data) == ("solved", 3, 4)
    assert done.solved and (done.before, done.after) == (0, 1)
    assert [bool(record.accepted) for record in done.steps] == [False, False, True]


def test_refused_values_are_put_back_and_remembered_with_their_feedback() -> None:
    done, _, optimizer = one_number(9, 2, 4, optimizer=Focused)
    assert isinstance(optimizer, Focused) and done.solved
    last = optimizer.seen[-1]
    assert last.part == "x0"
    assert last.tried == ((9, "too high"), (2, "too low"))
    assert done.steps[0].candidates[0].verdict.reason == "no better"


def test_what_was_tried_is_not_tried_again() -> None:
    done, _, _ = one_number(9, 9, steps=2)
    assert [c.verdict.reason for r in done.steps for c in r.candidates] == ["no better", "it was tried before"]


def test_it_ends_out_of_steps_and_out_of_time_and_with_nothing_to_change() -> None:
    assert one_number(9, 8, 7, steps=2)[0].reason == "out of steps"
    x = node(1, trainable=True)
    ticks = iter(range(100))
    done = improve(
        lambda _: x + 0, Scripted([x], []), [4], compare, plan=TrainingPlan(seconds=3), clock=lambda: float(next(ticks))
    )
    assert done.reason == "out of time"
    unused = improve(lambda _: node(1) + 0, Scripted([x], []), [4], compare)
    assert (unused.reason, unused.steps) == ("nothing to change", ())


def test_only_failing_runs_and_one_success_send_feedback() -> None:
    x = node(1, name="x", trainable=True)
    optimizer = Scripted([x], [])
    improve(
        lambda n: x * n,
        optimizer,
        [0, 4, 5],
        lambda n, v: (v == 0, f"for {n}"),
        plan=TrainingPlan(steps=1, candidates=1),
    )
    assert sorted(optimizer.feedback[0]) == ["for 0", "for 4", "for 5"]


def test_a_candidate_that_breaks_what_works_is_refused() -> None:
    x = node(1, name="x", trainable=True)
    judge = lambda n, v: (1, "ok") if v in (1, 12) else (0, "wrong")  # noqa: E731
    done = improve(lambda n: x * n, Scripted([x], [{"x": 6}]), [1, 2], judge, plan=TrainingPlan(steps=1, candidates=1))
    assert x.data == 1
    assert done.steps[0].candidates[0].verdict.reason == "no better"


def test_two_parts_that_are_right_only_together_are_found_though_each_was_refused_alone() -> None:
    x, y = node(1, name="x", trainable=True), node(1, name="y", trainable=True)
    judge = lambda n, v: (1, "ok") if v == 35 else (0, "wrong")  # noqa: E731
    script = [{"x": 5}, {"x": 6}, {"y": 3}, {"y": 7}]
    done = improve(lambda n: x * y, Scripted([x, y], script), [0], judge, plan=TrainingPlan(steps=2, candidates=2))
    assert (x.data, y.data, done.reason) == (5, 7, "solved")
    assert done.steps[1].accepted[0].values == {"x0": 5, "y0": 7}


def test_at_most_so_many_pairs_are_tried_a_step() -> None:
    x, y = node(1, name="x", trainable=True), node(1, name="y", trainable=True)
    optimizer = Scripted([x, y], [{"x": n} for n in (2, 3, 4)] + [{"y": n} for n in (2, 3, 4)])
    judge = lambda n, v: (0, "wrong")  # noqa: E731
    done = improve(lambda n: x * y, optimizer, [0], judge, plan=TrainingPlan(steps=2, candidates=3, pairs=4))
    assert [len(c.values) for c in done.steps[1].candidates] == [1, 1, 1, 2, 2, 2, 2]


def test_candidates_behind_the_best_so_far_are_dropped_after_three_examples() -> None:
    x = node(0, name="x", trainable=True)
    judge = lambda n, v: (v / 10, "more")  # noqa: E731
    plan = TrainingPlan(steps=1, candidates=3)
    done = improve(lambda n: x + 0, Scripted([x], [{"x": 5}, {"x": 4}, {"x": 6}]), range(8), judge, plan=plan)
    reasons = [c.verdict.reason for c in done.steps[0].candidates][:3]  # second chances follow
    assert reasons == ["a greater score", "behind a better candidate", "a greater score"]
    assert x.data == 6


def test_examples_join_in_batches_as_those_in_use_are_solved() -> None:
    x = node(1, name="x", trainable=True)
    seen: list[Event] = []
    judge = lambda n, v: (float(v >= n), "too low")  # noqa: E731
    optimizer = Scripted([x], [{"x": 2}, {"x": 3}])
    with listen(seen.append):
        done = improve(lambda n: x + 0, optimizer, [2, 1, 1, 3, 2], judge, plan=TrainingPlan(candidates=1, batch=2))
    assert done.solved and x.data == 3 and len(done.rollouts) == 5
    first = [(e.step, e.example) for e in seen if isinstance(e, RolloutDone) and e.candidate == 0]
    assert first == [
        (0, 2),
        (0, 1),
        (1, 1),
        (0, 1),
        (1, 3),
        (0, 3),
        (2, 2),
        (0, 2),
    ]  # each joins once, and runs as at the start
    assert [record.score for record in done.steps] == [1, 1]
    assert (done.before, done.after) == (0.4, 1)  # of the five that it ended with


def test_the_gain_is_measured_on_the_same_examples() -> None:
    x = node(1, name="x", trainable=True)
    judge = lambda n, v: (float(v >= n), "too low")  # noqa: E731
    examples = [2] + [1] * 9  # nine of ten are right from the start
    done = improve(
        lambda n: x + 0, Scripted([x], [{"x": 2}]), examples, judge, plan=TrainingPlan(candidates=1, batch=1)
    )
    assert done.solved and (done.before, done.after) == (0.9, 1.0)


def test_trials_leave_no_trace_in_a_parameter() -> None:
    x = node(1, name="x", trainable=True)
    x.change(2)
    improve(lambda n: x + 0, Scripted([x], [{"x": 9}]), [4], compare, plan=TrainingPlan(steps=1, candidates=1))
    assert x.data == 2
    assert x.rollback() and x.data == 1, "what is taken back is the last change, not the refused value"

    @bundle(trainable=True)
    def same(n: int) -> int:
        """The same"""
        return n

    code = same.parameter
    own, refused = code.data, "def same(n):\n    return n + 1"
    plan = TrainingPlan(steps=1, candidates=1)
    improve(same, Scripted([code], [{code.name.split(":")[0]: refused}]), [4], lambda n, v: (0, "no"), plan=plan)
    assert code.data == own and type(code.data) is str and not code.rollback()


def test_the_focus_is_taken_back_also_after_an_error() -> None:
    _, _, optimizer = one_number(9, 4, optimizer=Focused)
    assert optimizer.focus is None

    class Broken(Focused):
        def _step(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
            raise RuntimeError("no proposal")

    x = node(1, name="x", trainable=True)
    broken = Broken([x], [])
    with pytest.raises(RuntimeError, match="no proposal"):
        improve(lambda n: x + 0, broken, [4], compare)
    assert broken.focus is None


def test_every_second_visit_of_a_part_that_is_no_number_starts_afresh() -> None:
    x, text = node(1, name="x", trainable=True), node("a", name="text", trainable=True)
    lengths = lambda n, v: (min(v, n) / n, "longer")  # noqa: E731
    optimizer = Focused([text], [{"text": "ab"}, {"text": "abc"}, {"text": "b"}, {"text": "c"}, {"text": "d"}])
    plan = TrainingPlan(candidates=1, texts=1, steps=5)
    improve(lambda n: text.len(), optimizer, [9], lengths, plan=plan)
    assert text.data == "abc"
    assert [focus.start for focus in optimizer.seen] == [None, "a", "a", None, "a"]
    numbers = Focused([x], [{"x": value} for value in (9, 8, 7)])
    improve(lambda n: x + 0, numbers, [4], compare, plan=TrainingPlan(candidates=1, steps=3))
    assert [focus.start for focus in numbers.seen] == [None] * 3, "earlier numbers say where better ones lie"


def test_a_text_is_told_from_code_by_what_it_is_not_by_its_name() -> None:
    text = node("kind", name="my__code_style", trainable=True)
    optimizer = Scripted([text], [{"my__code_style": word} for word in "abcdefgh"])
    plan = TrainingPlan(steps=1, candidates=2, texts=5, pairs=0)
    done = improve(lambda n: text + "", optimizer, [0], lambda n, v: (0, "no"), plan=plan)
    assert len(done.steps[0].candidates) == 5, "texts are short: more are drawn"


def test_what_was_refused_gets_another_chance_when_examples_join() -> None:
    x = node(1, name="x", trainable=True)
    judge = lambda n, v: (float(v == n or v == 9), "no")  # noqa: E731
    optimizer = Scripted([x], [{"x": 3}, {"x": 2}, {"x": 3}])
    done = improve(lambda n: x + 0, optimizer, [2, 3], judge, plan=TrainingPlan(candidates=1, batch=1, steps=3))
    reasons = [c.verdict.reason for record in done.steps for c in record.candidates]
    assert "it was tried before" not in reasons


def test_code_that_raises_is_repaired_from_its_error() -> None:
    @bundle(trainable=True)
    def divide(a: int) -> float:
        """Divides"""
        return a / 0

    seen: list[Event] = []
    new = "def divide(a):\n    return a / 2"
    optimizer = Focused([divide.parameter], [{"__code0_copy": new}, {"__code": new}])
    optimizer.script = iter([{divide.parameter.name.split(":")[0]: new}])
    with listen(seen.append):
        done = improve(divide, optimizer, [4], lambda n, v: (v == 2, "wanted 2"))
    assert done.solved and divide.parameter.data == new
    first = next(event for event in seen if isinstance(event, RolloutDone))
    assert "division by zero" in first.feedback and first.score == 0
    assert next(e for e in seen if isinstance(e, StepBegun)).part == divide.parameter.py_name
    assert [type(e) for e in seen[-2:]] == [StepEnded, ImproveEnded]
    assert next(e for e in seen if isinstance(e, CandidateTried)).better


def test_drawing_stops_early_when_a_candidate_solves_everything() -> None:
    x = node(1, name="x", trainable=True)
    optimizer = Scripted([x], [{"x": 4}, {"x": 5}])
    done = improve(lambda _: x + 0, optimizer, [4], compare, plan=TrainingPlan(candidates=4))
    assert len(done.steps[0].candidates) == 1


def test_an_agent_that_returns_no_node_is_told_so() -> None:
    x = node(1, trainable=True)
    with pytest.raises(OptimizerError, match="returned a int, not a node"):
        improve(lambda n: 3, Scripted([x], []), [4], compare)


@pytest.mark.parametrize("said", [False, 0.5, "no", (1, "a", "b"), (None, "bad"), None])
def test_a_judge_must_return_score_and_feedback(said: Any) -> None:
    with pytest.raises(OptimizerError, match=r"A judge returns \(score, feedback\), not "):
        improve(lambda n: node(n), Scripted([node(1, trainable=True)], []), [4], lambda n, value: said)


@pytest.mark.parametrize("kind", [OptoPrime, OptoPrimeV1])
def test_it_works_with_json_replies(kind: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM(['{"reasoning": "", "answer": "", "suggestion": {"x0": "4"}}'])
    assert improve(lambda _: x + 0, kind([x], llm=llm), [4], compare, plan=TrainingPlan(candidates=1)).solved


def test_it_works_with_tagged_replies() -> None:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM(["<reasoning>r</reasoning><variable><name>x0</name><value>4</value></variable>"])
    assert improve(lambda _: x + 0, OptoPrimeV2([x], llm=llm), [4], compare, plan=TrainingPlan(candidates=1)).solved


class Small(ScriptedLLM):
    """A scripted model that says it is small and continues what was begun."""

    profile = ModelProfile("small", "prefill", 4096, small=True)


def test_a_small_model_is_asked_about_one_part_at_a_time_and_history_reaches_it() -> None:
    x = node(50, name="x", trainable=True)
    llm = Small([" 90", "70", "75\n"])
    done = improve(
        lambda _: x + 0, OptoPrime([x], llm=llm), [75], compare, plan=TrainingPlan(candidates=1), rng=random.Random(1)
    )
    assert done.solved and x.data == 75
    prompt = llm.calls[-1]["messages"][1]["content"]
    assert "turns between 70 and 90" in prompt and "50: too low" in prompt
    assert llm.calls[-1]["messages"][-1] == {"role": "assistant", "content": "x0 = "}
    assert len({call["seed"] for call in llm.calls}) == 3


def test_a_budget_that_is_used_up_ends_training_with_what_was_found() -> None:
    x = node(50, name="x", trainable=True)
    model = Budget(calls=3).wrap(Small([" 90", "70", "60", "75\n"]))
    judge = lambda target, v: (1 - abs(v - target) / 100, "closer")  # noqa: E731
    done = improve(lambda _: x + 0, OptoPrime([x], llm=model), [75], judge, plan=TrainingPlan(candidates=1))
    assert (done.reason, x.data) == ("out of budget", 70)
    assert len(done.steps) == 3 and done.after == 0.95


def nearness(target: int, value: float) -> Judgement:
    return Judgement(1 - abs(value - target) / 100, "closer")


def test_the_best_candidate_before_the_budget_was_used_up_stays() -> None:
    x = node(50, name="x", trainable=True)
    model = Budget(calls=2).wrap(ScriptedLLM([f'{{"suggestion": {{"x0": {value}}}}}' for value in (70, 60, 75)]))
    done = improve(lambda _: x + 0, OptoPrime([x], llm=model), [75], nearness, plan=TrainingPlan(candidates=3))
    assert (done.reason, x.data, done.after) == ("out of budget", 70, 0.95)
    assert len(done.steps) == 1 and done.calls == 2 and len(done.steps[0].candidates) == 2


def test_a_budget_that_the_agent_uses_up_on_fresh_examples_ends_training_too() -> None:
    x = node(1, name="x", trainable=True)
    model = Budget(calls=3).wrap(ScriptedLLM(["fine"] * 9))

    def agent(_: int) -> Any:
        model([{"role": "user", "content": "?"}])
        return x + 0

    done = improve(agent, Scripted([x], [{"x": 4}]), [4, 4, 4], compare, plan=TrainingPlan(candidates=1, batch=1))
    assert (done.reason, done.solved, x.data) == ("out of budget", False, 4)


def test_a_budget_that_ends_in_the_first_rollouts_ends_training() -> None:
    x = node(1, name="x", trainable=True)
    model = Budget(calls=2).wrap(ScriptedLLM(["fine"] * 9))

    def agent(_: int) -> Any:
        model([{"role": "user", "content": "?"}])
        return x + 0

    seen: list[Event] = []
    with listen(seen.append):
        done = improve(agent, Scripted([x], []), [1, 4, 4], compare)
    assert (done.reason, done.before, done.after, done.steps, len(done.rollouts)) == ("out of budget", 0.5, 0.5, (), 2)
    assert isinstance(seen[-1], ImproveEnded)
    none = improve(agent, Scripted([x], []), [4], compare)
    assert (none.reason, none.before, none.after) == ("out of budget", 0, 0)


def test_time_that_is_up_ends_a_step_on_its_way() -> None:
    x = node(50, name="x", trainable=True)
    now = [0.0]

    def model(messages: Any, **options: Any) -> str:
        now[0] += 10
        return f'{{"suggestion": {{"x0": {50 + now[0]}}}}}'

    optimizer = OptoPrime([x], llm=DummyLLM(model))
    plan = TrainingPlan(candidates=9, seconds=25)
    done = improve(lambda _: x + 0, optimizer, [75], nearness, plan=plan, clock=lambda: now[0])
    assert (done.reason, done.seconds, done.calls, x.data) == ("out of time", 30, 3, 70)


@pytest.mark.parametrize(("said", "heard"), [((1, None), ""), ((0.5, {"a": 1}), "{'a': 1}"), ((True, "good"), "good")])
def test_feedback_is_made_words(said: Any, heard: str) -> None:
    rollout = roll_out(lambda _: node(1), 1, lambda *_: said)
    assert (rollout.score, rollout.feedback) == (said[0], heard)


@pytest.mark.parametrize("senseless", [{"temperatures": ()}, {"candidates": 0}])
def test_a_plan_that_draws_nothing_is_refused(senseless: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        TrainingPlan(**senseless)


def test_without_examples_there_is_nothing_to_solve() -> None:
    with pytest.raises(ValueError, match="examples is empty"):
        improve(lambda n: node(n), Scripted([node(1, trainable=True)], []), [], compare)


def test_a_run_that_waits_too_long_for_a_server_says_so_itself() -> None:
    class Waiting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            released.wait(10)

    released = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Waiting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        llm = OpenAICompatible(f"http://127.0.0.1:{server.server_address[1]}/v1", "m", timeout=5)
        with pytest.raises(RunTimeoutError, match="longer than"), time_limit(0.6):  # a busy machine connects first
            llm([{"role": "user", "content": "?"}])
        released.set()
        server.shutdown()


def test_code_that_eats_its_input_spoils_no_example() -> None:
    @bundle(trainable=True)
    def smallest(numbers: list[int]) -> int:
        """The smallest"""
        numbers.sort()
        return numbers.pop()

    example, lock = [3, 1, 2], threading.Lock()  # a lock cannot be copied
    judge = lambda numbers, value: Judgement(float(value == min(numbers)), "no")  # noqa: E731
    assert roll_out(smallest, example, judge).score == 0
    assert example == [3, 1, 2]
    assert roll_out(lambda held: node(held is lock), lock, lambda _, same: Judgement(float(same), "")).score == 1


def test_runs_that_never_end_are_ended() -> None:
    @bundle()
    def forever(n: int) -> int:
        while True:
            n += 1

    rollout = roll_out(forever, 1, compare, seconds=0.05)
    assert rollout.failed and "longer than 0.05 seconds" in rollout.feedback

    def careful(n: int) -> Any:
        try:
            return forever(n)
        except ExecutionError:
            end = time.perf_counter() + 0.1  # whoever handles it has time to do so
            while time.perf_counter() < end:
                pass
            return node(0)

    assert roll_out(careful, 1, compare, seconds=0.05).value == 0
    with time_limit(0.01), time_limit(0):
        pass
