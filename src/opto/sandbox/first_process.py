"""The program's side of the sandbox's first process, which starts clean and forks the workers (`worker.zygote`).

Imports `installation`, `wire`, `confinement`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from opto.errors import SandboxError
from opto.execution import Limits
from opto.registry import PRELOADED_IN_SANDBOX
from opto.sandbox.installation import import_path, package_root, readable_paths
from opto.sandbox.layers.confinement import WorkerLimits, remove_folder
from opto.sandbox.values import wire

__all__ = ["End", "FirstProcess", "limits_of_worker"]

_log = logging.getLogger(__name__)

_BOOT = (
    "import json, sys, importlib.util as u\n"
    "path, root, control = json.loads(sys.argv[1])\n"
    "sys.path[:] = path\n"
    "spec = u.spec_from_file_location('opto', root + '/__init__.py', submodule_search_locations=[root])\n"
    "sys.modules['opto'] = opto = u.module_from_spec(spec)\n"
    "spec.loader.exec_module(opto)\n"
    "from opto.registry import implementation\n"
    "implementation('sandbox zygote')(control)\n"
)
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_PRELOAD = ("collections", "functools", "itertools", "math", "random", "re")
_warned_of: set[str] = set()


class End(NamedTuple):
    """How a worker ended: its exit code, or the signal that killed it, and what it used.

    -1 and no signal: unknown.
    """

    code: int = -1
    signal: int = 0
    seconds: float = 0.0
    memory: int = 0


def limits_of_worker(limits: Limits) -> WorkerLimits:
    """The limits that a worker keeps all its life."""
    return WorkerLimits(limits.memory_bytes, limits.processes, limits.open_files)


class FirstProcess:
    """A running first process. `settings` are those of `Confinement`, but for the paths, which are found here.

    `report` says of each layer of protection None where it holds, else why not.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if not hasattr(os, "fork"):
            raise SandboxError(
                "The executor 'process' needs POSIX (Linux, macOS): here, use WSL, or the executor 'monty' for plain "
                "functions, or let code that a model wrote run in your program, at your own risk: with "
                'opto.sandbox.using("unsafe")'
            )
        temporary = "/scratch" if any(p.startswith("/tmp/") for p in readable_paths()) else "/tmp"
        self._folder = ""
        self._orders, theirs = socket.socketpair()
        try:
            with theirs:
                self._folder = tempfile.mkdtemp(prefix="opto-sandbox-")
                self._process = _launched(theirs.fileno(), temporary)
        except BaseException:
            self._orders.close()
            self._remove_folder()
            raise
        paths = {"root": self._folder, "readable": readable_paths(), "temporary": temporary}
        preload = [*_PRELOAD, *(name for name in PRELOADED_IN_SANDBOX if name in sys.modules)]
        try:
            wire.send(self._orders, json.dumps({**settings, **paths, "preload": preload}).encode())
            report: dict[str, str | None] = json.loads(wire.receive(self._orders))
        except (EOFError, OSError):
            report = {"failed": "it ended before it was ready, and may be out of memory"}
        if "failed" in report:
            self.close()
            raise SandboxError(f"The sandbox's first process did not start: {report['failed']}.")
        self.report = report
        if report["files"] is None:  # its root is in memory, and nothing leads there from here
            self._remove_folder()
        _warn_of_missing_layers(report)

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def spawn(self, number: int, limits: WorkerLimits, handles: Sequence[int]) -> None:
        """Starts the worker of this number, with two descriptors: its connection, and a pipe for its stack."""
        socket.send_fds(self._orders, [wire.ORDER.pack(wire.SPAWN, number, *limits)], handles)

    def end(self, number: int) -> End:
        """Ends the worker of this number, with all that it started."""
        try:
            self._orders.sendall(wire.ORDER.pack(wire.END, number, 0, 0, 0))
            answer = self._orders.recv(wire.ANSWER.size, socket.MSG_WAITALL)
        except OSError as error:
            _log.debug("The sandbox's first process does not answer: %s", error)
            answer = b""
        if len(answer) < wire.ANSWER.size:  # it has ended, and its workers with it
            return End()
        status, user, system, memory = wire.ANSWER.unpack(answer)
        if status < 0:
            return End()
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        return End(code, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, user + system, memory)

    def close(self) -> None:
        """Ends the process, and so its workers."""
        self._orders.close()
        self._process.wait()
        self._remove_folder()

    def _remove_folder(self) -> None:
        folder, self._folder = self._folder, ""  # once only: later the name may be another's
        if folder:
            remove_folder(folder)

    def abandon(self) -> None:
        """In a fork of the program: leaves the process to the parent."""
        self._orders.close()
        self._process.returncode = 0  # no child of this process: nothing to wait for


def _warn_of_missing_layers(report: dict[str, str | None]) -> None:
    """Logs the layers that this machine lacks, each once in the life of the program."""
    missing = {layer: why for layer, why in report.items() if why not in (None, "switched off")}
    fresh = missing.keys() - _warned_of
    if fresh:
        _warned_of.update(fresh)
        listed = "; ".join(f"{layer} ({missing[layer]})" for layer in sorted(fresh))
        _log.warning("Code that a model wrote runs with fewer layers of protection on this machine, without %s", listed)


def _launched(control: int, temporary: str) -> subprocess.Popen[bytes]:
    """The first process, with nothing of the program but the socket `control`."""
    arguments = json.dumps([import_path(), package_root(), control])
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", _BOOT, arguments],
        env={**_ENVIRONMENT, **_time_zone(), "HOME": temporary, "TMPDIR": temporary},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(control,),
        start_new_session=True,
    )


def _time_zone() -> dict[str, str]:
    """The one environment variable that workers get, so that their clocks show the same time."""
    return {name: os.environ[name] for name in ("TZ",) if name in os.environ}
