"""The workers of an executor: started when first needed, each for one text all its life, replaced when they die.

Imports `wire`, `installation`, `surroundings`.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from io import FileIO
from typing import Any, NamedTuple

from opto.errors import SandboxError
from opto.execution import Limits, Scope
from opto.registry import PRELOADED_IN_SANDBOX
from opto.sandbox.installation import import_path, package_root, readable_paths
from opto.sandbox.layers.confinement import remove_folder
from opto.sandbox.values import wire
from opto.sandbox.values.surroundings import Surroundings
from opto.sandbox.values.to_worker import Serializer

__all__ = ["ANSWERING", "End", "Pool", "Worker"]

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
_DEEPEST_CALLS = 16
_LONGEST_STACK, _MOST_WAIT = 1 << 16, 1.0
_warned_of: set[str] = set()
_PRELOAD = ("collections", "functools", "itertools", "math", "random", "re")


class End(NamedTuple):
    """How a worker ended: its exit code, or the signal that killed it; what it used; its stack (`crash_stack`).

    With -1 and no signal nobody knows.
    """

    code: int
    signal: int
    seconds: float
    memory: int
    stack: bytes


@dataclass(slots=True, eq=False)
class Worker:
    """The program's side of a worker."""

    number: int
    connection: socket.socket
    pipe: FileIO
    """What C code in the worker writes its stack to."""
    key: Any
    scope: Scope
    """Kept alive, as the key names it by its id."""
    serializer: Serializer
    surroundings: Surroundings | None = None
    """None until the worker has read its text."""
    defined: bool = False
    cpu_seconds: float = 0.0

    def wait_for_stack(self) -> None:
        """Waits a moment until it has written its stack: on a busy machine its clock may be late."""
        listening = select.poll()
        listening.register(self.pipe, select.POLLIN)
        listening.poll(_MOST_WAIT * 1000)

    def hang_up(self) -> None:
        """Lets whoever waits for its answer know that none comes; the descriptors stay theirs to close."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes what leads to it."""
        self.connection.close()
        self.pipe.close()


ANSWERING: ContextVar[tuple[Worker, ...]] = ContextVar("opto_sandbox_answering", default=())
"""The workers whose calls of the program are being answered in this context: they wait for it."""


