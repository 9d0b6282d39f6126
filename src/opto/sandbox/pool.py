"""The workers of an executor: started when first needed, each for one text all its life, replaced when they die.

Imports `first_process`, `surroundings`, `to_worker`.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from io import FileIO
from typing import Any

from opto.errors import SandboxError
from opto.execution import Limits, Scope
from opto.sandbox.first_process import End, FirstProcess, limits_of_worker
from opto.sandbox.values.surroundings import Surroundings
from opto.sandbox.values.to_worker import Serializer

__all__ = ["ANSWERING", "Pool", "Worker"]

_DEEPEST_CALLS = 16
_LONGEST_STACK, _MOST_WAIT = 1 << 16, 1.0


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
        self._settings = {"without": without, "workers": most, "limits": limits_of_worker(limits)}
        self._first: FirstProcess | None = None
        self._first_lock = threading.Lock()
        self._change = threading.Condition()
        self._idle: list[Worker] = []
        self._living: dict[int, Worker | None] = {}
        self._numbers = 0
        self._pid = os.getpid()

    # --- leasing ---

    def lease(self, key: Any, scope: Scope, limits: Limits) -> Worker:
        """A worker for this key, which stands for a text, its scope and limits: an idle one, else a new one."""
        self._forget_if_forked()
        with self._first_lock:
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
        try:
            with self._first_lock:
                self._started().spawn(number, limits_of_worker(limits), [theirs.fileno(), writing])
        except BaseException:
            worker.close()
            raise
        finally:
            theirs.close()
            os.close(writing)
        with self._change:
            self._living[number] = worker
        return worker

    def end(self, worker: Worker) -> tuple[End, bytes]:
        """Ends a leased worker, with all that it started: how it ended, and the stack that it wrote (`crash_stack`)."""
        worker.connection.close()
        try:
            with self._first_lock:
                end = End() if self._first is None else self._first.end(worker.number)
            stack = worker.pipe.read(_LONGEST_STACK) or b""
        finally:
            worker.close()
            with self._change:
                self._living.pop(worker.number, None)
                self._change.notify_all()
        return end, stack

    # --- the first process ---

    def layers(self) -> dict[str, str | None]:
        """Each layer of protection: None where it holds, else why not."""
        self._forget_if_forked()
        with self._first_lock:
            return dict(self._started().report)

    def _started(self) -> FirstProcess:
        """The first process, which is started unless it runs; `_first_lock` must be held."""
        first = self._first
        if first is None or not first.is_alive():
            self._first = None
            if first is not None:
                first.close()
            with self._change:  # its workers died with it
                for worker in self._idle:
                    worker.close()
                    self._living.pop(worker.number, None)
                self._idle.clear()
            first = self._first = FirstProcess(self._settings)
        return first

    def close(self) -> None:
        """Ends all workers. A fork of the program has none, and leaves those of its parent alone."""
        self._forget_if_forked()
        with self._first_lock, self._change:
            for worker in self._living.values():
                if worker in self._idle:
                    worker.close()
                elif worker is not None:
                    worker.hang_up()
            self._idle.clear()
            self._living.clear()
            first, self._first = self._first, None
            self._change.notify_all()
        if first is not None:
            first.close()

    def _forget_if_forked(self) -> None:
        """In a fork of the program, lets go of the workers: they are the parent's."""
        if os.getpid() == self._pid:
            return
        for worker in self._living.values():
            if worker is not None:
                worker.close()
        if self._first is not None:
            self._first.abandon()
        self._change, self._first_lock = threading.Condition(), threading.Lock()
        self._idle, self._living, self._first = [], {}, None
        self._pid = os.getpid()
