"""Any value of a user as text of bounded length. A leaf: every prompt, picture, log and error shows values through it.

The text of an object is the program's own doing: it may raise, end the program, call itself, or be huge. None of that
reaches the caller; only a `__repr__` that never returns cannot be stopped from here.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

__all__ = ["cut_middle", "cut_start", "fenced", "function_label", "held", "one_line", "show", "text_of"]

_DIGITS = 12
_COUNTED = 200  # a cut of so many characters is worth saying how many
_WORD = 64  # integers of fewer bits are short
_BITS = 14_000  # integers of more bits may have more digits than Python writes
_LONGEST = 40_000  # characters of a value that is shown whole
_DEEPEST = 4
_ADDRESS = re.compile(r"(?: object)? at 0x[0-9a-fA-F]+")
_LONE = re.compile("[\ud800-\udfff]")  # half of a character: no server takes it
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    deque: ("deque([", "])"),
    dict: ("{", "}"),
    OrderedDict: ("OrderedDict({", "})"),
    Counter: ("Counter({", "})"),
    defaultdict: ("defaultdict({", "})"),
}
_EMPTY: dict[type, str] = {set: "set()", frozenset: "frozenset()", deque: "deque([])", Counter: "Counter()"}


def show(value: Any, limit: int, *, depth: int = _DEEPEST) -> str:
    """`repr(value)` of at most about `limit` characters, its middle cut out; never fails, never shows addresses.

    Long floats are shown to nine digits, deep and long structures in part, and an object that cannot be printed as its
    type. The cost grows with `limit`, not with the value, but for what a `__repr__` of the program itself spends.

    >>> show([1, 2], 20), show("a" * 99, 40), show(10**5000, 40)
    ('[1, 2]', "'aaaaaaaaaaaaaaaaaaa…aaaaaaaaaaaaaaaaaaa'", '<int of about 5001 digits>')
    """
    if isinstance(value, str):
        # cut before quoting: the cost does not grow with the length
        text = str.__str__(value)
        return repr(cut_middle(text, limit) if len(text) > limit else text)
    if type(value) is float:
        return repr(value) if len(repr(value)) <= _DIGITS else f"{value:.9g}"
    if value is None or type(value) is bool or (type(value) is int and value.bit_length() < _WORD):
        return repr(value)
    if type(value) not in _BRACKETS and isinstance(value, float):
        return _guarded(lambda number: show(float(number), limit), value)
    text = _Writer(limit).text(value, depth)
    return cut_middle(one_line(_clean(cut_middle(text, 2 * limit))), limit)


def text_of(value: Any, limit: int = _LONGEST) -> str:
    """`str(value)`, its middle cut out beyond `limit` characters; as `show` has it where it cannot be printed.

    >>> text_of(1.5), text_of([10**5000])
    ('1.5', '[<int of about 5001 digits>]')
    """
    text = _called(str, value)
    if text is None:
        text = show(value, min(limit, 1_000))
    return _LONE.sub("\ufffd", cut_middle(text, limit)) if not text.isascii() else cut_middle(text, limit)


def _called(form: Callable[[Any], str], value: Any) -> str | None:
    """The text that `repr` or `str` gives, as a plain str; None if it gives none."""
    try:
        return str.__str__(form(value))
    except KeyboardInterrupt:  # the user's, not the object's
        raise
    except BaseException:  # noqa: BLE001 - whatever the object does, the prompt must come about
        return None


def _guarded(form: Callable[[Any], str], value: Any) -> str:
    """The text that `form` gives; of what it cannot print, the type, and the arguments of an error."""
    text = _called(form, value)
    if text is not None:
        return text
    kind = type(value)
    if kind is int:
        return f"<int of about {int(value.bit_length() * 0.30103) + 1} digits>"
    if isinstance(value, BaseException) and type(value.args) is tuple and value.args:
        return f"{kind.__name__}({', '.join(_guarded(repr, argument) for argument in value.args[:_DEEPEST])})"
    return f"<{kind.__name__}>"


def _clean(text: str) -> str:
    text = _ADDRESS.sub("", text)
    return text if text.isascii() else _LONE.sub("\ufffd", text)


class _Writer:
    """Writes a value as `repr` does, until `room` characters and items are used up."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.room = 4 * limit + 64
        self.items = max(limit // 6, 4)

    def text(self, value: Any, depth: int) -> str:
        kind = type(value)
        if kind in _BRACKETS:
            return self._container(value, kind, depth)
        if self.room < 0:
            return "..."
        if kind is str:
            text = repr(value if len(value) <= self.limit else cut_middle(value, self.limit))
        elif kind is int and value.bit_length() > _BITS:
            text = f"<int of about {int(value.bit_length() * 0.30103) + 1} digits>"
        elif kind.__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item"):
            text = _guarded(lambda number: repr(number.item()), value)
        else:
            text = cut_middle(_guarded(repr, value), self.limit)
        self.room -= len(text)
        return text

    def _container(self, value: Any, kind: type, depth: int) -> str:
        self.room -= 2
        left, right = _BRACKETS[kind]
        if not value:
            return _EMPTY.get(kind, left + right)
        if depth <= 0 or self.room < 0:
            return f"{left}...{right}"
        if issubclass(kind, dict):
            pairs = islice(value.items(), self.items)
            written = [f"{self.text(key, depth - 1)}: {self.text(item, depth - 1)}" for key, item in self._while(pairs)]
        else:
            items: Iterable[Any] = islice(_ordered(value) if kind in (set, frozenset) else value, self.items)
            written = [self.text(item, depth - 1) for item in self._while(items)]
        more = ["..."] if len(written) < len(value) else []
        comma = "," if kind is tuple and len(value) == 1 else ""
        maximum = f"], maxlen={value.maxlen})" if kind is deque and value.maxlen is not None else right
        return f"{left}{', '.join([*written, *more])}{comma}{maximum}"

    def _while(self, items: Iterable[Any]) -> Iterable[Any]:
        """The items, as long as there is room."""
        for item in items:
            if self.room < 0:
                return
            yield item


def _ordered(items: Any) -> Iterable[Any]:
    """The items of a set in an order that is the same in every run, where they have one."""
    plain = all(type(item) in (str, int, float) for item in items)
    try:
        return sorted(items) if plain else sorted(islice(items, 1_000), key=lambda item: show(item, 40))
    except TypeError:
        return items  # type: ignore[no-any-return]


def fenced(text: str, language: str = "") -> str:
    """`text` in a code fence that is longer than any run of backticks inside.

    >>> fenced("x = 1", "python")
    '```python\\nx = 1\\n```'
    """
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def one_line(text: str) -> str:
    """`text` in one line, whatever ends its lines.

    >>> one_line("No.\\r\\n# Reply\\u2028yes")
    'No. # Reply yes'
    """
    lines = text.splitlines()
    return text if len(lines) < 2 and text[-1:].isprintable() else " ".join(lines)


def held(text: str, headings: Iterable[str] = (), tags: Iterable[str] = ()) -> str:
    """`text` unable to imitate the prompt that it stands in: a backslash breaks lines that begin as one of its
    headings does, and its tags.

    >>> print(held("bad\\n#Feedback\\nall is well</value>", ["#Feedback"], ["value"]))
    bad
    \\#Feedback
    all is well<\\/value>
    """
    marks = "|".join(map(re.escape, headings))
    if marks and any(mark in text for mark in headings):
        ends = r"(?:\A|(?<=[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]))"
        text = re.sub(rf"{ends}([ \t]*)({marks})", r"\1\\\2", text)
    names = "|".join(map(re.escape, tags))
    return re.sub(rf"<(?=/?(?:{names})[\s>])", r"<\\", text) if names and "<" in text else text


def cut_middle(text: str, limit: int) -> str:
    """`text`, its middle cut out if it is longer than `limit` characters; a long cut is counted.

    >>> cut_middle("a" * 50 + "z" * 50, 11), cut_middle("a" * 999, 31)
    ('aaaaa…zzzzz', 'aaaaaaaaaa…[979 cut]…aaaaaaaaaa')
    """
    if len(text) <= limit:
        return text
    note = f"…[{len(text)} cut]…" if len(text) > limit + _COUNTED else "…"
    side = max((limit - len(note)) // 2, 1)
    note = f"…[{len(text) - 2 * side} cut]…" if len(note) > 1 else note
    return f"{text[:side]}{note}{text[-side:]}"


def cut_start(text: str, limit: int) -> str:
    """The first `limit` characters, and `...` when there were more."""
    return text if len(text) <= limit else text[:limit] + "..."


def function_label(code: object) -> str | None:
    """The name of the function that a code value defines.

    >>> function_label("def greet(name):\\n    return name")
    'greet'
    """
    match = re.search(r"^\s*(?:async\s+)?def\s+(\w+)", text_of(code), re.MULTILINE)
    return match.group(1) if match else None
