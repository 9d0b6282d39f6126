"""The model that runs on this machine, behind the same seam as any other."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from opto.errors import LLMConfigError, LLMConnectionError, LLMServerError
from opto.llm.base import Choice, Message, Messages, Response, TokenUsage
from opto.llm.flow import Flow, FlowLLM, ask, blocking
from opto.llm.local.known_models import DEFAULT_MODEL, KNOWN_MODELS, KnownModel, known_model
from opto.llm.local.progress import Report, watch
from opto.llm.local.server_process import LocalServer, ServerConfig, require_extra, server_for, usable_cores
from opto.llm.local.weights import Sources, check_gguf, find_weights
from opto.llm.prices import FREE
from opto.llm.profile import ModelProfile
from opto.llm.stream import Stream
from opto.llm.transport.openai_compatible import OpenAICompatible

__all__ = ["LocalLLM"]


class LocalLLM(FlowLLM):
    """A language model in a llama.cpp process of its own on loopback; needs the extra `local`.

    `model` is a path to a GGUF file or the name of a model we know; by default OPTO_LOCAL_MODEL,
    else Qwen2.5-Coder-1.5B-Instruct, whose weights (1.1 GB) are fetched once. The first call starts
    the process; equal settings share it; it ends with this process. `context` counts tokens, which
    all `slots` (answers worked on at a time) share. A final assistant message is continued, and the
    reply holds the continuation only. `n` answers are drawn from one reading of the prompt; a stream has one.
    """

    price = FREE

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        context: int = 16_384,
        slots: int = 4,
        timeout: float = 600.0,
        sources: Sources | None = None,
        report: Report | None = None,
    ) -> None:
        name = os.environ.get("OPTO_LOCAL_MODEL") or DEFAULT_MODEL if model is None else os.fspath(model)
        self.known: KnownModel | None = None if _is_path(name) else known_model(name)
        self.model_name = self.known.name if self.known else str(Path(name).expanduser().absolute())
        self.threads, self.context, self.slots, self.timeout = threads, context, slots, timeout
        self._sources, self._report = sources, report
        self._config: ServerConfig | None = None
        self._transport: tuple[LocalServer, OpenAICompatible] | None = None

    @property
    def profile(self) -> ModelProfile:
        if self.known is not None:
            return replace(self.known.profile, context_tokens=self.context)
        return ModelProfile(Path(self.model_name).stem, "prefill", self.context, small=True)

    @property
    def identity(self) -> str:
        return f"local:{self.model_name}"

    def start(self) -> str:
        """Fetch the weights if need be, start the server, and return its base URL; calls do it by themselves."""
        return self._connect().base_url

    def flow(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        if options.get("embedding"):
            raise LLMConfigError("LocalLLM gives no vectors: embed with a server that does, such as Ollama's.")
        wanted = options.get("n") or 1
        if options.get("stream"):
            if wanted > 1:
                raise LLMConfigError(f"LocalLLM streams one answer at a time, not n={wanted}: leave out n or stream.")
            return (yield from self._ask(messages, options))
        responses: list[Response] = []
        while (have := sum(len(response.choices) for response in responses)) < wanted:
            portion = {**options, "n": min(self.slots, wanted - have)}  # the server refuses more than its slots
            if have and isinstance(options.get("seed"), int):
                portion["seed"] = options["seed"] + have  # the same seed would draw the same answers again
            responses.append((yield from self._ask(messages, portion)))
        return _merge([_without_begun(response, messages) for response in responses])

    def _ask(self, messages: Messages, options: dict[str, Any]) -> Flow[Response]:
        """Ask the server; one that has died is started again, once."""
        transport = self._connected() or (yield blocking(self._connect))
        try:
            response: Response = yield ask(transport, messages, options)
        except LLMConnectionError:
            if not (yield blocking(self._died)):
                raise
            transport = yield blocking(self._connect)
            try:
                response = yield ask(transport, messages, options)
            except LLMConnectionError as error:
                yield blocking(self._died)
                last = self._transport[0].log_tail() if self._transport else ""
                raise LLMServerError(
                    f"The local server died twice on this request ({last}): free memory, or make the request smaller."
                ) from error
        if not isinstance(response, Stream) and len(response.choices) > 1:
            return (yield from _count_all(transport, response))
        return response

    def _connected(self) -> OpenAICompatible | None:
        held = self._transport
        return held[1] if held is not None and held[0].alive else None

    def _died(self) -> bool:
        held = self._transport
        return held is None or held[0].ended(within=1.0)

    def _connect(self) -> OpenAICompatible:
        require_extra()
        server = server_for(self._settled())
        held = self._transport
        if held is None or held[0] is not server:
            transport = OpenAICompatible(
                server.url, Path(self.model_name).stem, api_key=server.key, timeout=self.timeout, profile=self.profile
            )
            held = self._transport = (server, transport)
        return held[1]

    def _settled(self) -> ServerConfig:
        if self._config is None:
            sources = self._sources or Sources.of(os.environ)
            path = (
                find_weights(self.known, sources, self._report or watch())
                if self.known
                else check_gguf(Path(self.model_name))
            )
            self._config = ServerConfig(path.absolute(), self.threads or usable_cores(), self.context, self.slots)
        return self._config

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_transport": None, "_config": None, "_report": None}

    def __repr__(self) -> str:
        return f"LocalLLM({self.model_name!r})"


def _is_path(name: str) -> bool:
    return name not in KNOWN_MODELS and (name.endswith(".gguf") or os.path.sep in name or os.path.exists(name))


def _without_begun(response: Response, messages: Messages) -> Response:
    """llama.cpp repeats the begun message before its continuation; a profile "prefill" promises it does not."""
    last: Mapping[str, Any] = messages[-1] if messages else {}
    begun = last.get("content")
    if last.get("role") != "assistant" or not isinstance(begun, str):
        return response
    return replace(response, choices=tuple(_cut(choice, begun) for choice in response.choices))


def _cut(choice: Choice, begun: str) -> Choice:
    return replace(choice, message=Message(choice.message.content.removeprefix(begun), choice.message.role))


def _count_all(transport: OpenAICompatible, response: Response) -> Flow[Response]:
    """llama.cpp counts the tokens of the first of several answers only: count the others."""
    if response.usage.completion_tokens is None:
        return response
    total = response.usage.completion_tokens
    for choice in response.choices[1:]:
        body = yield from transport.post("tokenize", {"content": choice.message.content})
        tokens = json.loads(body).get("tokens")
        total += len(tokens) if isinstance(tokens, list) else 0
    return replace(response, usage=TokenUsage(response.usage.prompt_tokens, total))


def _merge(responses: list[Response]) -> Response:
    """Several portions as one response; tokens add up, unknown stays unknown."""
    if len(responses) == 1:
        return responses[0]
    prompts = [response.usage.prompt_tokens for response in responses]
    replies = [response.usage.completion_tokens for response in responses]
    usage = TokenUsage(
        None if None in prompts else sum(count or 0 for count in prompts),
        None if None in replies else sum(count or 0 for count in replies),
    )
    choices = tuple(choice for response in responses for choice in response.choices)
    return Response(choices, usage, responses[0].model)
