"""Confines a worker, layer by layer: each is put on where the system has it, and missing ones are reported.

Imports the modules of the single layers.
"""

from __future__ import annotations

import os
import signal
from _thread import start_new_thread
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

from opto.sandbox.layers import landlock, namespaces, seccomp
from opto.sandbox.layers.kernel import IS_LINUX, prctl, unshare

__all__ = ["LAYERS", "Confinement", "WorkerLimits", "remove_folder"]

resource: Any = import_module("resource") if os.name == "posix" else None  # the names below are read everywhere

LAYERS: dict[str, str] = {
    "users": "a user namespace: rights over nothing outside",
    "network": "a network namespace: no interface, not even loopback",
    "ipc": "namespaces of System V communication and host names",
    "files": "a mount namespace: only the Python installation, read only, and an empty temporary directory",
    "processes": "a process namespace: no other process is seen, and all end with the worker",
    "temporary": "a temporary directory of each worker's own, in memory and of limited size",
    "limits": "resource limits: memory, CPU time, open files, threads, size of files",
    "rights": "no capabilities, and no way to gain any",
    "landlock": "Landlock: the kernel refuses files outside the Python installation and the temporary directory",
    "seccomp": "seccomp: no sockets, no new processes, only system calls of a list",
}
"""The layers from outermost to innermost, and what each is for."""

_DEATH_SIGNAL = 1
_LONG = 1 << 30
_UNCOUNTED = "they hold, but for the number of threads, which is not counted here"


class WorkerLimits(NamedTuple):
    """The limits that a worker keeps all its life; `processes` are threads beside its own."""

    memory_bytes: int
    processes: int
    open_files: int


