"""The transport: any server that speaks OpenAI's chat protocol, by base URL and key."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

import httpcore

from opto.errors import LLMConfigError, LLMRequestError
from opto.llm.base import CARRIED, Messages, Response, asked
from opto.llm.embedding import text_of
from opto.llm.flow import Effect, Flow, FlowLLM
from opto.llm.profile import ModelProfile, known_profile
from opto.llm.stream import Stream
from opto.llm.transport.address import Address, login_of, parse_address, shown_url
from opto.llm.transport.body import Body, headers_of
from opto.llm.transport.call_deadline import Deadline
from opto.llm.transport.completions import parse_completion, parse_embedding, without_secret
from opto.llm.transport.connections import Clients, request_to
from opto.llm.transport.failures import WIRE_ERRORS, from_exception, from_status
from opto.llm.transport.proxies import proxy_url

_HERE = CARRIED | {"api_base", "base_url", "embedding", "extra_body"}  # options that are not sent as they are
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


@dataclass(frozen=True, slots=True)
class Wire:
    """How requests travel: the key's header, extra query and headers, limits.

    Servers and gateways log addresses, query included: a secret belongs into a header. `max_reply_bytes` bounds
    memory; `clock` counts seconds for the total time of a call, of which `connect` may pass until somebody answers.
    """

    key_header: str = "Authorization"
    query: Mapping[str, str] = field(default_factory=dict, repr=False)  # both may hold secrets
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_reply_bytes: int = 64 * 2**20
    connect: float = 20.0
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class _Call:
    request: httpcore.Request
    address: Address
    timeout: float
    deadline: Deadline
    secret: str | None = field(repr=False)  # a traceback that shows variables must not show the key


class OpenAICompatible(FlowLLM):
    """A model behind an OpenAI-compatible server: OpenAI, Azure, vLLM, Ollama, llama.cpp …

    `timeout` bounds a whole call in seconds, reply included. `defaults` are completion options used
    unless a call says otherwise; `stream=True` gives a `Stream` of chunks. As with OpenAI's client, `api_key`,
    `base_url`, `extra_headers` and `extra_body` may also be options of a call. Safe to share between threads
    and event loops; copies and pickles drop live connections. Proxies and certificates are those of the environment
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
        self.base_url = base_url.rstrip("/")
        self.model_name = model
        self.profile = profile or known_profile(model)
        self.timeout = timeout
        self.defaults = dict(defaults or {})
        self.wire = wire or Wire()
        self._api_key = api_key
        self._clients = Clients()

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
        defaults = json.dumps(asked(self.defaults), sort_keys=True, default=repr) if self.defaults else "{}"
        return f"{shown_url(self.base_url)}|{self.model_name}|{defaults}{self._way()}"

    def _way(self) -> str:
        """A digest of what else decides where a request ends, and may hold secrets: queries and headers."""
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
        call = self._call("chat/completions", self._completion(messages, options), options)
        if options.get("stream"):
            return cast(Response, (yield from self._open(call)))
        body = yield from self._exchange(call)
        return without_secret(parse_completion, body, str(call.address), call.secret)

    def post(self, path: str, payload: Mapping[str, Any]) -> Flow[bytes]:
        """A flow that sends JSON to `path` under the base URL and gives the reply's body."""
        return (yield from self._exchange(self._call(path, payload, {})))

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
        payload = {"model": self.model_name, **_sent(options), "input": text_of(_plain(messages))}
        payload.pop("stream", None)
        call = self._call("embeddings", payload, {**self.defaults, **options})
        body = yield from self._exchange(call)
        return without_secret(parse_embedding, body, str(call.address), call.secret)

    def _completion(self, messages: Messages, options: Mapping[str, Any]) -> dict[str, Any]:
        payload = {"model": self.model_name, **_sent(options), "messages": _plain(messages)}
        if payload.get("stream"):
            payload.setdefault("stream_options", {"include_usage": True})
        if "max_tokens" in payload and self.profile.limit_option != "max_tokens":
            payload.setdefault(self.profile.limit_option, payload.pop("max_tokens"))
        return payload

    def _call(self, path: str, payload: Mapping[str, Any], options: Mapping[str, Any]) -> _Call:
        seconds = _seconds(options.get("timeout"), self.timeout)
        base_url = str(options.get("base_url") or options.get("api_base") or self.base_url)
        try:
            content = _JSON.encode(payload).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise LLMRequestError(f"The request cannot be written as JSON ({error}): pass plain values.") from error
        secret = _secret(options.get("api_key") or self._api_key)
        try:
            address, login = _address(base_url, path, tuple(self.wire.query.items()))
        except ValueError as error:
            raise LLMConfigError(
                f"{shown_url(base_url)} is no base URL ({error}): give one such as https://host/v1."
            ) from error
        headers = {**_HEADERS, "content-length": str(len(content))}
        if secret is not None:
            name = self.wire.key_header.lower()
            headers[name] = f"Bearer {secret}" if name == "authorization" else secret
        if login is not None:
            headers.setdefault("authorization", login)
        for more in (self.wire.headers, options.get("headers"), options.get("extra_headers")):
            if more:
                headers |= _checked(more)
        deadline = Deadline(self.wire.clock() + seconds, self.wire.clock)
        limits = {"connect": replace(deadline, longest=self.wire.connect), "read": deadline, "write": deadline}
        request = request_to("POST", address, headers, limits, content)
        return _Call(request, address, seconds, deadline, secret)

    def _exchange(self, call: _Call) -> Flow[bytes]:
        """Send one request and read its reply whole, within the time and size limits."""
        body = self._body(call)
        try:
            body.reply = yield self._send(call)
            whole = yield from body.rest()
        except WIRE_ERRORS as error:
            raise from_exception(error, body.url, call.timeout, proxy_url(call.address)) from error
        if not _is_fine(body.reply):
            raise from_status(body.reply.status, headers_of(body.reply), whole, body.url, call.secret)
        return whole

    def _open(self, call: _Call) -> Flow[Any]:
        """Send one request and give its reply as a `Stream`, or the error that its status is."""
        body = self._body(call)
        try:
            body.reply = yield self._send(call)
            headers = headers_of(body.reply)
            if _is_fine(body.reply) and "json" not in headers.get("content-type", ""):
                return Stream(body.piece, Effect(body.reply.close, body.reply.aclose), body.url, call.secret)
            whole = yield from body.rest()
        except WIRE_ERRORS as error:
            raise from_exception(error, body.url, call.timeout, proxy_url(call.address)) from error
        if not _is_fine(body.reply):
            raise from_status(body.reply.status, headers, whole, body.url, call.secret)
        # A server that does not stream:
        return Stream.of(without_secret(parse_completion, whole, body.url, call.secret))

    def _body(self, call: _Call) -> Body:
        return Body(
            str(call.address),
            connections=self._clients,
            timeout=call.timeout,
            deadline=call.deadline,
            limit=self.wire.max_reply_bytes,
        )

    def _send(self, call: _Call) -> Effect:
        async def later() -> httpcore.Response:
            pool = await self._clients.loop(call.address)
            return await pool.handle_async_request(call.request)

        return Effect(lambda: self._clients.sync(call.address).handle_request(call.request), later)


