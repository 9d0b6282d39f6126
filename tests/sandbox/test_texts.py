"""No text hangs or ends the program that only reads it: its compiler runs in the sandbox too."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

from opto import program
from opto.errors import SandboxTimeoutError, SandboxValueError
from opto.execution import Job, Limits, SuggestedText, using
from opto.sandbox.process import ProcessExecutor
from opto.trace import bundle

TEXTS = {
    "patterns": ("match 1:\n case 1" + "|1" * 32_000 + ": pass", (SandboxTimeoutError, KeyError)),
    "signs": ("x = " + "-" * 7_000 + "1", (SandboxValueError, SyntaxError)),
    "attributes": ("x = a" + ".a" * 30_000, (SandboxTimeoutError, SandboxValueError, KeyError)),
    "branches": ("if a: pass\n" + "elif a: pass\n" * 4_900, (SandboxValueError, KeyError, NameError)),
    "brackets": ("x = " + "(" * 199 + "1" + ")" * 199, (SandboxValueError, SyntaxError, KeyError)),
    "too many brackets": ("x = " + "[" * 1_000, (SyntaxError,)),
    "a null": ("def f(): \0", (SyntaxError, ValueError)),
    "half a letter": ("x = '\ud800'", (UnicodeEncodeError,)),
    "a long line": ("x = '" + "a" * 60_000, (SyntaxError,)),
    "too long": ("#" * 70_000, (SandboxValueError,)),
}


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(Limits(wall_seconds=1.0)) as made:
        yield made


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text(name: str, executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the program itself compiles the text")

    monkeypatch.setattr(program, "_compile", refuse)
    text, kinds = TEXTS[name]
    began = time.process_time()
    error = executor.run(Job(text, "f")).error
    assert isinstance(error, kinds)
    assert time.process_time() - began < 1.0, "it takes this process's time"
    if isinstance(error, SyntaxError) and name != "a null":
        assert error.lineno == 1 and error.filename == program.CODE_FILE


def suggested(text: str) -> Any:
    @bundle(trainable=True)
    def speak(x: int) -> int:
        """Speaks."""
        return x

    assert speak.parameter is not None
    speak.parameter._data = SuggestedText(text)
    return speak


def test_printed_commands_do_not_reach_the_terminal(executor: ProcessExecutor) -> None:
    speak = suggested("import sys\ndef speak(x):\n    print('a\\tb\\x1b]52;c;eA==\\x07\\ud800')\n    return x")
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with using(executor), redirect_stdout(out), redirect_stderr(err):
        assert speak(2).data == 2
        out.flush()
    assert out.buffer.getvalue() == b"a\tb\\x1b]52;c;eA==\\x07\\ud800\n"  # type: ignore[attr-defined]


def test_other_code_calls_no_text_that_is_too_long_to_compile_here(executor: ProcessExecutor) -> None:
    inner = suggested("def speak(x):\n    return x\n" + "#" * 20_000)

    @bundle(trainable=True)
    def outer(x: int) -> Any:
        """Calls."""
        return inner

    assert outer.parameter is not None
    outer.parameter._data = SuggestedText("def outer(x):\n    return inner(x)")
    with using(executor), pytest.raises(Exception, match="too long to be called from other"):
        outer(1)
