"""The experiments in bench/ run, and the optimizers do there what the tables promise; small sizes."""

from __future__ import annotations

import logging
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opto.optimizers import OptoPrime
from opto.trace import node

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import battleship  # noqa: E402
import blame  # noqa: E402
import calls  # noqa: E402
import exact_gradients  # noqa: E402
import format_repair  # noqa: E402
import numerical  # noqa: E402
import oracles  # noqa: E402
import runtime_feedback  # noqa: E402
import step_path  # noqa: E402
import traffic_world  # noqa: E402


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A rule that is content changes nothing, which the optimizer would warn of."""
    log = logging.getLogger("opto")
    before = log.level
    log.setLevel(logging.ERROR)
    yield
    log.setLevel(before)


def test_an_oracle_reads_the_whole_prompt() -> None:
    seen: list[oracles.Seen] = []
    values = iter([2.5, "a\n# Reply\nb"])

    def rule(prompt: oracles.Seen) -> dict[str, object]:
        seen.append(prompt)
        return {list(prompt.parts)[len(seen) % 2]: next(values)}

    x, text = node(1.5, name="x", trainable=True), node("a text\nof two lines", name="text", trainable=True)
    oracle = oracles.by_rule(rule)
    optimizer = OptoPrime([x, text], llm=oracle, memory_size=2)
    for feedback in ("larger", "smaller"):
        y = (x + 1) * text.len()  # type: ignore[attr-defined]
        optimizer.zero_feedback()
        optimizer.backward(y, feedback)
        optimizer.step()
    assert [prompt.feedback for prompt in seen] == ["larger", "smaller"]
    assert dict(seen[0].parts) == {"x0": "1.5", "text0": "a text\nof two lines"}
    assert [(line.name, line.function, line.result) for line in seen[0].lines] == [
        ("add0", "add", "2.5"),
        ("len_0", "len_", "19"),
        ("multiply0", "multiply", "47.5"),
    ]
    assert oracle.calls == 2 and oracle.tokens > oracle.prompt_tokens > 300 and oracle.seconds > 1


def test_numbers_are_found_sooner_with_the_graph() -> None:
    found = numerical.measure(15, 8)
    assert statistics.fmean(run[-1] for run in found["graph"]) <= 0.1
    later = {arm: statistics.fmean(error for run in runs for error in run[5:]) for arm, runs in found.items()}
    assert later["graph"] < 0.8 * later["masked graph"]


def test_the_masked_arm_sees_no_calls() -> None:
    task = numerical.draw_task(numerical.random.Random(1))
    seen: list[oracles.Seen] = []

    def rule(prompt: oracles.Seen) -> dict[str, float]:
        seen.append(prompt)
        return numerical.rule(prompt)

    for arm in (numerical.ARMS["graph"], numerical.Masked()):
        x = node(task.start, name="x", trainable=True)
        optimizer = OptoPrime([x], llm=oracles.by_rule(rule), reply=arm)
        optimizer.backward(task.run(x), numerical.LARGER)
        optimizer.step()
    assert seen[0].lines and not seen[1].lines and set(seen[0].parts) == {"x0"} and set(seen[1].parts) == {"x1"}


def test_a_trained_player_hits_more() -> None:
    found = battleship.measure(3, 20)
    share = {arm: statistics.fmean(run[-1] for run in runs) for arm, runs in found.items()}
    assert share["OptoPrime"] > share["enumeration, row by row"] + 0.1


def test_behind_paid_stages_the_other_runs_tell_who_is_at_fault() -> None:
    with_runs, without = (
        [blame.first_edit(blame.Chain, seed, blame=True, others=others) for seed in range(9)]
        for others in (True, False)
    )
    assert sum(hit for hit, _ in with_runs) >= 7 > sum(hit for hit, _ in without)
    assert all(paid == 0 for _, paid in with_runs)


def test_the_table_of_the_crossing_is_filled_where_it_matters_first() -> None:
    scores = {(ew, ns): float(ew + ns) for ew in range(15, 91, 5) for ns in range(15, 91, 5)}
    del scores[90, 90]
    order = list(traffic_world.missing(scores))
    assert order[0] == (90, 90), "the grid comes first"
    rest = order[1:]
    assert len(set(rest)) == 76 * 76 - len(scores) and rest[0] == (15, 16) and max(rest[:24]) <= (20, 20)
    known = traffic_world.read_table()
    assert known[23, 15] == min(known.values()) and 35.4 < known[23, 15] < 35.5


@pytest.mark.parametrize("task", format_repair.TASKS)
def test_answers_are_repaired_by_template_and_code(task: str) -> None:
    before, after = format_repair.train(task, "both", 30)
    _, code = format_repair.train(task, "code", 30)
    assert before < 0.3 < code < after and after > 0.7


def test_optoprime_asks_once_and_textual_gradients_once_an_edge() -> None:
    for (stages, questions), costs in calls.measure().items():
        assert costs["OptoPrime"].calls == costs["OptoPrimeV1"].calls == 1
        assert costs["TextGrad"].calls >= stages + questions * (2 * stages - 1)
        assert costs["OptoPrime"].prompt_tokens < min(costs[arm].prompt_tokens for arm in ("OptoPrimeV1", "TextGrad"))


def test_lean_prompts_cost_three_fifths_of_the_classic_format_at_most() -> None:
    assert all(lean <= 0.6 * classic and lean <= 8_000 for _, lean, classic in calls.sizes((12, 100, 1_000)))


def test_descent_is_exact() -> None:
    rows = exact_gradients.measure(20)
    assert rows[0][:2] == ["bend", "1.5, 1.125, 0.8125"]
    assert all(isinstance(row[2], float) and row[2] < 1e-12 for row in rows)


def test_feedback_on_runtime_leads_to_fast_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_feedback, "FAST", 0.0)  # whatever the machine: always too slow
    tried = runtime_feedback.measure((8, 60), most=4)
    assert "Wrong" in tried[0].feedback and all("too slow" in version.feedback for version in tried[1:])
    assert ["bisect" in version.code for version in tried] == [False, False, False, True]


def test_the_way_of_a_step_stays_short() -> None:
    functions = step_path.step_path(OptoPrime).functions
    assert len(functions) <= 126 and len({file for file, _ in functions}) <= 29
