"""What the code may name around it does not carry the program's secrets in."""

from __future__ import annotations

import functools
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opto.execution import Job, Scope
from opto.llm import OpenAICompatible
from opto.sandbox.process import ProcessExecutor

SECRET = "canary-of-the-program"


def helper() -> Any:
    """As a program's own helper function reads its settings."""
    return os.environ.get("CANARY_KEY")


@pytest.fixture(scope="module")
def executor() -> Any:
    with ProcessExecutor(workers=2) as executor:
        yield executor


THINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "environment": (lambda: os.environ, "dict(thing)"),
    "its method": (lambda: os.environ.get, "thing('CANARY_KEY')"),
    "its bytes": (lambda: os.environb, "str(dict(thing))"),
    "partial of it": (lambda: functools.partial(os.environ.get, "CANARY_KEY"), "thing()"),
    "inside of a list": (lambda: [{"deep": os.environ}], "dict(thing[0]['deep'])"),
    "module": (lambda: os, "dict(thing.environ)"),
    "helper function": (lambda: helper, "thing()"),
    "model": (
        lambda: OpenAICompatible("http://127.0.0.1:9", "m", api_key=SECRET),
        "[repr(thing), str(thing), thing.x]",
    ),
    "open file": (lambda: open(__file__), "thing.read()"),
    "frame": (sys._getframe, "str(thing.f_locals)"),
    "thread": (threading.current_thread, "thing.name"),
    "socket": (socket.socket, "thing.fileno()"),
}


@pytest.mark.parametrize("name", THINGS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_secret_stays(name: str, executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", SECRET)
    make, expression = THINGS[name]
    scope = Scope(names={"thing": make(), "SECRET": None})
    outcome = executor.run(Job(f"def look():\n    return str({expression})", "look", (), {}, scope))
    assert SECRET not in f"{outcome.value}{outcome.stdout}{outcome.stderr}{outcome.error}"


def test_only_named_globals_travel(executor: ProcessExecutor) -> None:
    scope = Scope(names={"KEY": SECRET, "number": 1})
    text = "import gc\n\ndef look():\n    return [number, sum('canary' in str(o) for o in gc.get_objects() if type(o) is dict)]"
    assert executor.run(Job(text, "look", (), {}, scope)).result() == [1, 0]


def test_worker_knows_nothing_of_the_program(executor: ProcessExecutor, tmp_path: Path) -> None:
    text = """
def look():
    import os
    import sys

    folders = [p for p in ("/home", "/root", "/etc", "/proc", "/sys", "/var", "/mnt", "/run") if os.path.exists(p) and os.listdir(p)]
    return sorted(os.environ), sys.argv[1:], os.getcwd(), os.listdir(), folders
"""
    names, arguments, directory, files, folders = executor.run(Job(text, "look")).result()
    assert set(names) <= {"HOME", "TMPDIR", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PWD"}
    assert str(Path.cwd()) != directory
    assert files == []
    assert SECRET not in str(arguments)
    installed = [
        p
        for p in folders
        if not any(q.startswith(p + "/") for q in (sys.prefix, sys.base_prefix, *sys.path, "/etc/ld"))
    ]
    assert installed == []
