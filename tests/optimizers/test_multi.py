"""Drawing several replies and choosing one; the order of the results is fixed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from opto.llm.base import Response
from opto.llm.fakes import DummyLLM, ScriptedLLM
from opto.optimizers import OptoPrimeMulti
from opto.optimizers.sampling.medoid import majority
from opto.optimizers.sampling.techniques import read_experts, temperatures_between
from opto.trace.nodes import GRAPH, node
from opto.utils import llm as models


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    GRAPH.clear()


def reply(value: Any) -> str:
    return json.dumps({"reasoning": "because", "suggestion": {"x0": value}})


class Recorder:
    """Answers by a function of the request; keeps the requests."""

    def __init__(self, answer: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self.answer = answer

    def __call__(self, messages: Any, **options: Any) -> Any:
        self.calls.append({"messages": messages, **options})
        said = self.answer({"messages": messages, **options}, len(self.calls))
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Response) else Response.of(said)


def by_temperature(request: dict[str, Any], _: int) -> str:
    if "The answers:" in request["messages"][1]["content"]:
        return reply(99)
    return reply(round(request["temperature"] * 10))


def make(llm: Any, **options: Any) -> tuple[Any, Any]:
    x = node(1, name="x", trainable=True)
    optimizer = OptoPrimeMulti([x], llm=llm, **options)
    optimizer.backward(x + 1, "more")
    return optimizer, x


@pytest.mark.parametrize(
    ("selection", "value", "calls"),
    [("best_of_n", 99, 4), ("BestOfN", 99, 4), ("moa", 99, 4), ("mixture_of_agents", 99, 4), ("last_of_n", 0, 3)],
)
def test_three_temperatures_then_a_choice(selection: str, value: int, calls: int) -> None:
    llm = Recorder(by_temperature)
    optimizer, x = make(llm, selection_technique=selection)
    assert optimizer.step() == {x: value} and x.data == value
    assert optimizer.candidates == [reply(10), reply(5), reply(0)]
    assert sorted(c["temperature"] for c in llm.calls[:3]) == [0.0, 0.5, 1.0]
    assert len(llm.calls) == calls == optimizer.spent.calls and llm.calls[-1]["n"] == 1
    assert calls == 3 or llm.calls[3]["temperature"] == 0.0
    assert optimizer.log[0]["response"] == optimizer.candidates
    assert optimizer.log[0]["generation_technique"] == "temperature_variation"
    assert optimizer.log[0]["llm_profiles"] is None and json.dumps(optimizer.log)


def test_call_llm_forms() -> None:
    class Client:
        def create(self, **config: Any) -> Response:
            return Response.of(*[f"{config['temperature']}"] * config["n"])

    optimizer, _ = make(Client())
    assert optimizer.call_llm("s", "u", num_responses=2, temperature=0.3) == ["0.3", "0.3"]
    assert optimizer.call_llm("s", "u", llm=DummyLLM(lambda messages, **_: messages[0]["content"])) == ["s"]
    assert optimizer.call_llm("s", "u", llm=ScriptedLLM([])) == []
    assert optimizer.call_llm("s", "u", llm=lambda *a, **k: object()) == []
    assert optimizer.call_llm("s", "u", llm=lambda *a, **k: Response(())) == []


def test_verbose_prints(capsys: pytest.CaptureFixture[str]) -> None:
    optimizer, _ = make(DummyLLM(lambda messages, **_: "said"))
    optimizer.call_llm("system", "user", verbose="output")
    optimizer.call_llm("system", "user", verbose=True)
    out = capsys.readouterr().out
    assert out.count("said") == 2 and out.count("Prompt") == 1


def generate(optimizer: Any, technique: str, **options: Any) -> list[str]:
    found: list[str] = optimizer.generate_candidates(None, "S", "U", generation_technique=technique, **options)
    return found


def test_later_prompts_quote_earlier_candidates() -> None:
    llm = Recorder(lambda request, turn: f"answer {turn}")
    optimizer, _ = make(llm)
    assert generate(optimizer, "Self_Refinement") == ["answer 1", "answer 2", "answer 3"]
    prompts = [c["messages"][1]["content"] for c in llm.calls]
    assert prompts[0] == "U" and "answer 1" in prompts[1] and "answer 2" in prompts[2] and "answer 1" not in prompts[2]
    assert {c["temperature"] for c in llm.calls} == {0.0}
    llm.calls.clear()
    assert len(generate(optimizer, "iterative_alternatives", temperature_min_max=[0.2, 0.9])) == 3
    last = llm.calls[-1]["messages"][1]["content"]
    assert "answer 1" in last and "answer 2" in last and {c["temperature"] for c in llm.calls} == {0.2}


def test_experts_given_asked_or_usual() -> None:
    llm = Recorder(lambda request, _: request["messages"][0]["content"].splitlines()[0])
    optimizer, _ = make(llm)
    found = generate(optimizer, "multi_experts", experts_list=["a cook", "a judge"])
    assert [text.split(".")[0] for text in found] == ["You are a cook", "You are a judge", "You are a cook"]
    assert {c["temperature"] for c in llm.calls} == {0.0}
    lost = Recorder(lambda request, turn: "no array" if turn == 1 else request["messages"][0]["content"])
    assert "simplest" in generate(make(lost)[0], "multi_experts", num_responses=1)[0]
    asked = Recorder(
        lambda request, turn: '["a poet", "a spy"]' if turn == 1 else request["messages"][0]["content"][:14]
    )
    assert generate(make(asked)[0], "multi_experts", num_responses=2) == ["You are a poet", "You are a spy."]
    assert read_experts('{"experts": ["x", 3]}') == ["x"] and read_experts("{}") == [] and read_experts("7") == []


def test_profiles_rotate_and_are_looked_up_at_call_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def get_llm(profile: str) -> Any:
        made.append(profile)
        if profile == "broken":
            raise ValueError("no such profile")
        return DummyLLM(lambda messages, **_: profile)

    monkeypatch.setattr(models.LLMFactory, "get_llm", get_llm)
    own = DummyLLM(lambda messages, **_: "own")
    optimizer, _ = make(own, llm_profiles=["a", "b", None, "broken"])
    assert optimizer.llm_weights == [1.0] * 4
    assert generate(optimizer, "multi_llm", num_responses=6) == ["a", "b", "own", "own", "a", "b"]
    assert made.count("a") == 1 and set(optimizer._llm_instances) == {"a", "b"}
    assert optimizer._get_llm_for_profile(None) is own
    plain, _ = make(own)
    assert plain.llm_weights is None and plain._get_llms_for_generation(2) == [own, own]
    assert generate(plain, "multi_llm") == ["own"] * 3  # no profiles: by temperature


def test_unknown_techniques_and_failed_calls() -> None:
    llm = Recorder(
        lambda request, _: ValueError("busy") if request["temperature"] == 0.5 else by_temperature(request, 0)
    )
    optimizer, x = make(llm, generation_technique="nonsense", selection_technique="last")
    assert optimizer.step() == {x: 0} and optimizer.candidates == [reply(10), reply(0)]
    dead, y = make(Recorder(lambda request, _: ValueError("down")), generation_technique="self_refinement")
    update = dead.step()
    assert update == {} and "every call" in update.reason and y.data == 1 and dead.selected_candidate == {}


def test_select_candidate_calls_what_tests_replace() -> None:
    optimizer, _ = make(ScriptedLLM([]))
    seen: list[Any] = []
    for name in ("_select_moa", "_select_bestofn", "_select_majority"):
        setattr(optimizer, name, lambda candidates, texts, summary, name=name: seen.append((name, texts, summary)))
    for technique in ("moa", "mixture_of_agents", "BEST_OF_N", "bestofn", "majority"):
        optimizer.select_candidate(["a", {"x": 1}], technique, "why")
    assert [name for name, *_ in seen] == ["_select_moa"] * 2 + ["_select_bestofn"] * 2 + ["_select_majority"]
    assert seen[0][1:] == (["a", '{"x": 1}'], "why")
    assert optimizer.select_candidate([]) == {} and optimizer.select_candidate(["a"]) == "a"
    assert optimizer.select_candidate(["a", "b"], "any") == "b"


def test_a_choice_that_fails_takes_the_last() -> None:
    optimizer, _ = make(ScriptedLLM([]))
    assert optimizer.select_candidate(["a", "b"], "moa") == "b"


def test_majority_takes_the_middle_of_the_biggest_group() -> None:
    texts = ["completely other words", reply("green please"), reply("green, please"), reply("green, pleas"), "zzz"]
    assert majority(texts) == 2 and majority(["one text"] * 4) == 3 and majority(["abc", "xyz"]) == 0
    optimizer, _ = make(ScriptedLLM([]))
    assert optimizer.select_candidate(texts, "majority") == texts[2]
    assert temperatures_between(1.0, 0.0, 1) == [1.0] and temperatures_between(0.9, 0.1, 2) == pytest.approx([0.9, 0.1])


def test_selectors_and_overrides_of_a_step() -> None:
    optimizer, x = make(Recorder(by_temperature), selector=lambda candidates: candidates[0])
    assert optimizer.step(bypassing=True, num_threads=3) == {x: 10} and optimizer.selected_candidate == reply(10)
    assert optimizer.step(bypassing=True, selector=lambda candidates: {"x:0": 42}) == {x: 42}
    update = optimizer.step(
        bypassing=True, num_responses=2, temperature_min_max=[0.2, 0.4], selector=lambda candidates: candidates[-1]
    )
    assert update == {x: 2} and optimizer.candidates == [reply(4), reply(2)] and optimizer.num_responses == 3


def test_a_selector_is_not_asked_to_choose_from_nothing() -> None:
    def down(messages: Any, **options: Any) -> str:
        raise ConnectionError("down")

    x = node(1, name="x", trainable=True)
    optimizer = OptoPrimeMulti([x], llm=DummyLLM(down), selector=lambda candidates: candidates[0])
    optimizer.backward(x + 1, "more")
    assert "every call of the model failed" in str(optimizer.step().reason)


def test_the_model_may_end_the_optimization() -> None:
    optimizer, _ = make(Recorder(lambda request, _: " TERMINATE\n"))
    assert optimizer.step() == {} and optimizer.log == []
    GRAPH.clear()
    optimizer, x = make(Recorder(lambda request, _: reply(3) + " or TERMINATE"), selection_technique="last")
    assert optimizer.step() == {x: 3}  # only a reply that is nothing else ends it
    x.trainable = False
    assert "trainable" in str(optimizer.step().reason)


def test_copies_and_files(tmp_path: Path) -> None:
    optimizer, x = make(Recorder(by_temperature), num_responses=5, temperature_min_max=[0.1, 0.2], llm_profiles=["a"])
    twin = copy.deepcopy(optimizer)
    assert twin.parameters == [x] and twin.num_responses == 5
    optimizer.save(tmp_path / "multi.json")
    other, y = make(Recorder(by_temperature))
    other.load(tmp_path / "multi.json")
    assert other.num_responses == 5 and other.temperature_min_max == [0.1, 0.2] and other.llm_profiles == ["a"]
    assert other.parameters == [y]


def test_a_trainer_draws_whole_steps() -> None:
    llm = Recorder(by_temperature)
    optimizer, x = make(llm, selection_technique="last")
    drawn = list(optimizer.propose_each(2, [0.3]))
    assert [dict(update) for update in drawn] == [{x: 0}, {x: 0}] and x.data == 1
    asked = [call["temperature"] for call in llm.calls]  # a step asks in parallel, in no order
    assert [sorted(asked[:3]), sorted(asked[3:])] == [[0.0, 0.5, 1.0]] * 2
