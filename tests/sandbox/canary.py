"""What must not change while hostile code runs, and what must not be seen: prey, watched from before to after."""

from __future__ import annotations

import builtins
import ctypes
import math
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

MARK = "opto-canary-"
"""How everything is called that is left outside, followed by the id of the process attacked."""

_SIGNALS: list[int] = []
_PR_SET_CHILD_SUBREAPER = 36


def watch_process() -> None:
    """Counts signals that arrive here, and makes daemons that lost their parent children of this process.

    To be called once, in the main thread.
    """
    signal.signal(signal.SIGURG, lambda number, _: _SIGNALS.append(number))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """The ids of the live children of this process; Linux only."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except OSError:
            continue
    return {child for child in found if not _is_dead(child)}


def _is_dead(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def descriptors() -> dict[str, str]:
    """What this process has open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the one that lists
    return found


def state_of_process() -> dict[str, Any]:
    """All of this process that a call may not change."""
    return {
        "environment": dict(os.environ),
        "builtins": {name: id(value) for name, value in vars(builtins).items() if name != "_"},
        "modules": set(sys.modules),
        "path": list(sys.path),
        "directory": os.getcwd(),
        "streams": (id(sys.stdout), id(sys.stderr), id(sys.stdin)),
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "recursion": sys.getrecursionlimit(),
        "numbers": (math.pi, 77 + 0 == 7 * 11, len("abc"), isinstance(1, str)),
        "signals": len(_SIGNALS),
        "hooks": (id(sys.excepthook), id(sys.displayhook)),
    }


class Canary:
    """A home with a secret, a victim, listeners. `target` tells a hostile function where; `songs()` what it did."""

    def __init__(self) -> None:
        self.secret = "canary-" + secrets.token_hex(16)
        self.mark = f"{MARK}{os.getpid()}-{secrets.token_hex(8)}"
        self._root = Path(tempfile.mkdtemp(prefix=f"{MARK}{os.getpid()}-"))
        self.home = self._root / "home"
        self._vault = {"vault": self.secret, "kept": [self.secret]}  # with a list in it, the collector knows it
        self._fill_home()
        self._shared = Path("/dev/shm") / (self.mark + "-shared")
        if self._shared.parent.is_dir():
            self._shared.write_text(self.secret)
        os.environ["CANARY_" + self.mark] = self.secret
        self._inherited = os.open(self.home / "secret.txt", os.O_RDONLY)
        os.set_inheritable(self._inherited, True)
        self._start_victim()
        self._listen()
        self._before = self._state()

    def _fill_home(self) -> None:
        self.home.mkdir()
        (self.home / "secret.txt").write_text(self.secret)
        (self.home / "notes.txt").write_text("to be kept\n")
        (self.home / "private_module.py").write_text(f"KEY = {self.secret!r}\n")
        (self.home / "folder").mkdir()
        (self.home / "folder" / "letter.txt").write_text("dear diary\n")

    def _start_victim(self) -> None:
        self.victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()", self.secret],
            stdin=subprocess.PIPE,
            env={"SECRET": self.secret},
        )

    def _listen(self) -> None:
        self._tcp, self._udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._unix, self._log = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._tcp.bind(("127.0.0.1", 0))
        self._udp.bind(("127.0.0.1", 0))
        self._unix.bind(str(self.home / "door"))
        self._log.bind(str(self.home / "door.log"))
        self._generators, self._datagrams = [self._tcp, self._unix], [self._udp, self._log]
        if sys.platform == "linux":
            self._abstract = socket.socket(socket.AF_UNIX)
            self._abstract.bind("\0" + self.mark)
            self._generators.append(self._abstract)
        for door in self._generators:
            door.listen()
        for door in (*self._generators, *self._datagrams):
            door.setblocking(False)

    def target(self) -> dict[str, Any]:
        """Where the prey is, as plain data, made anew for each call."""
        return {
            "home": str(self.home),
            "secret": str(self.home / "secret.txt"),
            "notes": str(self.home / "notes.txt"),
            "host": os.getpid(),
            "victim": self.victim.pid,
            "tcp": self._tcp.getsockname()[1],
            "udp": self._udp.getsockname()[1],
            "unix": str(self.home / "door"),
            "abstract": self.mark,
            "mark": self.mark,
            "shared": self._shared.name,
            "key": int(self.mark[-7:], 16),
            "list": [1, 2, 3],
        }

    def _state(self) -> dict[str, Any]:
        return {
            "files": {str(path.relative_to(self.home)): _file(path) for path in [*self.home.rglob("*"), self.home]},
            "left outside": [str(path) for path in self._outside() if path.exists()],
            "victim": self.victim.poll(),
            "visitors": sum(map(_visitors, self._generators)) + sum(map(_letters, self._datagrams)),
            "shared memory": _shared_with_key(int(self.mark[-7:], 16)),
            "secret": self._vault["vault"] == self.secret == os.environ.get("CANARY_" + self.mark),
        }

    def _outside(self) -> list[Path]:
        folders = {
            "/tmp",
            "/var/tmp",
            "/dev/shm",
            "/run",
            sysconfig.get_paths()["purelib"],
            os.path.dirname(os.__file__),
        }
        folders |= {path for module in list(sys.modules.values()) for path in getattr(module, "__path__", [])}
        return [Path(folder, name) for folder in folders for name in (self.mark, self.mark + ".pth")]

    def songs(self) -> list[str]:
        """What is not as it was, each in a few words."""
        after = self._state()
        songs = [
            f"{what}: {difference(self._before[what], after[what])}"
            for what in after
            if after[what] != self._before[what]
        ]
        return songs

    def close(self) -> None:
        """Removes all prey."""
        os.environ.pop("CANARY_" + self.mark, None)
        if key := _shared_with_key(int(self.mark[-7:], 16)):
            subprocess.run(["ipcrm", *key], check=False, capture_output=True)
        os.close(self._inherited)
        for door in (*self._generators, *self._datagrams):
            door.close()
        self.victim.kill()
        self.victim.communicate()
        sweep(os.getpid(), self.mark)
        shutil.rmtree(self._root, ignore_errors=True)

    def __enter__(self) -> Canary:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _folders() -> set[str]:
    folders = {"/tmp", "/var/tmp", "/dev/shm", "/run", sysconfig.get_paths()["purelib"], os.path.dirname(os.__file__)}
    return folders | {path for module in list(sys.modules.values()) for path in getattr(module, "__path__", [])}


