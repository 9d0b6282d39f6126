"""One hostile call and the honest one after it, judged: was it contained?"""

from __future__ import annotations

import time
import traceback
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from canary import Canary, difference, state_of_process
from hostile import Hostile

from opto.errors import (
    SandboxCrashError,
    SandboxForbiddenError,
    SandboxMemoryError,
    SandboxTimeoutError,
    SandboxValueError,
)
from opto.execution import Executor, Job, Limits, Outcome

LIMITS = Limits(wall_seconds=2.5, cpu_seconds=2, memory_bytes=1 << 28, value_bytes=1 << 22, processes=8, open_files=48)
SHORT = LIMITS._replace(wall_seconds=0.5, cpu_seconds=0.4)
PATIENT = LIMITS._replace(wall_seconds=20, cpu_seconds=10)
SLACK_SECONDS = 5.0
MOST_NODES = 2_000_000

KINDS: tuple[tuple[type[Exception], str], ...] = (
    (SandboxTimeoutError, "timeout"),
    (SandboxMemoryError, "memory"),
    (SandboxCrashError, "crash"),
    (SandboxValueError, "value"),
    (MemoryError, "memory"),
    (Exception, "error"),
)

assert unicodedata.name("a")  # the compiler loads it for letters beyond ASCII: let that not count as a change

HONEST = '''
def honest(n):
    """Uses what hostile code likes to change, and says what it finds."""
    import codecs, decimal, gc, json, math, os, random, statistics, sys, threading, time, warnings

    class Pair:
        def __init__(self, a, b):
            self.both = [a, b]

    deep = lambda k: k and 1 + deep(k - 1)
    with open("honest.txt", "w") as file:
        print("written", file=file)
    print("said", n)
    return {
        "files": sorted(os.listdir(".")), "file": open("honest.txt").read(), "environment": "LEFT" in os.environ,
        "pi": math.pi, "root": math.sqrt(16.0), "hoard": hasattr(math, "hoard"), "bomb": hasattr(math, "bomb"),
        "json": json.dumps({"a": [1, None]}), "encoder": json.JSONEncoder().encode([1]),
        "opened": open(os.devnull).read(),
        "mean": statistics.mean([1, 2, 6]), "median": statistics.median([3, 1, 2]), "bits": (5).bit_length(),
        "number": 70 + n, "text": "ab" + "c", "length": len([1, 2]), "is": (isinstance(1, str), issubclass(int, str)),
        "pair": Pair(1, 2).both, "sorted": sorted([2, 1]), "sum": sum([1, 2]), "type": type(n).__name__,
        "error": caught(lambda: 1 / 0), "raised": caught(lambda: int("x")), "deep": deep(200),
        "decimal": str(decimal.Decimal(1) / 3), "random": random.random() != 0.5, "trace": sys.gettrace(),
        "codec": caught(lambda: "\\u0fff".encode("ascii")), "collector": gc.isenabled(),
        "threads": threading.active_count(), "warns": warnings.warn.__name__, "late": time.sleep(0.01),
        "paths": any(p in ("", os.getcwd()) for p in sys.path),
    }


def caught(act):
    try:
        return act()
    except Exception as error:
        return type(error).__name__
'''


MODEST = """
def honest(n):
    import json, math

    print("said", n)
    return [json.dumps({"a": [1, None]}), math.pi, len("abc"), isinstance(n, int), sorted([2, 1]), 70 + n, "ab" + "c"]
"""
"""For executors that refuse to import most of what `HONEST` looks at."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a hostile call ended and what speaks against its having been contained, if anything does."""

    kind: str
    complaints: tuple[str, ...]
    note: str = ""

    @property
    def contained(self) -> bool:
        return not self.complaints


def kind_of(outcome: Outcome) -> str:
    """The word of the corpus for this end."""
    if outcome.error is None:
        return "quiet"
    return next(word for kind, word in KINDS if isinstance(outcome.error, kind))


def limits_for(entry: Hostile) -> Limits:
    """Short ones where nothing but time can end the call; enough for a busy machine where time must not end it."""
    if entry.kinds == {"timeout"}:
        return SHORT
    return LIMITS if "timeout" in entry.kinds else PATIENT