def _is_fine(reply: httpcore.Response) -> bool:
    """Some gateways answer every POST with 201."""
    return 200 <= reply.status < 300


def _sent(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that go into the body of a request."""
    sent = {name: value for name, value in options.items() if value is not None and name not in _HERE}
    return {**sent, **options["extra_body"]} if options.get("extra_body") else sent


def _seconds(given: Any, otherwise: float) -> float:
    seconds = float(given) if isinstance(given, (int, float)) else otherwise
    if not seconds > 0:
        raise LLMConfigError(f"timeout={seconds!r}: give a number of seconds above zero.")
    return seconds


def _secret(key: ApiKey | None) -> str | None:
    text = (key if isinstance(key, str) or key is None else key()) or ""
    text = text.strip()
    if not text.isascii() or not text.isprintable():
        # The HTTP library would quote the header, and with it the key, in its own error.
        raise LLMConfigError("The API key holds characters that no header can carry: copy it again.")
    return text or None


def _checked(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Headers by their names in small letters; what none can carry is refused without quoting it."""
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
def _address(base_url: str, path: str, query: tuple[tuple[str, str], ...]) -> tuple[Address, str | None]:
    """Where to send to, and the header for a user and password in `base_url`, which must not travel in the address."""
    address, login = parse_address(base_url).below(path, query), login_of(base_url)
    return address, login and f"Basic {b64encode(':'.join(login).encode()).decode()}"


def _plain(messages: Messages | Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages as JSON knows them; one that is not a mapping is a mistake of the caller."""
    if isinstance(messages, (str, bytes, Mapping)):
        raise LLMRequestError("`messages` must be a list of {'role': …, 'content': …}: wrap yours in a list.")
    try:
        return [message if type(message) is dict else dict(message) for message in messages]
    except (TypeError, ValueError) as error:
        raise LLMRequestError("Each message must be a dict with `role` and `content`.") from error
