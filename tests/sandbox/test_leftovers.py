"""What stays of an executor when its program is killed, and of a worker that had no file system of its own: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from opto.execution import Job
from opto.sandbox.process import ProcessExecutor

PROGRAM = """
import sys
from opto.execution import Job
from opto.sandbox.process import ProcessExecutor

executor = ProcessExecutor(without=sys.argv[1:])
print(executor.run(Job("def f():\\n    open('left', 'w').close()\\n    return 'ready'", "f")).result(), flush=True)
sys.stdin.read()
"""
NO_MOUNTS = ("files", "temporary")
PATIENCE_SECONDS = 20.0


@pytest.mark.parametrize("without", [(), NO_MOUNTS, ("processes", *NO_MOUNTS)], ids=str)
def test_nothing_is_left_when_the_program_is_killed(without: tuple[str, ...], tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, *without]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as running:
        assert running.stdout is not None and running.stdout.readline() == "ready\n"
        running.kill()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while os.listdir(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.listdir(tmp_path) == []


def test_no_folder_is_needed_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ProcessExecutor() as executor:
        if executor.layers()["files"] is not None:
            pytest.skip(f"no mount namespace here: {executor.layers()['files']}")
        assert os.listdir(tmp_path) == []
        assert executor.run(Job("def f():\n    open('a', 'w').close()\n    return open('a').read()", "f")).value == ""


@pytest.mark.parametrize("without", [NO_MOUNTS, ("processes", *NO_MOUNTS)], ids=str)
def test_without_mounts_a_worker_writes_into_a_folder_of_its_own(
    without: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = """
import os, tempfile

def f(path, name):
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    with open(name, "w"):
        pass
    try:
        with open(path, "w"):
            return os.listdir(), "escaped"
    except OSError as error:
        return os.listdir(), type(error).__name__
"""
    with ProcessExecutor(without=without, workers=1) as executor:
        if executor.layers()["landlock"] is not None:
            pytest.skip(f"no Landlock here: {executor.layers()['landlock']}")
        for name in "ab":  # each text has a worker; with one at most the first has ended when the second begins
            outcome = executor.run(Job(f"{text}# {name}", "f", (str(tmp_path / "outside"), name)))
            assert outcome.result() == ([name], "PermissionError")
            assert [path.name for path in tmp_path.glob("*/*/*")] == [name]
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_when_the_first_process_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no processes left")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with ProcessExecutor() as executor:
        assert "no processes left" in str(executor.run(Job("def f():\n    return 1", "f")).error)
    assert os.listdir(tmp_path) == []
