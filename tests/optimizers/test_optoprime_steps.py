"""Steps of the three OptoPrimes with scripted models: what is asked, believed, refused, told."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import opto.utils.llm
from opto import trace
from opto.errors import ExecutionError, LLMAuthError, LLMRequestError, LLMResponseError, LoadError
from opto.events import Event, listen
from opto.llm.base import Response, Usage
from opto.llm.fakes import DummyLLM, ScriptedLLM
from opto.llm.profile import ModelProfile
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.optimizers.formats.lean import JsonReplies, Prompt
from opto.optimizers.optimizer import Optimizer, PartRefused, ReplyAsked, StepDone
from opto.optimizers.problem.uses import likely_parts
from opto.trace.bundle import bundle
from opto.trace.nodes import GRAPH, ParameterNode, node
from opto.trace.projections import Projection

ALL = (OptoPrime, OptoPrimeV1, OptoPrimeV2)
JSON_REPLY = '{"reasoning": "r", "suggestion": {"x0": "3"}}'
TAG_REPLY = "<reasoning>r</reasoning><variable><name>x0</name><value>3</value></variable>"


def with_profile(llm: Any, **facts: Any) -> Any:
    llm.profile = ModelProfile("test", **facts)
    return llm


def posed(cls: Any, *replies: Any, **options: Any) -> tuple[Any, ParameterNode[Any], ScriptedLLM]:
    """An optimizer of x0 = 1.0 with feedback on x0 + 1."""
    x = node(1.0, name="x", trainable=True, description="keep it small")
    llm = ScriptedLLM(replies)
    optimizer = cls([x], llm=llm, **options)
    optimizer.backward(x + 1, "too low")
    return optimizer, x, llm


def user_text(llm: ScriptedLLM, call: int = -1) -> str:
    return str(llm.calls[call]["messages"][1]["content"])


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    "reply",
    [
        JSON_REPLY,
        TAG_REPLY,
        f"Sure:\n```json\n{JSON_REPLY}\n```",
        "{'suggestion': {'x0': 3}}",
        '{"x0": 3\n',
        '{"changes": [{"name": "x0", "value": "3"}]}',
        "x0 = 3",
        '{"suggestion": {"x:0": 3}}',
    ],
)
def test_all_understand_every_known_shape(cls: Any, reply: str) -> None:
    optimizer, x, _ = posed(cls, reply)
    update = optimizer.step()
    assert update == {x: 3.0} and update.reason is None and x.data == 3.0 and type(x.data) is float


class Clip(Projection):
    def project(self, x: Any) -> Any:
        return min(x, 2.0)


@pytest.mark.parametrize("cls", ALL)
def test_bypassing_projects_but_does_not_write(cls: Any) -> None:
    optimizer, x, _ = posed(cls, JSON_REPLY, JSON_REPLY)
    x.projections.append(Clip())
    assert optimizer.step(bypassing=True, num_threads=3) == {x: 2.0} and x.data == 1.0
    optimizer.step(verbose=False)
    assert x.data == 2.0


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("I have no idea.", "names none of the parts x0"),
        ("", "empty"),
        ('{"suggestion": {"y0": 3}}', "no part named y0"),
        ('{"suggestion": {"x0": "abc"}}', "'abc' is not a float"),
        ('{"suggestion": {}}', "no change"),
        ('{"suggestion": {"x0": 1.0}}', "present ones"),
        ("TERMINATE", "TERMINATE"),
    ],
)
def test_a_step_that_changes_nothing_says_why(
    cls: Any, reply: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    optimizer, x, _ = posed(cls, reply, reply)
    events: list[Event] = []
    with listen(events.append):
        update = optimizer.step()
    assert x.data == 1.0 and word in update.reason and word in caplog.text
    done = [e for e in events if isinstance(e, StepDone)]
    assert len(done) == 1 and word in (done[0].reason or "") and done[0].changed == ()


@pytest.mark.parametrize("cls", ALL)
def test_the_word_terminate_leaves_no_log_entry(cls: Any) -> None:
    optimizer, _, _ = posed(cls, "TERMINATE")
    assert optimizer.step() == {} and optimizer.log == [] and optimizer.summary_log == []


@bundle(trainable=True)
def double(q: Any) -> Any:
    """Twice."""
    return q * 2


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("def double(q): return (", "not valid Python"),
        ("def twice(q): return q", "twice"),
        ("def double(): ...", "sig"),
    ],
)
def test_bad_code_is_refused_and_the_rest_believed(cls: Any, code: str, fault: str) -> None:
    fun = double.detach()
    x = node(1, name="x", trainable=True)
    reply = json.dumps({"suggestion": {fun.parameter.py_name: code, "x0": 5}})
    optimizer = cls([x, fun.parameter], llm=ScriptedLLM([reply]))
    optimizer.backward(fun(x), "higher")
    events: list[Event] = []
    before = fun.parameter.data
    with listen(events.append):
        update = optimizer.step()
    assert update == {x: 5} and fun.parameter.data == before
    assert fault in update.refused[fun.parameter.py_name]
    assert [type(e) for e in events] == [PartRefused, StepDone] and events[1].refused  # type: ignore[attr-defined]


@pytest.mark.parametrize("cls", ALL)
def test_code_that_turns_out_to_be_undefinable_is_why_nothing_changed(cls: Any) -> None:
    fun = double.detach()
    reply = json.dumps({"suggestion": {fun.parameter.py_name: "@no_such_name\ndef double(q):\n    return q"}})
    optimizer = cls([fun.parameter], llm=ScriptedLLM([reply]))
    optimizer.backward(fun(node(2)), "should be 6")
    events: list[Event] = []
    with listen(events.append):
        update = optimizer.step()
    assert update == {} and "no_such_name" in update.reason
    assert [e.reason for e in events if isinstance(e, StepDone)] == [update.reason]


@pytest.mark.parametrize("cls", ALL)
def test_good_code_is_taken(cls: Any) -> None:
    fun = double.detach()
    reply = "Here:\n```python\ndef double(q):\n    return q * 3\n```"
    optimizer = cls([fun.parameter], llm=ScriptedLLM([reply]))
    optimizer.backward(fun(node(2)), "should be 6")
    optimizer.step()
    assert fun(2).data == 6


def test_lean_asks_once_more_and_quotes_the_fault() -> None:
    optimizer, x, llm = posed(OptoPrime, '{"suggestion": {"x0": "lots"}}', JSON_REPLY)
    events: list[Event] = []
    with listen(events.append):
        assert optimizer.step() == {x: 3.0}
    again = llm.calls[1]["messages"]
    assert "'lots' is not a float" in again[-1]["content"] and again[-2]["content"] == '{"suggestion": {"x0": "lots"}}'
    assert [type(e) for e in events] == [PartRefused, ReplyAsked, StepDone]
    assert events[-1].calls == 2  # type: ignore[attr-defined]
    assert len(llm.calls) == 2 and len(optimizer.log) == 1


def test_an_honest_no_change_is_not_asked_again() -> None:
    optimizer, _, llm = posed(OptoPrime, '{"suggestion": {}}')
    optimizer.step()
    assert len(llm.calls) == 1


def test_the_done_event_counts_tokens() -> None:
    reply = Response.of(JSON_REPLY, usage=Usage(100, 20))
    optimizer, _, _ = posed(OptoPrime, reply)
    events: list[Any] = []
    with listen(events.append):
        optimizer.step()
    assert events == [
        StepDone("OptoPrime", ("x0",), (), None, True, 1, 100, 20, events[0].seconds),
    ]
    assert optimizer.spent.prompt_tokens == 100


@pytest.mark.parametrize("cls", ALL)
def test_without_feedback_only_the_formats_of_the_existing_library_ask(
    cls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    x = node(1.0, name="x", trainable=True)
    llm = ScriptedLLM([JSON_REPLY])
    optimizer = cls([x], llm=llm)
    update = optimizer.step()
    assert "call backward(output, feedback) before step()" in caplog.text
    if optimizer.by_own_methods:
        assert update == {x: 3.0}
    else:
        assert update == {} and x.data == 1.0 and not llm.calls and optimizer.spent.calls == 0
        assert "no feedback has reached the parameters" in (update.reason or "")
        assert [found.reason for found in optimizer.propose_many(2)] == [update.reason] * 2


@pytest.mark.parametrize("cls", ALL)
def test_an_optimizer_takes_a_model_of_parameters_and_the_name_of_an_llm(
    cls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Agent(trace.Module):
        def __init__(self) -> None:
            self.x = node(1.0, name="x", trainable=True)

    agent = Agent()
    monkeypatch.setattr("opto.utils.llm.LLM", lambda *, model: ScriptedLLM([f"I am {model}"]))
    optimizer = cls(agent, llm="gpt-4o")
    assert optimizer.parameters == agent.parameters()
    assert optimizer.llm(messages=[]).text == "I am gpt-4o"


def test_feedback_for_a_plain_value_says_what_to_give() -> None:
    x = node(1.0, name="x", trainable=True)
    with pytest.raises(TypeError, match=r"not to a value of type float: give x, not x\.data"):
        OptoPrime([x], llm=ScriptedLLM([])).backward((x + 1).data, "too small")


def test_an_agent_without_parameters_is_told_where_they_are_found() -> None:
    with pytest.raises(AssertionError, match=r"trainable=True; .*Seq and Map"):
        OptoPrime([], llm=ScriptedLLM([]))


def test_the_log_tells_what_a_step_changed_and_what_it_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "opto.optimizers")
    optimizer, x, _ = posed(OptoPrime, '{"suggestion": {"x0": 3, "y0": 4}}', JSON_REPLY)
    optimizer.step(bypassing=True)
    assert "OptoPrime would change x0" in caplog.text and "there is no part named y0" in caplog.text
    optimizer.step()
    assert "OptoPrime changed x0" in caplog.text and x.data == 3.0


@pytest.mark.parametrize("cls", ALL)
def test_nothing_trainable_asks_nobody(cls: Any) -> None:
    x = node(1.0, name="x", trainable=True)
    x.trainable = False
    update = cls([x, x], llm=ScriptedLLM([])).step()
    assert update == {} and "trainable" in update.reason


@pytest.mark.parametrize("cls", ALL)
def test_an_unconnected_parameter_is_changed_when_named(cls: Any) -> None:
    x, y = node(1, name="x", trainable=True), node(1, name="y", trainable=True)
    llm = ScriptedLLM(['{"suggestion": {"y0": 7}}'])
    optimizer = cls([x, y, y], llm=llm)
    optimizer.backward(x + 1, "fb")
    assert optimizer.step() == {y: 7} and "y0" not in user_text(llm)


@pytest.mark.parametrize("cls", ALL)
def test_several_outputs_keep_their_feedback(cls: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM([JSON_REPLY])
    optimizer = cls([x], llm=llm)
    optimizer.backward(x + 1, "two is too low")
    optimizer.backward(x * 5, "five is right")
    optimizer.step()
    text = user_text(llm)
    assert "two is too low" in text and "five is right" in text
    assert text.index("add") < text.rindex("two is too low") < text.rindex("five is right")


@pytest.mark.parametrize("cls", ALL)
def test_all_that_was_said_of_one_output_is_shown(cls: Any) -> None:
    x = node(1, name="x", trainable=True)
    optimizer = cls([x], llm=ScriptedLLM([JSON_REPLY]))
    output = x + 1
    for feedback in ("not even", "not round", "not large"):
        optimizer.backward(output, feedback, retain_graph=True)
    optimizer.step()
    assert all(word in user_text(optimizer.llm) for word in ("not even", "not round", "not large"))


@pytest.mark.parametrize("cls", ALL)
def test_runs_whose_names_repeat_are_told_apart(cls: Any) -> None:
    x = node(1, name="x", trainable=True)
    optimizer = cls([x], llm=ScriptedLLM([JSON_REPLY]))
    for amount, feedback in enumerate(("not even", "not round", "not large")):
        GRAPH.clear()  # each run calls its nodes add:0 and int:0
        optimizer.backward(x + amount * 1000, feedback)
    optimizer.step()
    assert all(word in user_text(optimizer.llm) for word in ("not even", "not round", "not large"))
    assert all(str(value) in user_text(optimizer.llm) for value in (1001, 2001))


@pytest.mark.parametrize("cls", ALL)
def test_an_exception_is_shown(cls: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm = ScriptedLLM([JSON_REPLY])
    optimizer = cls([x], llm=llm)
    with pytest.raises(ExecutionError) as caught:
        x / 0
    optimizer.backward(caught.value.exception_node, caught.value.exception_node.create_feedback())
    optimizer.step()
    assert "(ZeroDivisionError) division by zero" in user_text(llm)


@pytest.mark.parametrize("cls", ALL)
def test_objective_and_context_are_shown(cls: Any) -> None:
    optimizer, _, llm = posed(cls, JSON_REPLY, JSON_REPLY)
    optimizer.objective = "Mind the gap. " + optimizer.default_objective
    optimizer.set_context("It rains.")
    optimizer.step(bypassing=True)
    assert "Mind the gap." in user_text(llm) and "It rains." in user_text(llm)
    optimizer.set_context(None)
    optimizer.step()
    assert "It rains." not in user_text(llm)


@pytest.mark.parametrize("cls", ALL)
def test_memory_shows_earlier_attempts(cls: Any) -> None:
    optimizer, x, llm = posed(
        cls, JSON_REPLY, JSON_REPLY, JSON_REPLY, memory_size=2, include_example=cls is not OptoPrime
    )
    optimizer.step()
    assert user_text(llm).count("too low") == 1
    optimizer.zero_feedback()
    optimizer.backward(x + 1, "still too low")
    optimizer.step(bypassing=True)
    text = user_text(llm)
    assert text.count("too low") == 2 and "still too low" in text and "1.0" in text and "3.0" in text
    assert len(optimizer.memory) == 2 and optimizer.memory_size == 2


@pytest.mark.parametrize("cls", ALL)
def test_copies_keep_the_parameters(cls: Any) -> None:
    optimizer, x, _ = posed(cls, JSON_REPLY, JSON_REPLY, memory_size=1)
    optimizer.step(bypassing=True)
    twin = copy.deepcopy(optimizer)
    assert twin.parameters == [x] and twin.parameters[0] is x and twin.parameters is not optimizer.parameters
    assert twin.memory is not optimizer.memory and len(twin.memory) == 1 and twin.llm is not optimizer.llm
    twin.step(bypassing=True)
    assert len(optimizer.log) == 1 and len(twin.log) == 2
    back = pickle.loads(pickle.dumps(optimizer))
    assert back.parameters == [] and back.log == optimizer.log


@pytest.mark.parametrize("cls", ALL)
def test_save_and_load(cls: Any, tmp_path: Path) -> None:
    optimizer, _, _ = posed(cls, JSON_REPLY, memory_size=3, objective="Be brief.", max_tokens=77)
    optimizer.step()
    path = tmp_path / "deep" / "er" / "optimizer.json"
    optimizer.save(path)
    json.loads(path.read_text())
    y = node(1.0, name="x", trainable=True)
    other = cls([y], llm=ScriptedLLM([]))
    other.load(str(path))
    assert other.parameters[0] is y and other.objective == "Be brief." and other.max_tokens == 77
    assert [f for _, f in other.memory] == ["too low"] and other.log == optimizer.log
    path.write_text("{}")
    with pytest.raises(LoadError):
        other.load(path)


@pytest.mark.parametrize("cls", ALL)
def test_log_can_be_off_and_is_json(cls: Any) -> None:
    optimizer, _, _ = posed(cls, JSON_REPLY, log=False)
    optimizer.step()
    assert optimizer.log is None and optimizer.summary_log is None
    GRAPH.clear()
    optimizer, _, _ = posed(cls, TAG_REPLY)
    optimizer.step()
    entry = json.loads(json.dumps(optimizer.log))[0]
    assert {"system_prompt", "user_prompt", "response"} <= entry.keys()
    assert optimizer.summary_log[0]["problem_instance"].feedback == "too low"
    if cls is OptoPrime:
        assert json.loads(entry["response"])["suggestion"] == {"x0": "3"} and entry["reply"] == TAG_REPLY


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(("verbose", "prompt_shown", "reply_shown"), [(False, 0, 0), (True, 1, 1), ("output", 0, 1)])
def test_verbose(cls: Any, verbose: Any, prompt_shown: int, reply_shown: int, capsys: Any) -> None:
    optimizer, _, _ = posed(cls, JSON_REPLY)
    optimizer.step(verbose=verbose)
    out = capsys.readouterr().out
    assert out.count("too low") == prompt_shown and out.count('"suggestion": {"x0": "3"}') == reply_shown


# --- OptoPrime only ---


@pytest.mark.parametrize(
    "options",
    [
        {"json_keys": {"answer": None}},
        {"prompt_symbols": {"variables": "#Parameters"}},
        {"highlight_variables": True},
        {"include_example": True},
    ],
)
def test_an_option_of_the_classic_format_turns_to_it(options: dict[str, Any]) -> None:
    optimizer, x, llm = posed(OptoPrime, JSON_REPLY, JSON_REPLY, **options)
    assert optimizer.step() == {x: 3.0}
    assert "#Feedback\ntoo low" in user_text(llm) and "(float) x0=1.0" in user_text(llm)
    candidates = optimizer.propose_many(1)
    assert candidates[0] == {x: 3.0} and "#Feedback" in user_text(llm)


class Asked(OptoPrime):
    """Written for the existing library: it calls its model itself."""

    def call_llm(self, system_prompt: str, user_prompt: str, *args: Any, **kwargs: Any) -> str:
        assert "#Variables" in system_prompt and "(float) x0=" in user_prompt
        return '{"suggestion": {"x0": 7}}'


class Told(OptoPrime):
    def construct_prompt(self, *args: Any, **kwargs: Any) -> tuple[str, str]:
        system, user = super().construct_prompt(*args, **kwargs)
        return system, user + "Mind the gap."


class Read(OptoPrime):
    def extract_llm_suggestion(self, response: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"x0": len(response)}


class Posed(OptoPrimeV1):
    def problem_instance(self, summary: Any, mask: Any = None) -> Any:
        return "Mind the gap."


def test_a_subclass_of_the_existing_librarys_counts_on_its_methods() -> None:
    optimizer, x, llm = posed(Asked)
    assert optimizer.step() == {x: 7.0} and llm.calls == []
    assert [dict(update) for update in optimizer.propose_many(2)] == [{x: 7.0}, {x: 7.0}]
    for cls in (Told, Posed):
        GRAPH.clear()
        optimizer, x, llm = posed(cls, JSON_REPLY)
        assert optimizer.step() == {x: 3.0} and "Mind the gap." in user_text(llm)
    GRAPH.clear()
    optimizer, x, _ = posed(Read, "four")
    assert optimizer.step() == {x: 4.0}


@pytest.mark.parametrize(
    "name", ["representation_prompt", "output_format_prompt", "user_prompt_template", "final_prompt"]
)
def test_a_text_of_the_classic_format_that_is_replaced_is_sent(name: str) -> None:
    optimizer, _, llm = posed(OptoPrime, JSON_REPLY)
    setattr(optimizer, name, "Mind the gap.")
    optimizer.step()
    assert "Mind the gap." in json.dumps(llm.calls[0]["messages"])


def test_no_response_format_is_sent_where_the_user_wants_none() -> None:
    optimizer, x, llm = posed(OptoPrime, JSON_REPLY, use_json_object_format=False)
    assert optimizer.step() == {x: 3.0} and "response_format" not in llm.calls[0]


def test_a_mask_turns_to_the_classic_format() -> None:
    optimizer, _, llm = posed(OptoPrime, JSON_REPLY, JSON_REPLY)
    optimizer.step(mask=["#Feedback"], bypassing=True)
    assert "#Feedback\n\n" in user_text(llm) and "too low" not in user_text(llm)
    optimizer.step()
    assert "# Parts you may change" in user_text(llm)
    assert optimizer.construct_prompt(optimizer.summarize(), ["#Inputs"])[1].count("#Inputs") == 1


def test_an_attempt_that_is_drawn_from_many_times_is_one_memory() -> None:
    optimizer, _, llm = posed(OptoPrime, *[JSON_REPLY] * 4, memory_size=3)
    for _ in range(4):  # as a trainer does, a question a candidate
        optimizer.propose_many(1)
    assert len(optimizer.memory) == 1 and user_text(llm).count("- the present values: too low") == 1


def test_propose_many_draws_from_one_prompt() -> None:
    replies = [JSON_REPLY, "nonsense", '{"suggestion": {"x0": 9}}', "TERMINATE"]
    optimizer, x, llm = posed(OptoPrime, *replies)
    x.projections.append(Clip())
    drawn = optimizer.propose_many(4, temperatures=[0.2, 0.8])
    assert [dict(d) for d in drawn] == [{x: 2.0}, {}, {x: 2.0}, {}] and x.data == 1.0
    assert all(d or d.reason for d in drawn)
    assert [c["temperature"] for c in llm.calls] == [0.2, 0.8, 0.2, 0.8]
    assert len({json.dumps(c["messages"]) for c in llm.calls}) == 1
    assert optimizer.spent.calls == 4 and len(optimizer.log) == 3


@pytest.mark.parametrize("shape", ["json_object", "json_schema", "text", "prefill"])
@pytest.mark.parametrize("chosen_by", ["user", "profile"])
def test_the_shape_of_the_reply(shape: Any, chosen_by: str) -> None:
    replies = {
        "json_object": JSON_REPLY,
        "json_schema": '{"reasoning": "r", "changes": [{"name": "x0", "value": "3"}]}',
        "text": TAG_REPLY,
        "prefill": " 3\n",
    }
    optimizer, x, llm = posed(OptoPrime, replies[shape], **({"reply": shape} if chosen_by == "user" else {}))
    if chosen_by == "profile":
        optimizer.llm = with_profile(llm, reply=shape)
    assert optimizer.step() == {x: 3.0}
    call = llm.calls[0]
    form = call.get("response_format")
    assert {
        "json_object": form == {"type": "json_object"},
        "json_schema": bool(form) and '"enum": ["x0"]' in json.dumps(form),
        "text": "response_format" not in call,
        "prefill": call["messages"][-1] == {"role": "assistant", "content": "x0: "} and call["stop"] == ["\n"],
    }[shape]


def test_a_begun_fence_and_a_second_question() -> None:
    fun = double.detach()
    llm = with_profile(ScriptedLLM(["I would rather not.\n", "    return q * 3\n```\nok"]), reply="prefill")
    optimizer = OptoPrime([fun.parameter], llm=llm)
    optimizer.backward(fun(2), "should be 6")
    update = optimizer.step()
    assert update[fun.parameter].split()[-4:] == ["return", "q", "*", "3"] and fun(2).data == 6
    assert llm.calls[0]["messages"][-1]["content"] == "```python\ndef double(q: Any) -> Any:\n"
    assert llm.calls[1]["messages"][-1]["content"] == "```python\ndef double(q: Any) -> Any:\n"
    assert "not valid Python" in llm.calls[1]["messages"][-2]["content"]


def test_an_unknown_shape_is_refused_and_a_format_accepted() -> None:
    x = node(1.0, name="x", trainable=True)
    with pytest.raises(ValueError, match="json_schema"):
        OptoPrime([x], llm=ScriptedLLM([]), reply="xml")
    seen: list[int] = []

    class Mine(JsonReplies):
        def prompt(self, problem: Any, budget: int, turn: int) -> Prompt:
            seen.append(turn)
            return super().prompt(problem, budget, turn)

    optimizer = OptoPrime([x], llm=ScriptedLLM([JSON_REPLY, JSON_REPLY]), reply=Mine())
    optimizer.backward(x + 1, "fb")
    optimizer.step(bypassing=True)
    optimizer.step()
    assert seen == [0, 1]


def test_prompt_and_reply_share_a_known_window() -> None:
    optimizer, _, llm = posed(OptoPrime, JSON_REPLY, JSON_REPLY)
    optimizer.step(bypassing=True)
    with_profile(llm, context_tokens=6_000)
    optimizer.step()
    assert [call["max_tokens"] for call in llm.calls] == [4096, 3000]


def test_likely_parts_come_from_failures_then_nearness() -> None:
    a, b, c = (node(i, name=n, trainable=True) for i, n in enumerate("abc"))
    optimizer = OptoPrime([a, b, c], llm=ScriptedLLM([]))
    optimizer.backward((a + 1) * b - c, "fb")
    assert [p.name for p in likely_parts(optimizer.summarize().problem)] == ["c0", "b0", "a0"]


def test_a_server_that_refuses_response_format_is_asked_without() -> None:
    optimizer, x, llm = posed(OptoPrime, LLMRequestError("no response_format here"), JSON_REPLY)
    assert optimizer.step() == {x: 3.0}
    assert "response_format" in llm.calls[0] and "response_format" not in llm.calls[1]
    optimizer, _, llm = posed(OptoPrime, LLMAuthError("wrong key"), JSON_REPLY)
    with pytest.raises(LLMAuthError):
        optimizer.step()
    optimizer, _, llm = posed(OptoPrime, RuntimeError("what is that?"), JSON_REPLY, reply="text")
    with pytest.raises(RuntimeError):
        optimizer.step()


def test_classic_calls_again_without_response_format_on_any_error_and_tags_do_not() -> None:
    optimizer, x, llm = posed(OptoPrimeV1, RuntimeError("no"), JSON_REPLY)
    assert optimizer.step() == {x: 3.0} and "response_format" not in llm.calls[1]
    optimizer, _, _ = posed(OptoPrimeV1, RuntimeError("first"), RuntimeError("second"))
    with pytest.raises(RuntimeError, match="second"):
        optimizer.step()
    optimizer, _, _ = posed(OptoPrimeV2, RuntimeError("no"), TAG_REPLY)
    with pytest.raises(RuntimeError, match="no"):
        optimizer.step()


def test_a_response_without_text_is_a_clear_error() -> None:
    x = node(1.0, name="x", trainable=True)

    class Empty:
        choices: tuple[Any, ...] = ()

    optimizer = OptoPrimeV2([x], llm=lambda **options: Empty())
    with pytest.raises(LLMResponseError, match="Empty"):
        optimizer.step()


def test_the_default_model_is_made_late_and_can_be_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opto.utils.llm, "LLM", lambda: DummyLLM(lambda **options: JSON_REPLY))
    x = node(1.0, name="x", trainable=True)
    optimizer = OptoPrime([x])
    optimizer.backward(x + 1, "fb")
    assert optimizer.step() == {x: 3.0}


def test_ignore_extraction_error_off_raises() -> None:
    optimizer, _, _ = posed(OptoPrimeV1, '{"suggestion": {"x0": "abc"}}', ignore_extraction_error=False)
    with pytest.raises(Exception, match="x0 is refused"):
        optimizer.step()


class Fixed(Optimizer):
    def _step(self, *args: Any, **kwargs: Any) -> Any:
        return None


def test_a_custom_optimizer_that_proposes_nothing_says_so() -> None:
    x = node(1.0, trainable=True)
    update = Fixed([x]).step()
    assert update == {} and update.reason == "nothing was proposed"


def test_parameters_that_a_model_cannot_tell_apart_are_named(caplog: pytest.LogCaptureFixture) -> None:
    first = node(1, name="x", trainable=True)
    OptoPrime([first, first, node(1, name="x", trainable=True)], llm=ScriptedLLM([]))
    assert not caplog.records
    GRAPH.clear()
    OptoPrime([first, node(1, name="x", trainable=True)], llm=ScriptedLLM([]))
    assert "2 parameters are called x:0" in caplog.text
