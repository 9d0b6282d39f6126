"""Models behind AutoGen's client, and the configuration list it reads."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opto.errors import LLMConfigError, MissingExtraError
from opto.llm.backends.common import Backend

__all__ = ["AutoGenLLM", "auto_construct_oai_config_list_from_env"]

Config = Mapping[str, Any]


class AutoGenLLM(Backend):
    """AutoGen's `OpenAIWrapper` as a model; constructing needs autogen, importing does not.

    The configuration is the argument, else OAI_CONFIG_LIST (a file's name or JSON), else built from the keys
    in the environment. Its client tries again by itself, which no budget sees, unless an entry says
    `"max_retries": 0`. `filter_dict` keeps the entries whose fields have one of the given values.
    """

    def __init__(
        self,
        config_list: Sequence[Config] | None = None,
        filter_dict: Mapping[str, Sequence[Any]] | None = None,
        reset_freq: float | None = None,
    ) -> None:
        self._wrapper = _openai_wrapper()
        found = list(config_list) if config_list is not None else _config_list()
        self.config_list = [
            entry for entry in found if all(entry.get(field) in values for field, values in (filter_dict or {}).items())
        ]
        super().__init__(self._build, reset_freq)
        self.model_name = str(self.config_list[0].get("model", "")) if self.config_list else ""

    @property
    def model(self) -> Any:
        return self.create

    def create(self, **config: Any) -> Any:
        """Complete a chat."""
        if config.get("embedding"):
            raise LLMConfigError("AutoGen's client gives no vectors: embed with OpenAICompatible or LiteLLM.")
        return self._live().create(**{**self.default_options, **config})

    def _build(self) -> Any:
        return self._wrapper(config_list=self.config_list)


def auto_construct_oai_config_list_from_env() -> list[dict[str, str]]:
    """One entry for each of OPENAI_API_KEY and ANTHROPIC_API_KEY that is set."""
    found: list[dict[str, str]] = []
    if key := os.environ.get("OPENAI_API_KEY"):
        found.append({"model": "gpt-4o", "api_key": key})
    if key := os.environ.get("ANTHROPIC_API_KEY"):
        found.append({"model": "claude-sonnet-4-5", "api_key": key, "api_type": "anthropic"})
    return found


def _openai_wrapper() -> Any:
    try:
        return importlib.import_module("autogen").OpenAIWrapper
    except (ImportError, AttributeError) as error:
        raise MissingExtraError("autogen", "autogen", "AutoGenLLM") from error


def _config_list() -> list[Config]:
    named = os.environ.get("OAI_CONFIG_LIST")
    if not named and not Path("OAI_CONFIG_LIST").is_file():
        return list(auto_construct_oai_config_list_from_env())
    text = named or "OAI_CONFIG_LIST"
    try:
        entries = json.loads(text if text.lstrip().startswith("[") else Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LLMConfigError("OAI_CONFIG_LIST is neither a readable JSON file nor a JSON list.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise LLMConfigError("OAI_CONFIG_LIST must hold a JSON list of objects.")
    return entries