def honest_answer(executor: Executor, text: str = HONEST) -> Any:
    """What the honest function says, its words included; an error if it fails."""
    outcome = executor.run(Job(text, "honest", (7,)), PATIENT)
    if outcome.error is not None:
        return "".join(traceback.format_exception_only(outcome.error))[-2000:]
    return outcome.value, outcome.stdout, outcome.stderr


def attempt(
    executor: Executor, entry: Hostile, canary: Canary, honest: Any, text: str = HONEST, *, any_end: bool = False
) -> Verdict:
    """Runs one entry; `honest` is what the honest `text` answered in an executor that nobody had attacked.

    With `any_end` it does not matter how the call ends, as an executor that refuses or lacks something ends it early,
    nor what it imported.
    """
    before, target, limits = state_of_process(), canary.target(), limits_for(entry)
    began = time.monotonic()
    try:
        outcome = executor.run(Job(entry.text, entry.name, (target,)), limits)
    except BaseException as error:  # an executor raises nothing, so all that comes is a complaint
        return Verdict("raised", (f"the executor raised {type(error).__name__}: {str(error)[:200]}",))
    kind, complaints, seconds = kind_of(outcome), [], time.monotonic() - began
    if seconds > limits.wall_seconds + SLACK_SECONDS:
        complaints.append(f"took {seconds:.1f} s, though {limits.wall_seconds:g} s are the limit")
    if not any_end and kind not in entry.kinds and not isinstance(outcome.error, SandboxForbiddenError):
        complaints.append(f"ended in {kind}, not in {' or '.join(sorted(entry.kinds))}")
    complaints += _leaks(outcome, canary)
    if target != canary.target():
        complaints.append("changed its arguments in the host")
    note = _note(outcome)
    del outcome  # what acts when it is let go does so now
    after = honest_answer(executor, text)
    if after != honest:
        complaints.append(f"the next honest call: {_first_difference(after, honest)}")
    complaints += canary.songs()
    now = state_of_process()
    if any_end:  # code in the program may import
        now["modules"] = before["modules"] & now["modules"]
    complaints += [f"host's {k} changed: {difference(before[k], now[k])}" for k in before if before[k] != now[k]]
    return Verdict(kind, tuple(complaints), note)


def _leaks(outcome: Outcome, canary: Canary) -> Iterator[str]:
    """What of the secret came out, in any way in which an outcome is read."""
    try:
        shown = [outcome.stdout, outcome.stderr, *_texts(outcome.value)]
        shown += traceback.format_exception(outcome.error) if outcome.error else [repr(outcome.value)[:10000]]
        asked = outcome.value == 77, bool(outcome.value), outcome.value.__class__
        assert len(asked) == 3
    except ValueError as error:
        if "digits" not in str(error):  # only an integer too long to print
            yield f"reading the outcome raised {error!r}"
        return
    except BaseException as error:
        yield f"reading the outcome raised {type(error).__name__}: {str(error)[:200]}"
        return
    if any(canary.secret in text for text in shown):
        yield "the secret came out"
    if outcome.error is None and any("escaped" in text for text in shown):
        yield next(text for text in shown if "escaped" in text)[:200]
    sizes = len(outcome.stdout) + len(outcome.stderr) + sum(map(len, shown))
    if sizes > 4 * (LIMITS.output_bytes + LIMITS.value_bytes):
        yield f"{sizes} characters came out"


def _texts(value: Any) -> Iterator[str]:
    """All texts inside plain data, walked as the host's own code would walk it."""
    stack, seen = [value], 0
    while stack:
        seen += 1
        if seen > MOST_NODES:
            raise OverflowError("a value without an end")
        at = stack.pop()
        if isinstance(at, str):
            yield at
        elif isinstance(at, bytes):
            yield at.decode("latin-1")
        elif isinstance(at, list | tuple | set | frozenset):
            stack.extend(at)
        elif isinstance(at, dict):
            stack.extend([*at.keys(), *at.values()])


def _note(outcome: Outcome) -> str:
    return f"{type(outcome.error).__name__}: {str(outcome.error)[:300]}" if outcome.error is not None else ""


def _first_difference(after: Any, honest: Any) -> str:
    if isinstance(after, tuple) and isinstance(honest, tuple) and isinstance(after[0], dict):
        for key in honest[0]:
            if after[0].get(key) != honest[0][key]:
                return f"{key} is {after[0].get(key)!r}, not {honest[0][key]!r}"
    return str(after)[-300:]
