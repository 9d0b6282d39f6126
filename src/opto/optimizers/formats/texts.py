"""The prompt texts: files in `prompts/`, read when first needed."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["PromptText", "fill", "prompt_text"]

_FOLDER = Path(__file__).parent / "prompts"


@cache
def prompt_text(name: str) -> str:
    """The text of `prompts/<name>.txt` without its last newline."""
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n")


def fill(name: str, /, **values: object) -> str:
    """The prompt text `name` with each `{key}` replaced; braces inside a value are left alone."""
    return re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), prompt_text(name))


class PromptText:
    """A class attribute that reads its text from a prompt file; an instance may assign its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any = None) -> str:
        return prompt_text(self.name)
