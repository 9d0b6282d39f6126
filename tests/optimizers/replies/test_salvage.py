"""A text that is itself a reply, or a piece of one, is not believed; a text about replies is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import ReplyError
from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrimeV1, OptoPrimeV2
from opto.optimizers.problem.problem import Part
from opto.optimizers.replies.values import salvage
from opto.trace import GRAPH, node
from opto.trace.spaces import Choice, Text

NOW = "Say hello"
PARTS = [Part("prompt0", NOW), Part("loud0", 1), Part("__code0", "def f(x):\n    return x", is_code=True)]


def saved(said: str, current: str = NOW) -> str:
    return salvage(said, current, PARTS, "prompt0")


@pytest.mark.parametrize(
    "said",
    [
        '{"suggestion": {"prompt0": "Say hola"}}',
        '{"prompt0": "Say hola", "loud0": 3}',
        "<variable><name>prompt0</name><value>Say hola</value></variable>",
        '<variable name="prompt0">Say hola</variable>',
        "prompt0: Say hola",
        "loud0: 2\nprompt0 = Say hola",
        '"<variable><name>prompt0</name><value>Say\\u0020hola</value></variable>"',
        '"\\"Say\\u0020hola\\""',
        json.dumps({"suggestion": {"prompt0": '{"prompt0": "Say hola"}'}}),
    ],
)
def test_a_reply_in_the_place_of_a_text_is_read(said: str) -> None:
    assert saved(said).strip('"') == "Say hola"


@pytest.mark.parametrize(
    "said",
    [
        "loud0: 2",
        '"loud0": 2, "prom',
        "It is cold.</reasoning> <variable><name>prompt0</name>",
        '\\nreturn 1 +\\n>>>>>>> REPLACE"}}]',
        "<<<<<<< SEARCH old",
        "}]}",
        "{",
        "``json",
        "Say ho\0la",
        '"}',
    ],
)
def test_a_piece_of_a_reply_is_refused(said: str) -> None:
    with pytest.raises(ReplyError):
        saved(said)


@pytest.mark.parametrize(
    "said",
    [
        'Reply with JSON: {"reasoning": "...", "answer": 3}',
        "Put it in <value> tags, name: first",
        "Take prompt0 into account",
        "x = 3",
        '"Yes" or "no"',
        ", ",
        "-",
        "",
        "Ends with ```",
        "if x0: say so",
        "`code`",
        "{question}",
        "[x]",
    ],
)
def test_a_text_that_only_talks_of_such_things_is_left_alone(said: str) -> None:
    assert saved(said) == said


@given(st.text(max_size=200))
def test_a_text_that_the_present_one_resembles_is_left_alone(text: str) -> None:
    current = f'{{"prompt0": [], "loud0": 1}} <<<<<<< SEARCH {text}'
    said = f'{{"prompt0": "x"}} {text} <<<<<<< SEARCH'
    assert saved(said, current) == said


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=200))
def test_no_text_that_names_no_part_is_changed(text: str) -> None:
    said = f"a {text} b"
    assert saved(said) == said


def test_what_no_optimizer_believes() -> None:
    GRAPH.clear()
    prompt = node("Say hello", name="prompt", trainable=True)
    for kind, reply in (
        (OptoPrimeV1, json.dumps({"suggestion": {"prompt0": '"loud0": 2, "prompt0": "Sa'}})),
        (OptoPrimeV2, "<variable><name>prompt0</name><value>}]}</value></variable>"),
    ):
        update = kind([prompt], llm=ScriptedLLM([reply])).step()
        assert not update and "not a new text" in update.refused["prompt0"]
        assert prompt.data == "Say hello"


def test_labels_of_a_choice_may_look_like_anything() -> None:
    GRAPH.clear()
    empty = node("none", name="empty", trainable=True, space=Choice(["none", "{}"]))
    text = node("none", name="text", trainable=True, space=Text(max_tokens=9))
    reply = '{"suggestion": {"empty0": "{}", "text0": "{}"}}'
    update = OptoPrimeV1([empty, text], llm=ScriptedLLM([reply])).step()
    assert dict(update) == {empty: "{}"} and "text0" in update.refused
