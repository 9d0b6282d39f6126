"""An edit as a patch: search/replace blocks or a unified diff, applied whole or not at all.

Models misquote. What a patch looks for is sought first exactly, then without regard to blanks at line ends, to
indentation (the new lines are then indented as the old ones were) and to blanks within lines; of several places the one
nearest to the line number of a diff is taken. A place that is not found, or that cannot be told from another, refuses
the whole patch, with a reason that the model can act on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from opto.errors import ReplyError
from opto.optimizers.problem.problem import Problem

__all__ = ["Edit", "apply_patch", "as_patch", "find_patches", "has_markers"]

_SEARCH = re.compile(r"<{5,9}(?:[ \t]*[A-Za-z]+)?[ \t]*")
_DIVIDER = re.compile(r"={5,9}[ \t]*")
_REPLACE = re.compile(r">{5,9}(?:[ \t]*[A-Za-z]+)?[ \t]*")
_MARKER = re.compile(r"(?:<{5,9}|>{5,9})[ \t]*[A-Z]+[ \t]*")
_HUNK = re.compile(r"@@(?:[ \t]*-(\d{1,9})(?:,(\d{1,9}))?[ \t]+\+\d+(?:,(\d{1,9}))?)?.*")
_FENCE = re.compile(r"`{3,}[\w+-]*[ \t]*")
_FILE = ("--- ", "+++ ", "diff --git ", "index ")


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines to find and the lines to put there; `near` is the index where a diff says they are."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    near: int | None = None


def as_patch(said: Any) -> tuple[Edit, ...] | None:
    """The edits that a suggested value spells; None if it is no patch. ReplyError if it is one but damaged.

    >>> as_patch("<<<<<<< SEARCH\\nold\\n=======\\nnew\\n>>>>>>> REPLACE")
    (Edit(old=('old',), new=('new',), near=None),)
    >>> as_patch("a new text") is None
    True
    """
    if isinstance(said, (list, tuple, dict)):
        return _from_pairs(said)
    if not isinstance(said, str):
        return None
    lines = _unfenced(said.replace("\r\n", "\n").split("\n"))
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return None
    if _SEARCH.fullmatch(lines[first]) or has_markers(said):
        return _from_blocks(lines)
    if lines[first].startswith("@@") or _is_file(lines, first):
        return _from_diff(lines)
    return None


def has_markers(text: str) -> bool:
    """Whether a line of a text is a marker of search/replace blocks: a new text that has one is no new text.

    >>> has_markers("a\\n>>>>>>> REPLACE"), has_markers("a >> b")
    (True, False)
    """
    return (
        any(_MARKER.fullmatch(line.rstrip("\r")) for line in text.split("\n"))
        if ">>>>>" in text or "<<<<<" in text
        else False
    )


def apply_patch(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; ReplyError, and nothing made, if one has no place or more than one.

    >>> apply_patch("a\\nb\\nc", [Edit(("b",), ("x", "y"))])
    'a\\nx\\ny\\nc'
    """
    ending = "\r\n" if "\r\n" in text and text.count("\r\n") == text.count("\n") else "\n"
    lines, moved = text.split(ending), 0
    for number, edit in enumerate(edits, 1):
        try:
            lines, grown = _edited(lines, edit, moved)
        except ReplyError as error:
            raise ReplyError(f"the patch does not apply: in edit {number}, {error}") from error
        moved += grown
    return ending.join(lines)


# --- reading ---


def _unfenced(lines: list[str]) -> list[str]:
    """The lines inside a fence that was put around them all."""
    start, end = 0, len(lines)
    while start < end and not lines[start].strip():
        start += 1
    if start < end and _FENCE.fullmatch(lines[start].strip()):
        start += 1
        while end > start and not lines[end - 1].strip():
            end -= 1
        end -= lines[end - 1].strip().startswith("```") if end > start else 0
    return lines[start:end]


def _from_pairs(said: Any) -> tuple[Edit, ...] | None:
    """`{"search": old, "replace": new}`, or a list of such."""
    pairs: list[Any] = [said] if isinstance(said, dict) else list(said)
    if not pairs or not all(isinstance(pair, dict) and {"search", "replace"} <= set(pair) for pair in pairs):
        return None
    return tuple(Edit(_lines(str(pair["search"])), _lines(str(pair["replace"]))) for pair in pairs)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def _from_blocks(lines: Sequence[str]) -> tuple[Edit, ...]:
    edits: list[Edit] = []
    at = 0
    while (at := _next(lines, at, _SEARCH)) < len(lines):
        middle = _next(lines, at + 1, _DIVIDER)
        end = _next(lines, middle + 1, _REPLACE)
        if end >= len(lines) or _next(lines, at + 1, _SEARCH) < end:
            raise ReplyError(f"the search/replace block {len(edits) + 1} is not finished")
        edits.append(Edit(tuple(lines[at + 1 : middle]), tuple(lines[middle + 1 : end])))
        at = end + 1
    if not edits:
        raise ReplyError("a search/replace block has no beginning")
    return tuple(edits)


