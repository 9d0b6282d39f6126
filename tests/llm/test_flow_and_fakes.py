"""The small parts: flows, fakes, profiles, records, the rebuilt model."""

from __future__ import annotations

import asyncio
import copy
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from opto.errors import LLMError, LLMServerError
from opto.llm import AbstractModel, DummyLLM, Response, Retry, ScriptedLLM, Usage, identity_of, profile_of
from opto.llm.flow import Effect, Flow, arun, blocking, run, sleep
from opto.llm.profile import known_profile

ASK = [{"role": "user", "content": "hi"}]


def two_steps(fail: bool) -> Flow[list[str]]:
    async def later() -> str:
        return boom() if fail else "b"

    def boom() -> str:
        raise KeyError("b")

    first = yield blocking(lambda: "a")
    try:
        second = yield Effect(boom if fail else lambda: "b", later)
    except KeyError:
        second = "caught"
    return [first, second]


@pytest.mark.parametrize(("fail", "result"), [(False, ["a", "b"]), (True, ["a", "caught"])])
def test_a_flow_runs_alike_both_ways(fail: bool, result: list[str]) -> None:
    assert run(two_steps(fail)) == asyncio.run(arun(two_steps(fail))) == result


def test_sleep_waits_by_the_given_clock() -> None:
    waited: list[float] = []

    def nap() -> Flow[None]:
        yield sleep(3.0, waited.append)

    run(nap())
    assert waited == [3.0]


async def test_cancelling_a_flow_runs_its_cleanup() -> None:
    steps: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield sleep(60.0)
        finally:
            steps.append("cleaned")
            yield Effect(lambda: None, lambda: asyncio.sleep(0))
            steps.append("awaited")

    task = asyncio.create_task(arun(flow()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cleaned", "awaited"]


def echo(*args: Any, **kwargs: Any) -> str:
    return f"{args}{kwargs}"


def test_dummy_forwards_exactly_what_it_gets() -> None:
    assert DummyLLM(echo)(ASK, n=1).text == f"{(ASK,)}{ {'n': 1} }"
    assert DummyLLM(echo)(messages=ASK).text == f"(){ {'messages': ASK} }"


def test_dummy_wraps_texts_and_lets_responses_pass() -> None:
    own = SimpleNamespace(choices=[1])
    assert [choice.message.content for choice in DummyLLM(lambda m: ["a", "b"])(ASK).choices] == ["a", "b"]
    assert DummyLLM(lambda m: own)(ASK) is own
    assert DummyLLM(lambda m: 5)(ASK).choices[0].message.content == 5
    assert DummyLLM(lambda m: [])(ASK).choices[0].message.content == []


def test_dummy_travels_by_a_module_level_function() -> None:
    llm = pickle.loads(pickle.dumps(DummyLLM(echo)))
    assert llm(ASK).text == copy.deepcopy(llm)(ASK).text == copy.copy(llm)(ASK).text
    assert identity_of(llm).endswith(".echo")


def test_scripted_says_when_the_script_is_over_and_raises_errors() -> None:
    llm = ScriptedLLM([LLMServerError("busy"), Response.of("a", usage=Usage(1, 1))])
    with pytest.raises(LLMServerError):
        llm(ASK)
    assert asyncio.run(llm.acall(ASK)).usage.total_tokens == 2
    with pytest.raises(LLMError, match="2 replies and got call 3"):
        llm(ASK)


def test_abstract_model_is_rebuilt_when_old_and_when_copied() -> None:
    built: list[int] = []

    def factory() -> Any:
        built.append(1)
        return lambda messages: len(built)

    model = AbstractModel(factory)
    assert (model(ASK), model(ASK)) == (1, 1)
    assert copy.copy(model)(ASK) == 2
    restless = AbstractModel(factory, reset_freq=-1)
    assert (restless(ASK), restless(ASK)) == (3, 4)


async def test_abstract_model_answers_async_by_whatever_its_model_offers() -> None:
    assert await AbstractModel(lambda: lambda messages: "threaded").acall(ASK) == "threaded"
    assert (await AbstractModel(lambda: ScriptedLLM(["awaited"])).acall(ASK)).text == "awaited"

    class Overriding(AbstractModel):
        @property
        def model(self) -> Any:
            return lambda *args, **kwargs: "overridden"

    model = Overriding(lambda: ScriptedLLM(["hidden"]))
    assert await model.acall(ASK) == model(ASK) == "overridden"


def test_a_response_cannot_be_changed() -> None:
    response = Response.of("a")
    with pytest.raises(AttributeError):
        response.model = "b"  # type: ignore[misc]
    assert Usage(1, None).total_tokens is None


@pytest.mark.parametrize(
    ("model", "reply"),
    [
        ("gpt-4o-2024", "json_schema"),
        ("gpt-4", "text"),
        ("gpt-3.5-turbo", "json_object"),
        ("claude-x", "text"),
        ("?", "json_object"),
    ],
)
def test_profiles_of_known_names(model: str, reply: str) -> None:
    profile = known_profile(model)
    assert profile.reply == reply and profile.name == model and not profile.small


def test_a_wrapper_shows_the_profile_within_and_a_stranger_gets_the_careful_one() -> None:
    assert profile_of(Retry(DummyLLM(echo))) == profile_of(DummyLLM(echo))
    assert profile_of(object()).reply == "json_object" and not profile_of(object()).small
    assert "DummyLLM" in repr(Retry(DummyLLM(echo)))
