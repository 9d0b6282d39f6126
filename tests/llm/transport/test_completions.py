"""Reading replies is total: any bytes give a Response or an LLMError."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from opto.errors import LLMError, LLMResponseError, LLMServerError
from opto.llm import Response
from opto.llm.transport.completions import parse_completion, parse_embedding
from opto.llm.transport.failures import from_status, parse_retry_after, quote

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage", "text", "data", "error"]), inner)
    ),
    max_leaves=12,
)
URL = "http://h/v1"


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_response_or_one_error(body: bytes) -> None:
    with contextlib.suppress(LLMResponseError, LLMServerError):
        response = parse_completion(body, URL)
        assert isinstance(response, Response) and isinstance(response.text, str)
    with contextlib.suppress(LLMResponseError):
        assert parse_embedding(body, URL)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_what_a_server_says_is_what_we_read(texts: list[str]) -> None:
    body = json.dumps({"choices": [{"message": {"content": text}} for text in texts]}).encode()
    assert [choice.message.content for choice in parse_completion(body, URL).choices] == texts


@given(st.integers(201, 599), st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_status_and_body_is_one_short_sentence(status: int, body: bytes) -> None:
    error = from_status(status, {}, body, URL, "secret-key")
    assert isinstance(error, LLMError) and len(str(error)) < 400 and "\n" not in str(error)


@given(st.text(), st.text(min_size=4, alphabet="abc123-"))
def test_quoting_never_shows_the_key(text: str, secret: str) -> None:
    assert secret not in quote(f"{text}{secret}{text}", secret)


@given(st.text(max_size=30))
def test_any_retry_after_is_a_sane_number_or_nothing(value: str) -> None:
    wait = parse_retry_after({"retry-after": value})
    assert wait is None or 0 <= wait < 1e9