def _next(lines: Sequence[str], start: int, marker: re.Pattern[str]) -> int:
    return next((i for i in range(start, len(lines)) if marker.fullmatch(lines[i])), len(lines))


def _from_diff(lines: Sequence[str]) -> tuple[Edit, ...]:
    edits: list[Edit] = []
    at = next((i for i, line in enumerate(lines) if line.startswith("@@")), len(lines))
    while at < len(lines):
        head = _HUNK.fullmatch(lines[at])
        assert head is not None  # it starts with @@
        edit, at = _hunk(lines, at + 1, head)
        edits.append(edit)
    if not edits:
        raise ReplyError("the diff has no hunk: each begins with a line @@ -line,count +line,count @@")
    return tuple(edits)


def _hunk(lines: Sequence[str], at: int, head: re.Match[str]) -> tuple[Edit, int]:
    """The edit of a hunk, and where the next one starts.

    Models miscount: the counts only tell a removed line `-- x` from the header of another file, and where blanks end.
    """
    wanted = None if head[1] is None else (int(head[2] or 1), int(head[3] or 1))
    body: list[str] = []
    while at < len(lines) and not lines[at].startswith("@@"):
        if _is_file(lines, at) and (wanted is None or _sizes(body) >= wanted):
            at = next((i for i in range(at, len(lines)) if lines[i].startswith("@@")), len(lines))
            break
        body.append(lines[at])
        at += 1
    while body and not body[-1] and (wanted is None or _sizes(body)[0] > wanted[0]):
        body.pop()
    old = tuple(_content(line) for line in body if not line.startswith(("+", "\\")))
    new = tuple(_content(line) for line in body if not line.startswith(("-", "\\")))
    near = None if head[1] is None else int(head[1]) - (1 if old else 0)
    return Edit(old, new, near), at


def _is_file(lines: Sequence[str], at: int) -> bool:
    return lines[at].startswith("diff --git ") or (
        lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")
    )


def _sizes(body: Sequence[str]) -> tuple[int, int]:
    """How many lines of the old and of the new text it has so far."""
    return sum(not x.startswith(("+", "\\")) for x in body), sum(not x.startswith(("-", "\\")) for x in body)


def _content(line: str) -> str:
    """A line without its mark; a model that forgot the blank before a line of context is forgiven."""
    return line[1:] if line.startswith((" ", "+", "-")) else line


# --- making ---

_Same = Callable[[str], str]


def _collapsed(line: str) -> str:
    return " ".join(line.split())


_WAYS: tuple[_Same, ...] = (lambda line: line, str.rstrip, str.strip, _collapsed)
"""What of a line must agree, from strict to lax."""


def _edited(lines: list[str], edit: Edit, moved: int) -> tuple[list[str], int]:
    """The lines with one edit made, and by how many lines they grew."""
    near = None if edit.near is None else edit.near + moved
    if not edit.old:
        at = _insertion(lines, near)
        kept = [] if lines == [""] and near is None else lines
        return [*kept[:at], *edit.new, *kept[at:]], len(edit.new) - (len(lines) - len(kept))
    for same in _WAYS:
        wanted, found = [same(line) for line in edit.old], [same(line) for line in lines]
        places = [i for i in range(len(lines) - len(wanted) + 1) if found[i : i + len(wanted)] == wanted]
        if places:
            at = _chosen(places, near)
            old = lines[at : at + len(wanted)]
            new = list(edit.new) if same in _WAYS[:2] else _indented(edit, old)
            return [*lines[:at], *new, *lines[at + len(wanted) :]], len(new) - len(wanted)
    inside = _within_a_line(lines, edit) if near is None else None
    if inside is not None:
        return inside, len(inside) - len(lines)
    bare = Edit(_bare(edit.old), _bare(edit.new), edit.near)
    if near is None and bare.old and bare.old != edit.old:
        return _edited(lines, bare, moved)
    raise ReplyError(f"these lines are not in the text: {_quoted(edit.old)}{_nearest(lines, edit.old)}")


