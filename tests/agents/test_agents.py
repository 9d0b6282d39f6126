"""Conversations and learners whose prompts are parameters."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from opto.errors import LLMConfigError, LLMError, LLMResponseError, LLMServerError
from opto.features.flows.compose import ChatHistory, TracedLLM
from opto.features.flows.types import TraceObject
from opto.features.predefined_agents import BasicLearner, Learner, call_llm
from opto.llm.fakes import DummyLLM, ScriptedLLM
from opto.optimizers import OptoPrime
from opto.trace import node
from opto.trace.nodes import MessageNode, ParameterNode


def echo(messages: Any, **options: Any) -> str:
    return " | ".join(f"{m['role']}: {m['content']}" for m in messages)


def test_an_answer_is_made_of_the_system_prompt_the_history_and_the_question() -> None:
    agent = TracedLLM("Be kind.", DummyLLM(echo), chat_history_on=True, model_name="kind")
    first = agent("one")
    second = agent.chat(node("two", name="mine"))
    assert first.data == "system: Be kind. | user: one"
    assert second.data == f"system: Be kind. | user: one | assistant: {first.data} | user: two"
    assert isinstance(second, MessageNode) and second.name == "kind_response:1"
    assert list(second.inputs) == ["args_0", "args_1", "args_2", "args_3"]
    assert [n.name for n in second.inputs.values()] == [
        "system_prompt:0",
        "kind_user_query:0",
        "kind_response:0",
        "mine:0",
    ]
    assert second.info["fun_name"] == "TracedLLM.forward.call_llm"
    assert agent.forward("three", chat_history_on=False).data == "system: Be kind. | user: three"
    assert len(agent.chat_history) == 6, "the history is always noted"


def test_which_system_prompts_are_parameters() -> None:
    llm = DummyLLM(echo)
    assert TracedLLM("a", llm).parameters() == []
    (parameter,) = TracedLLM("a", llm, trainable=True).parameters()
    assert isinstance(parameter, ParameterNode) and parameter.name.startswith("system_prompt:")
    mine = ParameterNode("p")
    assert TracedLLM(mine, llm).system_prompt is mine and not mine.trainable
    plain = node("q")
    assert TracedLLM(plain, llm).system_prompt is plain
    assert TracedLLM(plain, llm, trainable=True).parameters()[0].data == "q"
    assert isinstance(TracedLLM(llm=llm).system_prompt.data, str)
    with pytest.raises(AssertionError, match="llm"):
        TracedLLM("a", llm="gpt")


def test_names_count_by_class() -> None:
    class Poet(TracedLLM):
        def forward(self, user_query: Any, chat_history_on: bool | None = None) -> Any:
            return self.chat(f"Rhyme on {user_query}")

    one, two = Poet("a", DummyLLM(echo)), Poet("b", DummyLLM(echo))
    assert (one.model_name, two.model_name) == ("Poet0", "Poet1")
    assert one("sun").data == "system: a | user: Rhyme on sun"


def test_a_conversation_learns_turn_by_turn() -> None:
    agent = TracedLLM("a", DummyLLM(echo), chat_history_on=True, trainable=True, model_name="m")
    (prompt,) = agent.parameters()
    reply = '{"suggestion": {"%s": "%s"}}'
    optimizer = OptoPrime([prompt], llm=ScriptedLLM([reply % (prompt.py_name, text) for text in "bc"]))
    for text in "bc":  # the second answer is made of the first, through which feedback went already
        optimizer.zero_feedback()
        optimizer.backward(agent("more"), "again")
        optimizer.step()
        assert prompt.data == text


def test_errors_of_the_model_are_the_callers() -> None:
    agent = TracedLLM("a", ScriptedLLM([LLMError("down")]))
    with pytest.raises(LLMError, match="down"):
        agent("one")
    assert len(agent.chat_history) == 0, "what was not answered was not said"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda agent: pickle.loads(pickle.dumps(agent))])
def test_agents_copy_and_pickle(again: Any) -> None:
    talk = TracedLLM("a", DummyLLM(echo), trainable=True, chat_history_on=True)
    talk("one")
    twin = again(talk)
    twin("two")
    assert (len(talk.chat_history), len(twin.chat_history)) == (2, 4)
    learner = again(BasicLearner(llm=DummyLLM(echo)))
    assert learner("hi").data == "system: You're a helpful agent | user: Query: hi"


def test_a_history_keeps_the_first_question_and_the_latest_messages() -> None:
    history = ChatHistory(max_len=4)
    history.append({"role": "assistant", "content": "welcome"})
    for i in range(5):
        history.add(f"q{i}", "user")
        history.add(f"a{i}", "assistant")
    assert [m["content"] for m in history.get_messages()] == ["q0", "a3", "q4", "a4"]
    assert [n.name.split(":")[0] for n in history.get_messages_as_node("me")][:2] == [
        "me_user_query",
        "me_assistant_response",
    ]
    with pytest.raises(ValueError, match="user"):
        history.add("x", "system")


def talk(history: ChatHistory, turns: int) -> ChatHistory:
    for i in range(turns):
        history.add(f"q{i}", "user")
        history.add(f"a{i}", "assistant")
    return history


def texts(history: ChatHistory) -> list[str]:
    return [str(message["content"]).rpartition("\n")[2] for message in history.get_messages()]


def test_a_history_sums_up_what_it_would_leave_out() -> None:
    llm = ScriptedLLM(["minutes", "minutes of minutes"])
    history = talk(ChatHistory(max_len=6, auto_summary=True, llm=llm), 3)
    assert texts(history) == ["q0", "a0", "q1", "a1", "q2", "a2"] and not llm.calls
    talk(history, 1)
    assert texts(history) == texts(history) == ["q0", "minutes", "q0", "a0"]
    assert [message["role"] for message in history.get_messages()] == ["user", "assistant"] * 2
    system, question = llm.calls[0]["messages"]
    assert "minutes" in system["content"] and len(llm.calls) == 1
    assert question["content"] == "assistant: a0\n\nuser: q1\n\nassistant: a1\n\nuser: q2\n\nassistant: a2"
    assert texts(talk(history, 2)) == ["q0", "minutes of minutes", "q1", "a1"]
    assert "minutes" in llm.calls[1]["messages"][1]["content"]


@pytest.mark.parametrize("max_len", range(3, 9))
@pytest.mark.parametrize("turns", range(1, 12))
def test_a_summed_up_history_is_short_and_begins_with_the_first_question(max_len: int, turns: int) -> None:
    history = ChatHistory(max_len, auto_summary=True, llm=DummyLLM(lambda messages: "m"))
    for i in range(turns):
        history.add(f"q{i}", "user")
        history.add(f"a{i}", "assistant")
        found = texts(history)
        assert len(found) <= max_len and found[0] == "q0" and found[-1] == f"a{i}"


def test_a_summary_that_fails_loses_nothing_and_is_tried_again() -> None:
    llm = ScriptedLLM([LLMServerError("busy"), "  ", "minutes"])
    history = talk(ChatHistory(max_len=4, auto_summary=True, llm=llm), 3)
    for error in (LLMServerError, LLMResponseError):
        with pytest.raises(error):
            history.get_messages()
        assert len(history) == 6
    assert texts(history) == ["q0", "minutes", "q2", "a2"]


def test_a_summary_passes_feedback_to_what_it_sums_up() -> None:
    agent = TracedLLM("Be brief.", llm=DummyLLM(echo), chat_history_on=True, trainable=True, model_name="me")
    agent.chat_history = ChatHistory(max_len=3, auto_summary=True, llm=DummyLLM(lambda messages: "minutes"))
    first = agent("one")
    agent("two")
    out = agent("three")
    summary = agent.chat_history.messages[1]["content"]
    assert "minutes" in out.data and first in summary.parents and summary in out.parents
    out.backward("clearer")
    assert agent.system_prompt.feedback


def test_a_history_that_cannot_sum_up_says_so_at_once() -> None:
    with pytest.raises(LLMConfigError, match="llm="):
        ChatHistory(auto_summary=True)
    with pytest.raises(LLMConfigError, match="3 or more"):
        ChatHistory(2, auto_summary=True, llm=ScriptedLLM([]))


def test_a_learner_has_one_parameter_and_asks_with_its_template() -> None:
    assert Learner is BasicLearner
    agent = BasicLearner("Be brief.", "Say {message} {twice}", DummyLLM(echo))
    out = agent("ho")
    assert out.data == "system: Be brief. | user: Say ho {twice}"
    assert [p.data for p in agent.parameters()] == ["Be brief."]
    out.backward("shorter")
    assert agent.system_prompt.feedback and not agent.user_prompt_template.feedback
    with pytest.raises(ValueError, match="message"):
        call_llm(DummyLLM(echo), "a", "no place", "b")


def test_a_trace_object_must_say_what_it_is() -> None:
    with pytest.raises(TypeError):
        TraceObject()  # type: ignore[abstract]


@pytest.mark.parametrize("make", [TracedLLM, BasicLearner])
def test_the_default_model_is_the_one_that_programs_patch(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opto.utils.llm.LLM", lambda: DummyLLM(lambda messages: "patched"))
    assert make()("hello").data == "patched"


def test_a_call_without_a_model_uses_the_one_that_programs_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opto.utils.llm.LLM", lambda: DummyLLM(lambda messages: "patched"))
    assert call_llm(None, "Be brief.", "{message}", "hello") == "patched"
