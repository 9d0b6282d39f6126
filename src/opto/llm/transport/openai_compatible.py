"""The transport: any server that speaks OpenAI's chat protocol, by base URL and key."""

from __future__ import annotations

import hashlib
import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import httpx2

from opto.errors import LLMConfigError, LLMRequestError, LLMServerError
from opto.llm.base import DELIVERY_OPTIONS, Messages, Response, request_options
from opto.llm.embedding import text_to_embed
from opto.llm.flow import Flow, FlowLLM
from opto.llm.profile import ModelProfile, known_profile
from opto.llm.stream import Stream
from opto.llm.transport.completions import parse_completion, parse_embedding
from opto.llm.transport.connections import Clients
from opto.llm.transport.exchange import Exchange, Wire
from opto.llm.transport.failures import shown_url
from opto.llm.transport.lessons import Lessons

_NOT_SENT = DELIVERY_OPTIONS | {
    "api_base",
    "base_url",
    "embedding",
    "extra_body",
}  # options that are not sent as they are
_HEADERS = {
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "user-agent": "opto-trace",
}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_JSON = json.JSONEncoder(allow_nan=False)

__all__ = ["ApiKey", "EnvKey", "OpenAICompatible", "Wire"]


@dataclass(frozen=True, slots=True)
class EnvKey:
    """A key that stays in the environment: read when a call needs it, never copied into a pickle."""

    names: tuple[str, ...]
    hint: str = ""

    def __call__(self) -> str:
        for name in self.names:
            if value := os.environ.get(name):
                return value
        raise LLMConfigError(f"No API key{self.hint}: set {' or '.join(self.names)} in the environment.")


ApiKey = str | Callable[[], str]


class OpenAICompatible(FlowLLM):
    """A model behind an OpenAI-compatible server: OpenAI, Azure, vLLM, Ollama, llama.cpp …

    `timeout` bounds a whole call in seconds, reply included. `defaults` are completion options used
    unless a call says otherwise; `stream=True` gives a `Stream` of chunks. As with OpenAI's client, `api_key`,
    `base_url`, `extra_headers` and `extra_body` may also be options of a call. Safe to share between threads
    and event loops. What the server refuses (an option, the role `system`) is learnt from its words and not sent again
    (`lessons.py`). Copies and pickles drop live connections. Proxies and certificates are those of the environment
    (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR). Raises the `LLM…Error` classes of
    `opto.errors`, never those of the HTTP library.

    >>> llm = OpenAICompatible("http://127.0.0.1:8080/v1", "qwen", defaults={"temperature": 0})
    >>> llm
    OpenAICompatible('http://127.0.0.1:8080/v1', 'qwen')
    """

    keeps_timeout = True

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: ApiKey | None = None,
        timeout: float = 120.0,
        profile: ModelProfile | None = None,
        defaults: Mapping[str, Any] | None = None,
        wire: Wire | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/").removesuffix("/chat/completions")
        self.model_name = model
        self.profile = profile or known_profile(model)
        self.timeout = timeout
        self.defaults = dict(defaults or {})
        self.wire = wire or Wire()
        self._api_key = api_key
        self._clients = Clients()
        self.lessons = Lessons()

    @classmethod
    def azure(
        cls, endpoint: str, deployment: str, *, api_version: str, api_key: ApiKey, bearer: bool = False, **settings: Any
    ) -> OpenAICompatible:
        """Serve an Azure OpenAI deployment; `bearer` says that `api_key` is (or gives) an Entra token."""
        wire = Wire(key_header="Authorization" if bearer else "api-key", query={"api-version": api_version})
        base_url = f"{endpoint.rstrip('/')}/openai/deployments/{deployment}"
        return cls(base_url, deployment, api_key=api_key, wire=wire, **settings)

    @property
    def identity(self) -> str:
        defaults = json.dumps(request_options(self.defaults), sort_keys=True, default=repr) if self.defaults else "{}"
        return f"{shown_url(self.base_url)}|{self.model_name}|{defaults}{self._route_digest()}"

    def _route_digest(self) -> str:
        """A digest of queries and headers, which may choose the model behind an address and may be secret."""
        _, _, query = self.base_url.partition("?")
        more: list[Any] = [query, dict(self.wire.query), dict(self.wire.headers)]
        more += [self.defaults.get(name) for name in ("headers", "extra_headers")]
        if not any(more):
            return ""
        return "|" + hashlib.sha256(json.dumps(more, sort_keys=True, default=repr).encode()).hexdigest()[:16]

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        if options.get("embedding"):
            return (yield from self._embed(messages, options))
        options = {**self.defaults, **options}
        exchange, body = yield from self._taken(self._completion(messages, options), options)
        if body is None:
            return cast(Response, Stream(exchange.events(), exchange.close))
        response = exchange.parsed(parse_completion, body)
        # A server that cannot stream has sent the whole answer.
        return cast(Response, Stream.of(response)) if options.get("stream") else response

    def _taken(self, payload: Mapping[str, Any], options: Mapping[str, Any]) -> Flow[tuple[Exchange, bytes | None]]:
        """The exchange of a request that the server took, and its body (None: a stream); what it refuses is learnt."""
        lesson: str | None = None
        while True:
            sent = self.lessons.applied(payload)
            exchange = self._exchange("chat/completions", sent, options)
            try:
                yield from exchange.send()
                body = None if options.get("stream") and exchange.is_stream else (yield from exchange.whole())
            except (LLMRequestError, LLMServerError) as error:
                failed = isinstance(error, LLMServerError)
                if lesson is not None and failed:
                    self.lessons.forget(lesson)
                    raise
                if lesson is not None:
                    self.lessons.tell(self.model_name, lesson)
                lesson = self.lessons.learn(sent, str(error), failed=failed)
                if lesson is None:
                    raise
                continue
            if lesson is not None:
                self.lessons.tell(self.model_name, lesson)
            return exchange, body

    def post(self, path: str, payload: Mapping[str, Any]) -> Flow[bytes]:
        """A flow that sends JSON to `path` under the base URL and gives the reply's body."""
        exchange = self._exchange(path, payload, {})
        yield from exchange.send()
        return (yield from exchange.whole())

    def close(self) -> None:
        """Close the idle connections of blocking calls; those of a loop close with it. The next call opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """`close`, and close the connections of the running loop too."""
        self._clients.close()
        await self._clients.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown_url(self.base_url)!r}, {self.model_name!r})"

    def _embed(self, messages: Messages, options: Mapping[str, Any]) -> Flow[Response]:
        payload = {
            "model": self.model_name,
            **_body_options(options),
            "input": text_to_embed(_plain_messages(messages)),
        }
        payload.pop("stream", None)
        exchange = self._exchange("embeddings", payload, {**self.defaults, **options})
        yield from exchange.send()
        return exchange.parsed(parse_embedding, (yield from exchange.whole()))

    def _completion(self, messages: Messages, options: Mapping[str, Any]) -> dict[str, Any]:
        payload = {"model": self.model_name, **_body_options(options), "messages": _plain_messages(messages)}
        if payload.get("stream"):
            payload.setdefault("stream_options", {"include_usage": True})
        if "max_tokens" in payload and self.profile.limit_option != "max_tokens":
            payload.setdefault(self.profile.limit_option, payload.pop("max_tokens"))
        return payload

    def _exchange(self, path: str, payload: Mapping[str, Any], options: Mapping[str, Any]) -> Exchange:
        try:
            content = _JSON.encode(payload).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise LLMRequestError(f"The request cannot be written as JSON ({error}): pass plain values.") from error
        base_url = str(options.get("base_url") or options.get("api_base") or self.base_url)
        secret = _checked_key(options.get("api_key") or self._api_key)
        url, login = _request_url(base_url, path, tuple(self.wire.query.items()))
        headers = dict(_HEADERS)
        if secret is not None:
            name = self.wire.key_header.lower()
            headers[name] = f"Bearer {secret}" if name == "authorization" else secret
        if login is not None:
            headers.setdefault("authorization", login)
        for more in (self.wire.headers, options.get("headers"), options.get("extra_headers")):
            headers |= _checked_headers(more or {})
        return Exchange(
            self._clients,
            httpx2.Request("POST", url, headers=headers, content=content),
            timeout=_checked_timeout(options.get("timeout"), self.timeout),
            wire=self.wire,
            secret=secret,
        )


def _body_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that go into the body of a request."""
    sent = {name: value for name, value in options.items() if value is not None and name not in _NOT_SENT}
    return {**sent, **options["extra_body"]} if options.get("extra_body") else sent