def _bare(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Without blank lines at the ends."""
    filled = [i for i, line in enumerate(lines) if line.strip()]
    return lines[filled[0] : filled[-1] + 1] if filled else ()


def _insertion(lines: list[str], near: int | None) -> int:
    if near is None and lines == [""]:
        return 0
    if near is None:
        raise ReplyError("nothing to search for is given: quote the lines before the new ones")
    return min(max(near, 0), len(lines))


def _within_a_line(lines: list[str], edit: Edit) -> list[str] | None:
    """A search for some words of one line."""
    if len(edit.old) != 1 or not edit.old[0].strip():
        return None
    sought = re.compile(rf"(?:(?<!\w)|(?!\w)){re.escape(edit.old[0])}(?:(?!\w)|(?<!\w))")
    found = [(i, match) for i, line in enumerate(lines) for match in sought.finditer(line)]
    if len(found) > 1:
        raise ReplyError(f"{edit.old[0][:80]!r} is in the text {len(found)} times: quote the whole lines around it")
    if not found:
        return None
    at, match = found[0]
    changed = lines[at][: match.start()] + "\n".join(edit.new) + lines[at][match.end() :]
    return [*lines[:at], *changed.split("\n"), *lines[at + 1 :]]


def _chosen(places: list[int], near: int | None) -> int:
    if len(places) == 1:
        return places[0]
    if near is None:
        raise ReplyError(f"its lines are in the text {len(places)} times: quote more lines around them")
    return min(places, key=lambda place: (abs(place - near), place))


def _indented(edit: Edit, found: Sequence[str]) -> list[str]:
    """The new lines, indented as the text is: what was quoted with one indentation tells what it really is."""
    kept = dict(zip(edit.old, found, strict=True))  # a line of context stays exactly as it is
    really = {_indent(quoted): _indent(line) for quoted, line in kept.items() if quoted.strip()}
    new: list[str] = []
    for line in edit.new:
        own = _indent(line)
        known = max((indent for indent in really if own.startswith(indent)), key=len, default=None)
        if line in kept or not line.strip() or known is None:
            new.append(kept.get(line, line))
        else:
            new.append(really[known] + own[len(known) :] + line.lstrip())
    return new


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _quoted(lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    return repr(text if len(text) <= 120 else f"{text[:117]}...")


def _nearest(lines: Sequence[str], old: Sequence[str]) -> str:
    """The line of the text most like the first that is not there."""
    present = {line.strip() for line in lines}
    missing = next((line for line in old if line.strip() and line.strip() not in present), None)
    alike = difflib.get_close_matches(missing or "", lines[:2_000], 1, 0.6) if missing and len(missing) < 400 else []
    return f"; the nearest line is {alike[0][:120]!r}" if alike else ""


# --- finding, in a whole reply ---


def find_patches(text: str, problem: Problem) -> tuple[dict[str, str], str | None]:
    """(patches by part name, what is wrong) of a reply that holds patches in no other form.

    A part is named by the words before its patch or by the patch's own header; else it is the only one that fits.
    """
    values: dict[str, str] = {}
    fault = None
    for words, patch in _sections(text):
        named = [n for n in problem.names if re.search(rf"(?<![\w.]){re.escape(n)}(?![\w])", words)]
        name, why = (named[-1], None) if named else _fitting(patch, problem)
        fault = fault or why
        if name is not None:
            values[name] = f"{values[name]}\n{patch}" if name in values else patch
    return values, None if values else fault


def _fitting(patch: str, problem: Problem) -> tuple[str | None, str | None]:
    """(the part that a patch is for, why there is none)."""
    texts = [part for part in problem.parts if isinstance(part.value, str)]
    if len(texts) == 1:
        return texts[0].name, None
    fitting: list[str] = []
    reason = "no part is a text"
    for part in texts:
        try:
            apply_patch(part.value, as_patch(patch) or ())
            fitting.append(part.name)
        except ReplyError as error:
            reason = str(error)
    if len(fitting) == 1:
        return fitting[0], None
    which = f"fits several parts: name one of {', '.join(fitting)}" if fitting else f"fits none of the parts; {reason}"
    return None, f"a patch without the name of a part {which}"


def _sections(text: str) -> list[tuple[str, str]]:
    """(words before it and its header, patch) for each patch in a text."""
    lines = text.split("\n")
    found: list[tuple[str, str]] = []
    last = at = 0
    while at < len(lines):
        if _SEARCH.fullmatch(lines[at]):
            end = min(_next(lines, at, _REPLACE) + 1, len(lines))
        elif lines[at].startswith("@@") or _is_file(lines, at):
            end = next((i for i in range(at, len(lines)) if lines[i].startswith("```")), len(lines))
        else:
            at += 1
            continue
        header = [line for line in lines[at : at + 2] if line.startswith(_FILE)]
        found.append(("\n".join([*lines[max(last, at - 4) : at], *header]), "\n".join(lines[at:end])))
        last = at = end
    return found
