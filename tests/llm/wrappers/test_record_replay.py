"""A recording is a file a person can read; a replay gives what is in it and nothing else."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import LLMRequestError, LLMServerError, LoadError, ReplayMissError
from opto.llm import DummyLLM, RecordLLM, ReplayLLM, Response, ScriptedLLM, Usage, profile_of
from opto.llm.wrappers.recordings import append_lines as append
from opto.llm.wrappers.recordings import read_lines as lines

ASK = [{"role": "user", "content": "hi"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run.jsonl"


def record(path: Path, *replies: Any) -> RecordLLM:
    return RecordLLM(ScriptedLLM(replies), path)


def test_a_line_a_call_that_a_person_can_read(path: Path) -> None:
    llm = record(path, Response.of("schön", usage=Usage(3, 2), model="m"), "b")
    llm(ASK, temperature=0.5, seed=None, timeout=3)
    asyncio.run(llm.acall(ASK))
    header, first, second = (json.loads(row) for row in path.read_text(encoding="utf-8").splitlines())
    assert header["profile"]["name"] == "scripted" and header["format"] == 1
    assert first == {
        "model": header["model"],
        "messages": ASK,
        "options": {"temperature": 0.5},
        "response": {
            "choices": [{"content": "schön", "role": "assistant", "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
            "model": "m",
        },
    }
    assert second["response"]["choices"][0]["content"] == "b"
    assert "schön" in path.read_text(encoding="utf-8")


def test_replay_gives_the_same_responses_in_order_and_then_fails(path: Path) -> None:
    said = [Response.of("one", usage=Usage(1, 2)), Response.of("two", "three"), Response.of("other")]
    llm = record(path, *said)
    asked = [llm(ASK), llm(ASK), llm(ASK, seed=1)]
    replay = ReplayLLM(path)
    assert [replay(ASK), asyncio.run(replay.acall(ASK, n=None)), replay(ASK, seed=1)] == asked == said
    with pytest.raises(ReplayMissError, match=r"2 times \(line 2, 3\), and this is call 3"):
        replay(ASK)
    assert profile_of(replay) == profile_of(llm) and replay.identity == llm.identity


def test_an_unseen_request_names_the_nearest(path: Path) -> None:
    llm = record(path, "a", "b", "c")
    llm([{"role": "user", "content": "Count the apples in the basket"}])
    llm([{"role": "system", "content": "You translate."}, {"role": "user", "content": "Good morning"}], temperature=0)
    replay = ReplayLLM(path)
    with pytest.raises(ReplayMissError, match=r"line 2: its messages\[0\]\.content differs at character 10") as caught:
        replay([{"role": "user", "content": "Count the pears in the basket"}])
    assert "recorded 'Count the apples" in str(caught.value) and "asked 'Count the pears" in str(caught.value)
    with pytest.raises(ReplayMissError, match=r"line 3: its option temperature differs .* recorded '0', asked '1'"):
        replay(
            [{"role": "system", "content": "You translate."}, {"role": "user", "content": "Good morning"}],
            temperature=1,
        )
    with pytest.raises(ReplayMissError, match=r"its option seed differs at character 0: recorded nothing, asked '1'"):
        replay([{"role": "user", "content": "Count the apples in the basket"}], seed=1)
    assert replay([{"role": "user", "content": "Count the apples in the basket"}]).text == "a"


def test_an_empty_recording_says_so(path: Path) -> None:
    append(path, [])
    with pytest.raises(ReplayMissError, match="no answer at all"):
        ReplayLLM(path)(ASK)


def test_several_models_in_one_file(path: Path) -> None:
    agent, judge = RecordLLM(DummyLLM(lambda messages: "agent"), path), record(path, "judge")
    agent(ASK), judge(ASK)
    assert ReplayLLM(path, judge.identity)(ASK).text == "judge"
    assert [ReplayLLM(path, agent.identity)(ASK).text, ReplayLLM(path)(ASK).text] == ["agent", "agent"]
    assert profile_of(ReplayLLM(path, judge.identity)).name == "scripted"


def test_copies_go_on_with_the_same_tape(path: Path) -> None:
    llm = record(path, "one", "two", "three")
    for _ in range(3):
        llm(ASK)
    replay = ReplayLLM(path)
    twins = [replay, copy.deepcopy(replay), pickle.loads(pickle.dumps(replay))]
    assert [twin(ASK).text for twin in twins] == ["one", "two", "three"]


def test_a_pickle_read_elsewhere_goes_on_where_it_stopped(path: Path) -> None:
    llm = record(path, "one", "two")
    llm(ASK), llm(ASK)
    replay = ReplayLLM(path)
    replay(ASK)
    data = pickle.dumps(replay)
    replay.tape._key = "gone"  # as if this process had ended
    del replay
    assert pickle.loads(data)(ASK).text == "two"


def test_half_a_line_is_left_out_and_cut_off(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    llm = record(path, "one", "two")
    llm(ASK)
    with path.open("a") as file:
        file.write('{"model": "x", "mess' + "a" * 100_000)
    with caplog.at_level(logging.WARNING):
        assert ReplayLLM(path)(ASK).text == "one"
    assert "half a line" in caplog.text
    llm(ASK, seed=2)
    assert ReplayLLM(path)(ASK, seed=2).text == "two"


@pytest.mark.parametrize(
    "row", ["[]", "nonsense", '{"model": 1}', '{"model":"m","messages":1,"options":{},"response":{}}']
)
def test_a_senseless_line_is_named(path: Path, row: str) -> None:
    record(path, "one")(ASK)
    with path.open("a") as file:
        file.write(row + "\n" + row + "\n")
    if row != '{"model": 1}':
        with pytest.raises(LoadError, match="line 3"):
            ReplayLLM(path)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(LoadError, match=r"run\.jsonl"):
        ReplayLLM(path)


def test_what_is_not_recorded(path: Path, server: Any) -> None:
    with pytest.raises(LLMServerError):
        record(path, LLMServerError("busy"))(ASK)
    assert not path.exists()
    inner = ScriptedLLM(["a"])
    with pytest.raises(LLMRequestError, match="JSON"):
        RecordLLM(inner, path)(ASK, tools={1, 2})
    assert not inner.calls, "nothing was paid"
    with pytest.raises(LLMServerError):
        RecordLLM(ScriptedLLM([LLMServerError("busy")]), path)(ASK, stream=True)
    RecordLLM(inner, path)(ASK, stream=True).close()  # type: ignore[attr-defined]
    assert not path.exists(), "a stream that was left is no answer"


def test_a_stream_is_recorded_as_the_whole_reply_that_it_was(path: Path) -> None:
    recorded: Any = record(path, "a", "b")
    assert [chunk.text for chunk in recorded(ASK, stream=True, stream_options={"include_usage": True})] == ["a"]
    recorded(ASK)
    replay: Any = ReplayLLM(path)
    assert replay(ASK).text == "a" and [chunk.text for chunk in replay(ASK, stream=True)] == ["b"]
    with pytest.raises(ReplayMissError):
        replay(ASK, stream=True)


def test_a_reply_that_cannot_be_recorded_is_still_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert record(tmp_path / "file" / "run.jsonl", "paid")(ASK).text == "paid"
    assert "not recorded" in caplog.text


def test_many_threads_write_whole_lines(path: Path) -> None:
    llm = RecordLLM(DummyLLM(lambda messages, seed: "x" * 5000), path)
    threads = [threading.Thread(target=lambda k=k: [llm(ASK, seed=10 * k + i) for i in range(10)]) for k in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(lines(path))) == 51
    assert all(ReplayLLM(path)(ASK, seed=k).text == "x" * 5000 for k in range(3))


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, question: str, answer: str) -> None:
    path = tmp_path_factory.mktemp("tape") / "t.jsonl"
    record(path, answer)([{"role": "user", "content": question}])
    assert ReplayLLM(path)([{"role": "user", "content": question}]).text == answer
