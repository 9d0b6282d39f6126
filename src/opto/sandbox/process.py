"""The executor `process`, the default: warm worker processes that can do nothing but compute.

A worker serves one text all its life, so code can spoil nothing but itself. Imports `pool`, `call`.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opto.errors import SandboxError
from opto.execution import Job, Limits, Outcome
from opto.sandbox.call import Call
from opto.sandbox.layers.confinement import LAYERS
from opto.sandbox.pool import Pool

__all__ = ["ProcessExecutor"]

_THREADS = 64


class ProcessExecutor:
    """Runs jobs in worker processes without network, files, secrets or rights. At most `workers` live at once.

    `limits` hold for jobs that bring none. `allow` are objects of the program that the code may call, if it was given
    them: themselves and their public methods, with plain data; such calls run in the program, in the caller's context.
    `without` switches layers of protection off, by name (`opto doctor` lists them), to find out what each is for.

    >>> from opto.sandbox import Job
    >>> with ProcessExecutor() as executor:
    ...     executor.run(Job("def f(x):\\n    return x + 1", "f", (1,))).result()
    2
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        allow: Sequence[Any] = (),
        workers: int | None = None,
        without: Iterable[str] = (),
    ) -> None:
        unknown = set(without) - LAYERS.keys()
        if unknown:
            raise ValueError(f"There are no layers {sorted(unknown)}: choose among {', '.join(LAYERS)}.")
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}: at least one process must be there to run the code.")
        self.limits = (limits or Limits()).checked()
        most = workers or max(4, 2 * (os.cpu_count() or 1))
        self._pool = Pool(most, tuple(allow), without=tuple(without), limits=self.limits)
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._threads_of = os.getpid()
        self._finish = weakref.finalize(self, self._pool.close)

    # --- the seam ---

    def run(self, job: Job, limits: Limits | None = None) -> Outcome:
        """Runs a job to its end, in a worker that knows its text or in a fresh one."""
        call = Call(self._pool, job, self.limits if limits is None else limits.checked(), self._in_thread)
        try:
            call.lease_worker()
        except SandboxError as error:
            return Outcome(error=error)
        except OSError as error:  # no descriptors, no room, no processes left
            return Outcome(error=SandboxError(f"No process could be started for the code: {error}"))
        return call.outcome()

    async def arun(self, job: Job, limits: Limits | None = None) -> Outcome:
        """The same without blocking the event loop."""
        outcome: Outcome = await self._in_thread(functools.partial(self.run, job, limits))
        return outcome

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        with self._lock:
            if self._threads is None or self._threads_of != os.getpid():  # a fork has none of them
                self._threads_of = os.getpid()
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="opto-sandbox")
        context: Any = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)

    # --- its life ---

    def layers(self) -> dict[str, str | None]:
        """The layers of protection: None where one holds on this machine, else why not. Starts the first process."""
        return self._pool.layers()

    def close(self) -> None:
        """Ends the workers; the next job starts others."""
        self._pool.close()
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
