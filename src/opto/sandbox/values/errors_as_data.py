"""Errors ↔ data: an exception in a worker becomes one in the program, with a traceback that shows the same lines.

Imports leaves and `value_codec`.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from types import CodeType
from typing import Any

from opto import errors
from opto.errors import OptoError, SandboxCrashError, SandboxError, SandboxForbiddenError, SandboxMemoryError
from opto.program import RUNNING, TEXT
from opto.sandbox.values.value_codec import decode, encode

__all__ = ["Place", "error_data", "error_of", "with_traceback"]

Place = tuple[str, int, str, int]
"""File, first line of the function, its name, the line that was running."""

_MOST_PLACES, _MOST_TEXT, _MOST_NAME, _MOST_ARGUMENTS, _MOST_LINES = 50, 10_000, 200, 8, 100_000
_OWN = "opto"


def error_data(error: BaseException, memory: int, *, held: bool = True) -> dict[str, Any]:
    """The error as data, with its attributes if `held`."""
    places = list(_places(error))
    error = _in_our_words(error, memory)
    kind = type(error)
    kinds = [[base.__module__, base.__qualname__] for base in kind.__mro__]
    arguments = [_argument_data(a) for a in _arguments(error)[:_MOST_ARGUMENTS]]
    return {"kinds": kinds, "args": arguments, "places": places, "held": _held(error) if held else {}}


def _held(error: BaseException) -> Any:
    """The attributes of the error, if they are little data."""
    try:
        tree = encode(vars(error))
    except Exception:  # noqa: BLE001 - objects of the code
        return {}
    return tree if len(repr(tree)) <= _MOST_TEXT else {}


def _arguments(error: BaseException) -> tuple[Any, ...]:
    """The arguments that make such an error: OSError keeps names of files apart from its `args`."""
    if isinstance(error, UnicodeError) and any(
        len(a) > _MOST_TEXT // 4 for a in error.args if isinstance(a, str | bytes)
    ):
        return (error,)  # its words: without all of its text the places in that mean nothing
    reduced: Any = OSError.__reduce__(error) if isinstance(error, OSError) else (None, error.args)
    return tuple(reduced[1])


def _in_our_words(error: BaseException, memory: int) -> BaseException:
    if isinstance(error, MemoryError) and not isinstance(error, OptoError):
        return SandboxMemoryError(f"The code needed more than {memory / 2**20:.0f} MB of memory.")
    if isinstance(error, PermissionError) and not isinstance(error, OptoError):
        return SandboxForbiddenError(
            f"{error}. The code runs in a sandbox: no network, no new processes, no files but its own temporary ones."
        )
    if isinstance(error, SystemExit | KeyboardInterrupt | GeneratorExit):
        return SandboxCrashError(f"The code ended its process: {type(error).__name__}: {error}")
    return error


def _argument_data(argument: Any) -> Any:
    try:
        tree = encode(argument)
    except Exception:  # noqa: BLE001 - then its text must do
        tree = None
    try:
        return str(argument)[:_MOST_TEXT] if tree is None or len(repr(tree)) > _MOST_TEXT else tree
    except Exception as error:  # noqa: BLE001 - an object of the code, whose text may not work either
        return f"<{type(argument).__name__}: {type(error).__name__} while it was printed>"


def _places(error: BaseException) -> Iterable[Place]:
    step = error.__traceback__
    found: list[Place] = []
    while step is not None:
        code = step.tb_frame.f_code
        if step.tb_frame.f_globals.get("__name__", "").partition(".")[0] != _OWN or code.co_filename == RUNNING:
            found.append((code.co_filename, code.co_firstlineno, code.co_name, step.tb_lineno))
        step = step.tb_next
    return found if len(found) <= _MOST_PLACES else [*found[:25], *found[-25:]]


# --- in the program: the data may be hostile ------------------------------------------------------


def error_of(data: Any, known: Mapping[tuple[str, str], type]) -> Exception:
    """The exception that the data describes, an instance of the nearest class that the program has."""
    try:
        kinds = [(str(module)[:_MOST_NAME], str(name)[:_MOST_NAME]) for module, name in data["kinds"][:_MOST_PLACES]]
        arguments = [decode(_cut(tree), known) for tree in data["args"][:_MOST_ARGUMENTS]]
    except (KeyError, TypeError, ValueError, OptoError):
        return SandboxCrashError("The code's process sent an error that cannot be read.")
    for position, kind in enumerate(kinds):
        found = _class(kind, known)
        if found is not None:
            made = _made(found if position == 0 else _named(kinds[0], found), arguments)
            made.__dict__.update(_held_of(data.get("held"), known))
            if _has_words(made):
                return made
    return _made(Exception, arguments)


def _held_of(tree: Any, known: Mapping[tuple[str, str], type]) -> dict[str, Any]:
    try:
        if len(json.dumps(tree, ensure_ascii=False).encode()) > 4 * _MOST_TEXT:  # or they cannot be written to a file
            return {}
        held = decode(tree, known)
    except (RecursionError, ValueError, OptoError):
        return {}
    return held if type(held) is dict and all(type(name) is str for name in held) else {}


def _has_words(error: Exception) -> bool:
    """Whether the error can be printed although some of its attributes may be missing."""
    try:
        str(error)
    except Exception:  # noqa: BLE001 - of a class of the program's
        return False
    return True


def _cut(tree: Any) -> Any:
    """The tree, or the beginning of its text if it is long; a text can be written to a file or a socket."""
    text = tree if isinstance(tree, str) else repr(tree)
    if len(text) <= _MOST_TEXT and not isinstance(tree, str):
        return tree
    return text[:_MOST_TEXT].encode("utf-8", "backslashreplace").decode()


def _made(cls: type[Exception], arguments: list[Any]) -> Exception:
    """An instance, without running constructors that the program wrote."""
    native: Any = cls
    while native.__module__ != "builtins":
        native = native.__base__
    try:
        made: Exception = native.__new__(cls, *arguments)
        native.__init__(made, *arguments)
        _check_places(made)
    except (TypeError, ValueError):  # not what such an error is made of
        base = UnicodeError if issubclass(native, UnicodeError) else Exception
        made = _named((cls.__module__, cls.__qualname__), base)(*arguments)
    return made


def _check_places(made: Exception) -> None:
    """ValueError if printing the error would look outside of its text, or draw a line under very much of it."""
    if isinstance(made, UnicodeDecodeError | UnicodeEncodeError | UnicodeTranslateError):
        start, end = made.args[-3:-1]
        good = 0 <= start <= end <= len(made.object)
    elif isinstance(made, SyntaxError):
        numbers, texts = (made.lineno, made.offset, made.end_lineno, made.end_offset), (made.filename, made.text)
        good = all(n is None or (type(n) is int and abs(n) <= _MOST_LINES) for n in numbers)
        good = good and all(t is None or type(t) is str for t in texts)
    else:
        return
    if not good:
        raise ValueError("an error about a place that does not exist")


def _class(kind: tuple[str, str], known: Mapping[tuple[str, str], type]) -> type[Exception] | None:
    module, name = kind
    found: Any = known.get(kind)
    if module == "builtins":
        found = getattr(builtins, name, None)
    elif module == errors.__name__:
        found = getattr(errors, name, None)
        found = found if isinstance(found, type) and issubclass(found, SandboxError) else None
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _named(kind: tuple[str, str], base: type[Exception]) -> type[Exception]:
    """A class that stands for one that the code made itself, under its name."""
    module, name = kind[0], kind[1].rpartition(".")[2]
    module = module if module.replace(".", "_").isidentifier() else "sandbox"
    return type(name if name.isidentifier() else "Error", (base,), {"__module__": module})


def with_traceback(error: Exception, places: Any, text: str, shown: Collection[tuple[str, int, str]]) -> Exception:
    """The error, raised and caught where the code raised it, in lines of `text` and of functions in `shown`."""
    wanted = [p for p in _checked(places) if p[0] == RUNNING or p[:3] in shown]

    def opto_raise() -> None:
        raise error

    raise_it: Callable[[], Any] = opto_raise
    for file, first, name, line in reversed(wanted):
        raise_it = _frame(file, first, name, line, text, raise_it)
    try:
        raise_it()
    except Exception as caught:  # noqa: BLE001 - it is the one we raise
        step = caught.__traceback__
        caught.__traceback__ = None if step is None else step.tb_next
    error.__context__ = None  # an error that the program happens to handle
    return error


def _checked(places: Any) -> list[Place]:
    good = [p for p in places if isinstance(p, list) and len(p) == 4] if isinstance(places, list) else []
    typed = [p for p in good if list(map(type, p)) == [str, int, str, int]]
    short = [p for p in typed[:_MOST_PLACES] if len(p[0]) < 4096 and len(p[2]) <= _MOST_NAME]
    return [tuple(p) for p in short if 0 < p[1] < _MOST_LINES and 0 < p[3] < _MOST_LINES]


def _frame(file: str, first: int, name: str, line: int, text: str, inner: Callable[[], Any]) -> Callable[[], Any]:
    """A function that calls `inner` in what looks like this line of this function."""
    first = min(first, line)
    source = "\n" * (line - first) + "inner()"  # a code object counts its lines from its first
    code: CodeType = compile(source, file, "exec").replace(co_name=name, co_firstlineno=first)
    namespace = {"inner": inner, "__name__": "sandbox", **({TEXT: text} if file == RUNNING else {})}

    def opto_run() -> None:
        exec(code, namespace)

    return opto_run