def sweep(process: int, mark: str = "") -> None:
    """Removes what a process that was attacked, and is no more, left outside."""
    for folder in _folders():
        for path in Path(folder).glob((mark or f"{MARK}{process}-") + "*"):
            subprocess.run(["rm", "-rf", "--", str(path)], check=False)


def _file(path: Path) -> tuple[Any, ...]:
    if not path.exists() and not path.is_symlink():
        return ("gone",)
    at = path.lstat()
    content = path.read_bytes() if path.is_file() else b""
    attributes = os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else []
    return at.st_mode, at.st_uid, at.st_nlink, at.st_mtime_ns, content, attributes


def _visitors(door: socket.socket) -> int:
    """How many connections wait here; each is taken, so the caller compares with none."""
    return _count(lambda: door.accept()[0].close())


def _letters(box: socket.socket) -> int:
    return _count(lambda: box.recv(1))


def _count(take: Any) -> int:
    count = 0
    while True:
        try:
            take()
        except OSError:
            return count
        count += 1


def _shared_with_key(key: int) -> list[str]:
    """The arguments by which `ipcrm` removes what was left under this key."""
    found = []
    for kind, option in (("shm", "-M"), ("msg", "-Q")):
        table = Path("/proc/sysvipc", kind)
        if table.exists() and any(line.split()[:1] == [str(key)] for line in table.read_text().splitlines()):
            found += [option, str(key)]
    return found


def difference(before: Any, after: Any) -> str:
    """What is in the one and not in the other."""
    if isinstance(before, dict) and isinstance(after, dict):
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        return ", ".join(sorted(map(str, changed)))
    if isinstance(before, set) and isinstance(after, set):
        return ", ".join(sorted(map(str, before ^ after)))
    return f"{before!r} became {after!r}"