def _checked_timeout(given: Any, otherwise: float) -> float:
    seconds = float(given) if isinstance(given, (int, float)) else otherwise
    if not seconds > 0:
        raise LLMConfigError(f"timeout={seconds!r}: give a number of seconds above zero.")
    return seconds


def _checked_key(key: ApiKey | None) -> str | None:
    text = (key if isinstance(key, str) or key is None else key()) or ""
    text = text.strip()
    if not text.isascii() or not text.isprintable():
        # The HTTP library would quote the header, and with it the key, in its own error.
        raise LLMConfigError("The API key holds characters that no header can carry: copy it again.")
    return text or None


def _checked_headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Headers by lower-case names; a value that no header can carry is refused without quoting it."""
    checked = dict[str, str]()
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str) or not _TOKEN.fullmatch(name):
            raise LLMConfigError("Headers are a dict of names and texts.")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            # The HTTP library would quote the value, which may be a key, in its own error.
            raise LLMConfigError(f"The header '{name}' holds characters that none can carry: copy it again.")
        checked[name.lower()] = value
    return checked


@lru_cache(maxsize=256)
def _request_url(base_url: str, path: str, query: tuple[tuple[str, str], ...]) -> tuple[httpx2.URL, str | None]:
    """Where to send to, and the header for a user and password in `base_url`, which must not travel in the address."""
    try:
        if not base_url.isprintable() or base_url != base_url.strip():
            raise httpx2.InvalidURL("it holds a character that no URL does")
        base = httpx2.URL(base_url)
        if base.scheme not in ("http", "https") or not base.host:
            raise httpx2.InvalidURL("it names no host, or no scheme that is known")
    except httpx2.InvalidURL as error:
        # The reason is not quoted: it may hold a password.
        raise LLMConfigError(f"{shown_url(base_url)} is no base URL: give one such as https://host/v1.") from error
    own, mark, asked = base.raw_path.partition(b"?")
    raw_path = own.rstrip(b"/") + b"/" + path.encode() + mark + asked
    url = base.copy_with(username=None, password=None, fragment=None, raw_path=raw_path)
    if not base.userinfo:
        return url.copy_merge_params(dict(query)) if query else url, None
    login = f"Basic {b64encode(f'{base.username}:{base.password}'.encode()).decode()}"
    return url.copy_merge_params(dict(query)) if query else url, login


def _plain_messages(messages: Messages | Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages as JSON knows them; one that is not a mapping is a mistake of the caller."""
    if isinstance(messages, (str, bytes, Mapping)):
        raise LLMRequestError("`messages` must be a list of {'role': …, 'content': …}: wrap yours in a list.")
    try:
        return [message if type(message) is dict else dict(message) for message in messages]
    except (TypeError, ValueError) as error:
        raise LLMRequestError("Each message must be a dict with `role` and `content`.") from error
