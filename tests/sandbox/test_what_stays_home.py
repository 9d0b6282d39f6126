"""What the code may name around it does not carry the program's secrets in."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import opto
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
    "frame": (sys._getframe, "str(thing.f_locals)"),
    "thread": (threading.current_thread, "thing.name"),
}


@pytest.mark.parametrize("name", THINGS)
def test_secret_stays(name: str, executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", SECRET)
    make, expression = THINGS[name]
    scope = Scope(names={"thing": make(), "SECRET": None})
    outcome = executor.run(Job(f"def look():\n    return str({expression})", "look", (), {}, scope))
    assert SECRET not in f"{outcome.value}{outcome.stdout}{outcome.stderr}{outcome.error}"


def test_only_named_globals_travel(executor: ProcessExecutor) -> None:
    scope = Scope(names={"KEY": SECRET, "number": 1})
    text = f"""
import gc

def look():
    secret = {SECRET[::-1]!r}[::-1]
    return number, [name for o in gc.get_objects() if type(o) is dict for name, value in o.items() if value == secret]
"""
    assert executor.run(Job(text, "look", (), {}, scope)).result() == (1, [])


def test_worker_knows_nothing_of_the_program(executor: ProcessExecutor) -> None:
    text = """
def look():
    import os

    def listed(folder):
        try:
            return os.listdir(folder)
        except OSError:
            return []

    places = ("/home", "/root", "/etc", "/proc", "/sys", "/var", "/mnt", "/run", "/dev/shm")
    return sorted(os.environ), os.getcwd(), os.listdir(), {name: listed(name) for name in places if listed(name)}
"""
    names, directory, files, seen = executor.run(Job(text, "look")).result()
    assert set(names) <= {"HOME", "TMPDIR", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PWD", "TZ"}
    assert str(Path.cwd()) != directory
    assert files == []
    assert all(set(found) <= {"ld.so.cache", "localtime"} for found in seen.values()), seen


def test_layers_hold_for_an_installation_below_tmp() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        shutil.copytree(Path(opto.__file__).parent, f"{folder}/opto", ignore=shutil.ignore_patterns("__pycache__"))
        program = "from opto.sandbox.process import ProcessExecutor as P; print(P().layers()['files'])"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env={"PYTHONPATH": folder}, capture_output=True, text=True, check=True)
    with ProcessExecutor(workers=1) as executor:
        assert done.stdout.strip() == str(executor.layers()["files"])
