"""One server process for each model and setting, shared by the whole of this process, ended with it."""

from __future__ import annotations

import atexit
import importlib.util
import math
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from opto.errors import LLMServerError, LLMTimeoutError, MissingExtraError
from opto.llm.local import server
from opto.llm.local.known_models import KEY_VARIABLE

__all__ = [
    "LocalServer",
    "ServerConfig",
    "close_servers",
    "require_extra",
    "server_command",
    "server_for",
    "usable_cores",
]


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The settings of a server process; equal settings share one process."""

    model: Path
    threads: int
    context: int
    slots: int
    start_limit: float = 180.0


# Waiting threads must sleep, not spin: on two cores that something else uses too, spinning cost
# five sixths of the speed (2.2 against 13.8 tokens a second, Qwen 1.5B beside another server).
_PATIENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}

Command = Callable[[ServerConfig], Sequence[str]]


def usable_cores(limit_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Processors that this process may use, by affinity and by the container's quota (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (float(part) for part in limit_file.read_text().split())
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
    return max(1, min(cores, math.ceil(quota / period))) if period > 0 else cores


def require_extra(purpose: str = "The model on this machine") -> None:
    """Raise MissingExtraError unless the extra `local` is installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtraError("xllamacpp", "local", purpose)


def server_command(config: ServerConfig) -> list[str]:
    """How the real server is started."""
    command = [sys.executable, "-m", server.__name__, str(config.model)]
    return [*command, f"--threads={config.threads}", f"--context={config.context}", f"--slots={config.slots}"]


class LocalServer:
    """A running server process: its address, its key, whether it lives, its last words."""

    def __init__(self, config: ServerConfig, command: Command = server_command) -> None:
        self.config = config
        self.key = secrets.token_urlsafe(24)
        self._owner = os.getpid()
        self._words: deque[str] = deque(maxlen=20)
        self._process = self._launch(command)
        self.url = self._await_address()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ended(self, within: float) -> bool:
        """Has the process ended, or does it within so many seconds? A broken socket is seen before its end is."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        self._listener.join(within)
        return True

    def log_tail(self) -> str:
        """The end of the server's log, in one line."""
        return " | ".join(list(self._words)[-4:]) or "it said nothing"

    def stop(self) -> None:
        """End the process; a forked child of the owner leaves it alone."""
        if self._owner != os.getpid():
            return
        process = self._process
        if process.stdin is not None:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass  # it is gone already, which is what we want
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._listener.join(5)

    def _launch(self, command: Command) -> subprocess.Popen[bytes]:
        # The child sees the packages that we see, and stands where no stray file can shadow a module.
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        process = subprocess.Popen(
            command(self.config),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_PATIENT, **os.environ, "PYTHONPATH": path, KEY_VARIABLE: self.key},
            cwd=os.path.abspath(os.sep),
            start_new_session=True,  # Ctrl-C is for the user's program, which decides what ends
        )
        assert process.stdout is not None and process.stderr is not None
        self._listener = threading.Thread(target=self._listen, args=(process.stderr,), daemon=True)
        self._listener.start()
        self._address: Future[str] = Future()
        threading.Thread(target=self._read_address, args=(process.stdout,), daemon=True).start()
        return process

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                if text := line.decode("utf-8", "replace").strip():
                    self._words.append(text)

    def _read_address(self, stream: IO[bytes]) -> None:
        with stream:
            self._address.set_result(stream.readline().decode("utf-8", "replace").strip())

    def _await_address(self) -> str:
        try:
            address = self._address.result(self.config.start_limit)
        except FutureTimeout as error:
            self.stop()
            raise LLMTimeoutError(
                f"The local server did not load {self.config.model.name} within {self.config.start_limit:g} s "
                f"({self.log_tail()}): free memory, or use a smaller model."
            ) from error
        except BaseException:
            self.stop()
            raise
        if not address.startswith("http://"):
            self.stop()
            raise LLMServerError(
                f"The local server ended while loading {self.config.model} ({self.log_tail()}): "
                "check that the file is a sound GGUF model and that memory suffices."
            )
        return address


_running: dict[ServerConfig, LocalServer] = {}
_starting: dict[ServerConfig, threading.Lock] = {}
_lock = threading.Lock()


def server_for(config: ServerConfig, command: Command = server_command) -> LocalServer:
    """The living server of `config`; the first caller starts it while others wait."""
    with _lock:
        mine = _starting.setdefault(config, threading.Lock())
    with mine:
        server = _running.get(config)
        if server is not None and server.alive:
            return server
        if server is not None:
            server.stop()  # it died: free its pipes
        server = _running[config] = LocalServer(config, command)
        return server


def close_servers() -> None:
    """End every server that this process started; the next call starts anew."""
    with _lock:
        servers = list(_running.values())
        _running.clear()
    for running in servers:
        running.stop()


atexit.register(close_servers)
