"""The corpus of hostile functions, as records. Nothing of it is run or imported here."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
KINDS = {"timeout", "memory", "crash", "value", "error", "quiet"}

_HEADER = re.compile(r"^#: (?P<name>\w+) -> (?P<kinds>[\w |]+)\n#: (?P<purpose>.+)\n", re.MULTILINE)
_REPEATED = re.compile(r"<<(\"[^\"\n]+\") \* (\d+)>>")


@dataclass(frozen=True, slots=True)
class Hostile:
    """One hostile function: the `text` of a code parameter, what it tries, and how a contained call of it may end."""

    name: str
    theme: str
    purpose: str
    kinds: frozenset[str]
    text: str


def load_corpus() -> list[Hostile]:
    """All entries, in the order of their files."""
    return [entry for path in sorted(CORPUS.glob("*.py")) for entry in _entries(path)]


def _entries(path: Path) -> list[Hostile]:
    source = path.read_text(encoding="utf-8")
    headers = list(_HEADER.finditer(source))
    ends = [*(header.start() for header in headers[1:]), len(source)]
    return [
        Hostile(
            header["name"],
            path.stem,
            header["purpose"],
            frozenset(header["kinds"].split(" | ")),
            _REPEATED.sub(_repeat, source[header.end() : end]).strip() + "\n",
        )
        for header, end in zip(headers, ends, strict=True)
    ]


def _repeat(match: re.Match[str]) -> str:
    """`<<"text" * n>>` stands for what would be unreadable in full."""
    text: str = ast.literal_eval(match[1])
    return text * int(match[2])
