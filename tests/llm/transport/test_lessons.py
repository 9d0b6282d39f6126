"""What a refusal teaches, word by word; whole calls are in `tests/faults/test_model_servers.py`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from opto.llm.transport.lessons import Lessons

ASKED = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}],
    "max_tokens": 4096,
    "temperature": 0.4,
    "response_format": {"type": "json_object"},
}


@pytest.mark.parametrize(
    ("words", "failed", "lesson"),
    [
        ("'max_tokens' is not supported. Use 'max_completion_tokens'.", False, "max_tokens is sent as"),
        ("max_tokens is too large: 4096, at most 1000", False, "max_tokens is at most 1000"),
        (
            "'temperature' does not support 0.4. Only the default (1) is.",
            False,
            "temperature is left out",
        ),
        ("temperature must be between 0 and 2", False, None),
        ("System role not supported", False, "the system text stands"),
        ("Only user and assistant roles are supported!", False, None),
        ("the system is overloaded", True, "response_format is left out"),
        ("response_format: extra fields not permitted", False, "response_format is left out"),
        ("Internal Server Error", True, "response_format is left out"),
        ("This model's maximum context length is 8192 tokens; reduce max_tokens", False, None),
        ("The model is not for you.", False, None),
        ("No messages were given", False, None),
    ],
)
def test_what_a_refusal_teaches(words: str, failed: bool, lesson: str | None) -> None:
    lessons = Lessons()
    found = lessons.learn(dict(ASKED), words, failed=failed)
    assert (found is None) if lesson is None else (found or "").startswith(lesson)
    assert lessons.learn(dict(ASKED), words, failed=failed) is None, "once"
    assert (lessons.applied(ASKED) == ASKED) is (lesson is None)


def test_a_system_text_is_folded_into_whatever_the_user_says() -> None:
    lessons = Lessons()
    lessons.learn(dict(ASKED), "System role not supported", failed=False)
    parts: Any = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    system = {"role": "system", "content": "Be brief."}
    for messages, folded in (
        ([system, {"role": "user", "content": "Hi."}], [{"role": "user", "content": "Be brief.\n\nHi."}]),
        ([system], [{"role": "user", "content": "Be brief."}]),
        (
            [system, {"role": "user", "content": parts}],
            [{"role": "user", "content": [{"type": "text", "text": "Be brief."}, *parts]}],
        ),
        ([{"role": "user", "content": "Hi."}], [{"role": "user", "content": "Hi."}]),
    ):
        assert lessons.applied({"messages": messages})["messages"] == folded


def test_copies_share_lessons_and_a_pickle_begins_anew() -> None:
    lessons = Lessons()
    lessons.learn(dict(ASKED), "System role not supported", failed=False)
    assert copy.copy(lessons) is lessons and copy.deepcopy(lessons) is lessons
    assert pickle.loads(pickle.dumps(lessons)).applied(ASKED) == ASKED
    lessons.forget("the system text stands before the first message of the user")
    assert lessons.applied(ASKED) == ASKED
