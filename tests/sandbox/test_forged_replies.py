"""A worker in hostile hands answers what it likes: the program gets an outcome, loses nothing, and goes on."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from trial import LIMITS

from opto.execution import Job, Limits
from opto.sandbox.process import ProcessExecutor

FORGER = '''
def forge(text, times, size):
    """Answers for the worker, in its own framing, and is gone."""
    import os
    import struct

    body = text.encode() if size is None else text.encode() * size
    message = struct.pack("!Q", len(body)) + body
    for number in range(3, 64):
        try:
            for _ in range(times):
                sent = 0
                while sent < len(message):
                    sent += os.write(number, message[sent:])
        except OSError:
            continue
    os._exit(0)
'''

ENDLESS = {"$range": [0, 10**12, 1]}
LONG = {"$int": "0x" + "7" * 500_000}
ERROR = {"kinds": [["builtins", "ValueError"]], "args": ["x"], "places": []}


def error_of(name: str, *args: Any) -> dict[str, Any]:
    return {"error": {"kinds": [["builtins", name]], "args": args, "places": []}}


FORGED: dict[str, Any] = {
    "no object": [1],
    "nothing": None,
    "unknown tag": {"value": {"$nope": 1}},
    "two tags": {"value": {"$set": [], "$list": []}},
    "unhashable key": {"value": {"$dict": [[[], 1]]}},
    "unhashable member": {"value": {"$set": [[1]]}},
    "array of another size": {"value": {"$array": ["<f8", [1 << 40], ""]}},
    "array of objects": {"value": {"$array": ["|O", [1], "AAAAAAAAAAA="]}},
    "array of a strange kind": {"value": {"$array": ["m8[10000000000000000000s]", [1], "AAAAAAAAAAA="]}},
    "scalar of nothing": {"value": {"$array": ["<f8", None, ""]}},
    "object of a foreign class": {"value": {"$object": ["subprocess", "Popen", {"args": "id"}]}},
    "object of a builtin": {"value": {"$object": ["builtins", "type", {}]}},
    "member of a foreign enum": {"value": {"$enum": ["signal", "Signals", "SIGKILL"]}},
    "named tuple of a foreign class": {"value": {"$named": ["os", "stat_result", [1]]}},
    "damaged class": {"value": {"$object": 5}},
    "damaged bytes": {"value": {"$bytes": "%%%"}},
    "damaged date": {"value": {"$date": "tomorrow"}},
    "damaged number": {"value": {"$decimal": [1, 2]}},
    "endless number": {"value": {"$fraction": [1, 0]}},
    "bad factory": {"value": {"$defaultdict": ["exec", {}]}},
    "bad limit": {"value": {"$deque": [[], "x"]}},
    "endless tuple": {"value": {"$tuple": ENDLESS}},
    "endless set": {"value": {"$set": ENDLESS}},
    "endless keys": {"value": {"$dict": [ENDLESS]}},
    "endless pairs": {"value": {"$ordered": [ENDLESS, ENDLESS]}},
    "endless count": {"value": {"$counter": ENDLESS}},
    "endless queue": {"value": {"$deque": [ENDLESS, None]}},
    "endless arguments": {"value": {"$timedelta": ENDLESS}},
    "endless shape": {"value": {"$array": ["|u1", ENDLESS, "AA=="]}},
    "fraction to be shortened for hours": {"value": {"$fraction": [LONG, {"$int": "0x" + "3" * 499_999}]}},
    "fraction of a text": {"value": {"$fraction": ["1e20000000"]}},
    "fraction of a decimal": {"value": {"$fraction": [{"$decimal": "1e20000000"}]}},
    "range to be divided for hours": {"value": {"$range": [0, LONG, {"$int": "0x" + "3" * 250_000}]}},
    "decimal to be converted for hours": {"value": {"$decimal": LONG}},
    "keys of one hash": {"value": {"$set": [k * (2**61 - 1) for k in range(100_000)]}},
    "pairs of one hash": {"value": {"$dict": [[k * (2**61 - 1), 0] for k in range(100_000)]}},
    "letters that do not exist": {"value": {"$array": ["<U1", [1], "////fw=="]}},
    "moment of a zone that is none": {"value": {"$datetime": ["2024-01-01T00:00:00", 0, {"$namespace": {}}]}},
    "moment without parts": {"value": {"$time": "01:02:03"}},
    "zone that is a folder": {"value": {"$zone": "America"}},
    "zone of another folder": {"value": {"$zone": "../../../etc/passwd"}},
    "what an error holds is none": {"error": {**ERROR, "held": {"$dict": [[1, 2]]}}},
    "attributes that are none": {"value": {"$namespace": [1]}},
    "generator that is none": {"kind": "generator", "value": {"x": []}},
    "kind that is none": {"kind": [], "value": 1},
    "words that are none": {"value": 1, "out": 5, "err": {"a": 1}},
    "usage that is none": {"value": 1, "used": [{}, []]},
    "endless usage": {"value": 1, "used": [float("nan"), 10**30]},
    "changes that are none": {"value": 1, "changed": 7},
    "changes of another kind": {"value": 1, "changed": [{}, None]},
    "error that is none": {"error": 5},
    "error without parts": {"error": {}},
    "error of lists": {"error": {"kinds": [[[], {}]], "args": 5, "places": "x"}},
    "error of the system": {"error": {**ERROR, "kinds": [["builtins", "OSError"], ["builtins", "Exception"]]}},
    "error of memory": {"error": {**ERROR, "kinds": [["builtins", "MemoryError"]], "args": []}},
    "error of a group": {"error": {**ERROR, "kinds": [["builtins", "ExceptionGroup"]]}},
    "error of a codec": {"error": {**ERROR, "kinds": [["builtins", "UnicodeDecodeError"]]}},
    "error before its bytes": error_of("UnicodeDecodeError", "a", {"$bytes": "YQ=="}, -(10**12), 1 - 10**12, "r"),
    "error before its text": error_of("UnicodeEncodeError", "a", "a", -5, -4, "r"),
    "error before what it translates": error_of("UnicodeTranslateError", "a", -5, -4, "r"),
    "error of a long line": error_of("SyntaxError", "m", {"$tuple": ["<s>", 1, 1, "a", 1, 10**9]}),
    "error of a line that is none": error_of("SyntaxError", "m", {"$tuple": ["<s>", 1, 1, "a", 1, []]}),
    "error of a text that is none": error_of("SyntaxError", "m", {"$tuple": ["<s>", 1, 1, 7]}),
    "error of a file that is none": error_of("SyntaxError", "m", {"$tuple": [["<s>"], 1, 1, "a"]}),
    "error that ends programs": {"error": {**ERROR, "kinds": [["builtins", "SystemExit"]]}},
    "error that is a function": {"error": {**ERROR, "kinds": [["builtins", "exec"]]}},
    "error of this package": {"error": {**ERROR, "kinds": [["opto.errors", "ExecutionError"]]}},
    "error with places of its own": {
        "error": {**ERROR, "places": [["/etc/passwd", 1, "f", 1], ["<trainable code>", 1, "g", 999_999]]}
    },
    "places that are none": {"error": {**ERROR, "places": [5, ["<trainable code>", True, None, -1], [[], [], [], []]]}},
    "error of the program": {"error": ERROR, "host_error": []},
    "error of nobody": {"error": ERROR, "host_error": 10**9},
    "call of nobody": {"ask": [0, "", [], {}]},
    "call of a private method": {"ask": [0, "__class__", [], {}]},
    "call that is none": {"ask": {"x": 1}},
    "call of a negative one": {"ask": [-1, "", [], {}]},
    "call by a true number": {"ask": [True, "", [], {}]},
}


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(LIMITS, workers=1) as executor:
        yield executor


def test_forger_is_heard(executor: ProcessExecutor) -> None:
    outcome = executor.run(Job(FORGER, "forge", ('{"value": "forged"}', 1, None)))
    assert outcome.value == "forged", "the attack does not reach the program: the other tests here would show nothing"


def check(executor: ProcessExecutor, text: str, times: int = 1, size: int | None = None) -> None:
    outcome = executor.run(Job(FORGER, "forge", (text, times, size)))
    assert len(repr(outcome)) < 100_000
    assert type(outcome.stdout) is type(outcome.stderr) is str
    if outcome.error is not None:
        assert isinstance(outcome.error, Exception)
        shown = "".join(traceback.format_exception(outcome.error))
        assert "root:" not in shown
        assert len(shown) < 1_000_000
    honest = executor.run(Job("def honest(n):\n    return [n, {'a': (1, 2)}]", "honest", (3,)))
    assert honest.result() == [3, {"a": (1, 2)}]


@pytest.mark.parametrize("name", FORGED)
def test_forged_reply(name: str, executor: ProcessExecutor) -> None:
    check(executor, json.dumps(FORGED[name]))


@pytest.mark.parametrize(
    "text", ["", "nonsense", "{", "NaN", '{"value": 1e999}', '{"value": ' + "9" * 5000 + "}", "\x00"]
)
def test_reply_that_is_no_json(text: str, executor: ProcessExecutor) -> None:
    check(executor, text)


@pytest.mark.parametrize("text", ["[", '{"value":', '{"value":[[[[', '{"value":{"$tuple":['])
def test_deep_reply(text: str, executor: ProcessExecutor) -> None:
    check(executor, text, size=50_000)


@pytest.mark.parametrize("text", ["[", '{"value":[', '{"error":{"x":', '[\\"'])
def test_deep_reply_where_the_program_has_lifted_the_limit_of_recursion(text: str, executor: ProcessExecutor) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        check(executor, text, size=200_000)
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python has no limit of digits")
def test_long_number_where_the_program_has_lifted_the_limit_of_digits(executor: ProcessExecutor) -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        check(executor, "9", size=3_000_000)
    finally:
        sys.set_int_max_str_digits(before)


def test_truth_values_of_an_array_are_zero_or_one(executor: ProcessExecutor) -> None:
    outcome = executor.run(Job(FORGER, "forge", (json.dumps({"value": {"$array": ["|b1", [3], "AgAB"]}}), 1, None)))
    assert outcome.result().tobytes() == b"\x01\x00\x01"


def test_words_of_an_error_can_be_written_to_a_file(executor: ProcessExecutor) -> None:
    error = executor.run(Job("def f():\n    raise ValueError('\\ud800', 1)", "f")).error
    assert isinstance(error, ValueError) and error.args == ("\\ud800", 1)


def test_many_replies_at_once(executor: ProcessExecutor) -> None:
    check(executor, '{"value": 1}', times=1000)


def test_endless_calls(executor: ProcessExecutor) -> None:
    check(executor, '{"ask": [0, "", [], {}]}', times=20_000)


def test_long_words_in_an_error_are_cut(executor: ProcessExecutor) -> None:
    long = "x" * 1_000_000
    places = [["<trainable code>", 1, long, 1]]
    check(
        executor,
        json.dumps({"error": {"kinds": [["m", long], ["builtins", "Exception"]], "args": [long], "places": places}}),
    )


def test_allowed_object_gives_its_public_methods_only() -> None:
    class Tool:
        secret = "hidden"

        def __init__(self) -> None:
            self.calls: list[object] = []

        def ask(self, *args: object) -> str:
            self.calls.append(args)
            return "answer"

    tool = Tool()
    code = """
def attack(tool):
    found = []
    for name in ("ask.__globals__", "__class__", "__init__", "_hidden", "secret", "calls", "ask.__func__", ""):
        try:
            found.append(getattr(tool, name)() if name else tool())
        except BaseException as error:
            found.append(type(error).__name__)
    return found, tool.ask(1)
"""
    with ProcessExecutor(Limits(wall_seconds=5), workers=1, allow=[tool]) as executor:
        found, answer = executor.run(Job(code, "attack", (tool,))).result()
    assert answer == "answer"
    assert tool.calls == [(1,)]
    assert "hidden" not in found
    assert not any(name in str(found) for name in ("<", "Tool", os.getcwd()))


def test_short_text_of_very_many_lists_is_refused(executor: ProcessExecutor) -> None:
    outcome = executor.run(Job("def many():\n    return [[] for _ in range(1_100_000)]", "many"), Limits(30, 30))
    assert "more than 1000000 lists and dicts" in str(outcome.error)