class Confinement:
    """Puts the layers on. `settings` come from the program: `without`, `readable`, `root`, `temporary`,
    `workers` (how many may live at once), and `limits`, those of a worker to try the layers with.

    `report` maps a layer to None where it holds, else to the reason why not.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.without = frozenset(settings["without"])
        self.report: dict[str, str | None] = {}
        self._own_namespace: int | None = None

    def _try(self, layer: str, act: Callable[[], None]) -> bool:
        if layer in self.without:
            self.report[layer] = "switched off"
            return False
        try:
            act()
        except (OSError, ValueError, KeyError) as error:
            self.report[layer] = str(error)
            return False
        self.report.setdefault(layer, None)
        return True

    # --- once, before any worker ---

    def enter(self) -> None:
        """Moves this process into namespaces of its own."""
        with suppress(OSError):  # without the right to, or where there are no such numbers; `_find_out` looks
            namespaces.be_counted()
        self._try("users", namespaces.new_users)
        self._try("network", lambda: unshare(namespaces.NETWORK))
        self._try("ipc", lambda: unshare(namespaces.OTHERS))

    def first_of_namespace(self) -> int:
        """Forks into a process namespace, if there are any. Returns 0 in the process that is to go on."""
        if not self._try("processes", lambda: unshare(namespaces.PROCESSES)):
            return 0
        child = os.fork()
        if child == 0:
            prctl(_DEATH_SIGNAL, signal.SIGKILL)
        return child

    def build(self) -> None:
        """Builds the file system that workers see, and tries their layers."""
        if self.report.get("processes", "") is None:
            self._own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        readable, root, temporary = (self.settings[name] for name in ("readable", "root", "temporary"))
        self._try("files", lambda: namespaces.own_files(root, readable, temporary))
        for layer in ("temporary", "limits", "rights", "landlock", "seccomp"):
            self.report.setdefault(layer, "switched off" if layer in self.without else None)
        self._find_out()

    def _find_out(self) -> None:
        """Reports which of the workers' layers are missing: a first child tries them."""
        reading, writing = os.pipe()
        child = self.fork()
        if child == 0:
            try:
                missing = {
                    **self.hold_worker(0, WorkerLimits(*self.settings["limits"]), keep=[writing]),
                    **self._uncounted(),
                }
                os.write(writing, "\n".join(f"{k}\t{v}" for k, v in missing.items()).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as told:
            self.report.update({k: v for k, _, v in (line.partition("\t") for line in told.read().splitlines())})
        os.waitpid(child, 0)

    def _uncounted(self) -> dict[str, str]:
        """In the first child: the report if nothing limits the number of threads."""
        if self.report["limits"] is not None or not hasattr(resource, "RLIMIT_NPROC"):
            return {}
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            start_new_thread(lambda: None, ())
        except RuntimeError:
            return {}
        return {"limits": _UNCOUNTED}

    # --- each worker ---

    def fork(self) -> int:
        """Forks; the child is the first of a process namespace if there are any."""
        if self._own_namespace is None:
            return os.fork()
        unshare(namespaces.PROCESSES)  # the next child is the first process of a namespace of its own
        child = os.fork()
        if child:
            namespaces.usual_processes(self._own_namespace)
        return child

    def hold_worker(self, number: int, limits: WorkerLimits, keep: Sequence[int]) -> dict[str, str]:
        """Puts the inner layers on this process; returns the missing ones. Only the descriptors `keep` stay open."""
        if IS_LINUX:
            prctl(_DEATH_SIGNAL, signal.SIGKILL)
        _close_all_but(keep)
        inner, size = Confinement(self.settings), limits.memory_bytes // 4
        if not inner._try("temporary", lambda: namespaces.own_temporary(self.settings["temporary"], size)):
            _plain_temporary(self._place(number))
        here = os.getcwd()
        writable = ["/dev/null"] if here == "/" else ["/dev/null", here]
        inner._try("limits", lambda: _limit(limits, self._countable(limits.processes)))
        inner._try("rights", namespaces.drop_rights)
        inner._try("landlock", lambda: landlock.restrict([*self.settings["readable"], *namespaces.DEVICES], writable))
        inner._try("seccomp", lambda: seccomp.install(own_files=self.report["files"] is None))
        return {layer: reason for layer, reason in inner.report.items() if reason is not None}

    def _place(self, number: int) -> str:
        """The temporary directory of a worker that has no mount of its own."""
        return os.path.join(self.settings["root"], f"worker-{number}")

    def clear(self, number: int) -> None:
        """Removes the files of a worker that has ended."""
        if self.report["temporary"] is not None:
            remove_folder(self._place(number))

    def _countable(self, processes: int) -> int | None:
        """The limit of threads for this worker's user; None if the user has threads outside of the sandbox."""
        each = processes + 1
        together = each * int(self.settings["workers"]) + 2  # the first process, and one that is to take over
        if self.report.get("users", "") is not None:
            return together if os.getuid() != os.geteuid() else None
        try:
            unshare(namespaces.USERS)  # in one of its own, a worker's threads are counted alone
        except OSError:  # there are no more: all workers have one
            return together
        return each


def remove_folder(folder: str) -> None:
    """Removes a folder, as far as possible."""
    from shutil import rmtree  # here: most of what it loads is for archives, and few need it

    with suppress(RecursionError):  # folders in folders, thousands deep
        rmtree(folder, ignore_errors=True)


def _plain_temporary(place: str) -> None:
    try:
        os.mkdir(place, 0o700)
        os.chdir(place)
        os.environ["HOME"] = os.environ["TMPDIR"] = place
    except OSError:  # then it has none
        os.chdir("/")


def _close_all_but(keep: Sequence[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    top = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    ends = [2, *sorted(keep), min(top, 1 << 20)]
    for before, after in pairwise(ends):
        os.closerange(before + 1, after)


def _limit(limits: WorkerLimits, threads: int | None) -> None:
    wanted: Iterable[tuple[str, int | None]] = (
        ("RLIMIT_AS", limits.memory_bytes),
        ("RLIMIT_CPU", _LONG),  # each worker lowers it
        ("RLIMIT_FSIZE", limits.memory_bytes // 4),
        ("RLIMIT_NOFILE", limits.open_files),
        ("RLIMIT_NPROC", threads),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
    )
    for name, value in wanted:
        number = getattr(resource, name, None)
        if number is not None and value is not None:
            hard = resource.getrlimit(number)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))
    if threads is None:
        raise OSError(_UNCOUNTED)