class Pool:
    """Leases workers. At most `most` live at once; who wants one more waits, unless a worker waits for it."""

    def __init__(self, most: int, allow: tuple[Any, ...], *, without: tuple[str, ...], limits: Limits) -> None:
        self.allow = allow
        self._most = most
        self._settings = {"without": without, "workers": most, "limits": _of_process(limits)}
        self._change = threading.Condition()
        self._idle: list[Worker] = []
        self._living: dict[int, Worker | None] = {}
        self._numbers = 0
        self._control = threading.Lock()
        self._orders: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self._pid = os.getpid()
        self._report: dict[str, str | None] = {}

    # --- leasing ---

    def lease(self, key: Any, scope: Scope, limits: Limits) -> Worker:
        """A worker for this key, which stands for a text, its scope and limits: an idle one, else a new one."""
        self._forget_if_forked()
        with self._control:
            self._started()
        old: Worker | None = None
        waiting = len(ANSWERING.get())
        if waiting > _DEEPEST_CALLS:
            raise SandboxError(f"Code in the sandbox and the program called each other {waiting} times over.")
        with self._change:
            while True:
                for place in range(len(self._idle) - 1, -1, -1):
                    if self._idle[place].key == key:
                        return self._idle.pop(place)
                if len(self._living) < self._most:
                    break
                if self._idle:
                    old = self._idle.pop(0)
                    break
                if waiting:
                    break
                self._change.wait()
            self._numbers += 1
            number = self._numbers
            self._living[number] = None
        try:
            if old is not None:
                self.end(old)
            return self._new(number, key, scope, limits)
        except BaseException:
            with self._change:
                self._living.pop(number, None)
                self._change.notify()
            raise

    def lease_same(self, worker: Worker) -> bool:
        """Leases this worker, waiting until it is idle; False if it is no more."""
        if worker in ANSWERING.get():
            raise SandboxError("The generator is already running: it waits for the call that wants its next value.")
        self._forget_if_forked()
        with self._change:
            while True:
                if worker in self._idle:
                    self._idle.remove(worker)
                    return True
                if self._living.get(worker.number) is not worker:
                    return False
                self._change.wait()

    def give_back(self, worker: Worker) -> None:
        """The worker may serve others, unless the pool was closed meanwhile."""
        with self._change:
            if self._living.get(worker.number) is worker:
                self._idle.append(worker)
            else:
                worker.close()
            self._change.notify_all()

    def _new(self, number: int, key: Any, scope: Scope, limits: Limits) -> Worker:
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        worker = Worker(number, ours, FileIO(reading), key, scope, Serializer(self.allow))
        order = wire.ORDER.pack(wire.SPAWN, number, *_of_process(limits))
        try:
            with self._control:
                socket.send_fds(self._started(), [order], [theirs.fileno(), writing])
        except BaseException:
            worker.close()
            raise
        finally:
            theirs.close()
            os.close(writing)
        with self._change:
            self._living[number] = worker
        return worker

    def end(self, worker: Worker) -> End:
        """Ends a leased worker, with all that it started."""
        worker.connection.close()
        answer = b""
        try:
            with self._control:
                if self._orders is not None:
                    self._orders.sendall(wire.ORDER.pack(wire.END, worker.number, 0, 0, 0))
                    answer = self._orders.recv(wire.ANSWER.size, socket.MSG_WAITALL)
        except OSError as error:  # it has ended, and the workers with it
            _log.debug("The sandbox's first process does not answer: %s", error)
        try:
            stack = worker.pipe.read(_LONGEST_STACK) or b""
        finally:
            worker.close()
            with self._change:
                self._living.pop(worker.number, None)
                self._change.notify_all()
        status, user, system, memory = wire.ANSWER.unpack(answer) if len(answer) == wire.ANSWER.size else wire.UNKNOWN
        if status < 0:
            return End(-1, 0, 0.0, 0, stack)
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        return End(code, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, user + system, memory, stack)

    # --- the first process ---

    def layers(self) -> dict[str, str | None]:
        """Each layer of protection: None where it holds, else why not."""
        self._forget_if_forked()
        with self._control:
            self._started()
            return dict(self._report)

    def _started(self) -> socket.socket:
        """The socket for orders to the first process, which is started unless it runs; `_control` must be held."""
        if self._orders is not None and self._process is not None and self._process.poll() is None:
            return self._orders
        if not hasattr(os, "fork"):
            raise SandboxError(
                "The executor 'process' needs POSIX (Linux, macOS): here, use WSL, or the executor 'monty' for plain "
                "functions, or let code that a model wrote run in your program, at your own risk: with "
                'opto.sandbox.using("unsafe")'
            )
        self._bury()
        self._folder = tempfile.mkdtemp(prefix="opto-sandbox-")
        temporary = "/scratch" if any(p.startswith("/tmp/") for p in readable_paths()) else "/tmp"
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _launched(theirs.fileno(), temporary)
        settings = {
            "root": self._folder,
            "readable": readable_paths(),
            "temporary": temporary,
            "preload": [*_PRELOAD, *(name for name in PRELOADED_IN_SANDBOX if name in sys.modules)],
            **self._settings,
        }
        try:
            wire.send(ours, json.dumps(settings).encode())
            report = json.loads(wire.receive(ours))
        except (EOFError, OSError):
            ours.close()
            raise SandboxError(
                "The sandbox's first process ended before it was ready: it may be out of memory."
            ) from None
        if "failed" in report:
            ours.close()
            raise SandboxError(f"The sandbox's first process did not start: {report['failed']}")
        self._report, self._orders = report, ours
        if report["files"] is None:  # its root is in memory, and nothing leads there from here
            self._remove_folder()
        _warn_of_missing_layers(report)
        return ours

    def _bury(self) -> None:
        """Lets go of what is left of a first process that has died, and of the workers that died with it."""
        orders, self._orders = self._orders, None
        if orders is not None:
            orders.close()
        self._remove_folder()
        with self._change:
            for worker in self._idle:
                worker.close()
                self._living.pop(worker.number, None)
            self._idle.clear()

    def _remove_folder(self) -> None:
        folder, self._folder = self._folder, ""
        if folder:
            remove_folder(folder)

    def close(self) -> None:
        """Ends all workers. A fork of the program has none, and leaves those of its parent alone."""
        self._forget_if_forked()
        with self._control, self._change:
            for worker in self._living.values():
                if worker in self._idle:
                    worker.close()
                elif worker is not None:
                    worker.hang_up()
            self._idle.clear()
            self._living.clear()
            orders, process, self._orders, self._process = self._orders, self._process, None, None
            self._change.notify_all()
        if orders is not None:
            orders.close()
        if process is not None:
            process.wait()
        self._remove_folder()

    def _forget_if_forked(self) -> None:
        """In a fork of the program, lets go of the workers: they are the parent's."""
        if os.getpid() == self._pid:
            return
        for worker in self._living.values():
            if worker is not None:
                worker.close()
        if self._orders is not None:
            self._orders.close()
        if self._process is not None:
            self._process.returncode = 0  # no child of this process: nothing to wait for
        self._change, self._control = threading.Condition(), threading.Lock()
        self._idle, self._living = [], {}
        self._orders = self._process = None
        self._folder, self._pid = "", os.getpid()


def _of_process(limits: Limits) -> tuple[int, int, int]:
    """The limits that a worker keeps all its life."""
    return limits.memory_bytes, limits.processes, limits.open_files


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
    """All of the program's environment that its workers have: what the clock shows is the same there."""
    return {name: os.environ[name] for name in ("TZ",) if name in os.environ}
