"""One of a few options: texts, numbers, functions, models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opto.errors import SpaceError
from opto.show import text_of
from opto.trace.records import same_value
from opto.trace.spaces.space import Space

__all__ = ["Choice"]

_SHOWN = 20


class Choice(Space):
    """One of `options`: a list, or a dict label -> option for options that a reply or a file cannot hold.

    Without labels, texts and numbers stand for themselves, functions and classes for their names, models for their
    `model_name`. Copies of a parameter share the options.

    >>> Choice(["terse", "kind"])("kind")
    'kind'
    >>> Choice({"first": min, "last": max}).read("last", convert=str)
    <built-in function max>
    """

    def __init__(self, options: Iterable[Any] | Mapping[str, Any]) -> None:
        super().__init__()
        self.options: dict[str, Any] = (
            dict(options) if isinstance(options, Mapping) else _labelled([*options])  # pyright: ignore[reportUnknownArgumentType]
        )
        if not self.options:
            raise ValueError("A choice has at least one option.")
        shown = list(self.options)[:_SHOWN]
        more = len(self.options) - len(shown)
        self.constraint = f"one of: {', '.join(shown)}{f' and {more} more' if more else ''}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the options, in order."""
        return tuple(self.options)

    def project(self, x: Any) -> Any:
        return self.options[self._label(x)]

    def read(self, said: Any, convert: Callable[[Any], Any]) -> Any:
        text = str(said).strip().strip("\"'`")
        if text in self.options:
            return self.options[text]
        alike = [label for label in self.options if label.lower() == text.lower()] or self._equal_numbers(text)
        return self.options[alike[0]] if len(alike) == 1 else self.project(said)

    def _equal_numbers(self, text: str) -> list[str]:
        """The labels of the numbers that a text spells in another way: 1.0 for 1."""
        try:
            number = float(text)
        except ValueError:
            return []
        return [label for label, option in self.options.items() if type(option) in (int, float) and option == number]

    def plain(self, value: Any) -> str:
        return self._label(value)

    def _label(self, value: Any) -> str:
        for label, option in self.options.items():
            if option is value or (type(option) is type(value) and same_value(option, value)):
                return label
        raise SpaceError(f"{text_of(value, 60)!r} is not {self.constraint}")

    def _shared(self) -> Iterable[Any]:
        return self.options.values()


def _labelled(options: list[Any]) -> dict[str, Any]:
    labels = [_label_of(option) for option in options]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(f"Several options would be called {', '.join(repeated)}: give a dict of label -> option.")
    return dict(zip(labels, options, strict=True))


def _label_of(option: Any) -> str:
    if isinstance(option, str):
        return option
    if option is None or isinstance(option, (bool, int, float)):
        return repr(option)
    name = getattr(option, "__name__", None) or getattr(option, "model_name", None)
    if not isinstance(name, str):
        raise ValueError(
            f"An option of type {type(option).__name__} has no name of its own: give a dict label -> option."
        )
    return name
