"""How much of the corpus of hostile functions each executor contains, and which layer alone stops which.

Run: python bench/sandbox_corpus.py [--only THEME] [--layers] [--alone] [--why]. Each executor is tried in a process of
its own, which is replaced when an entry kills, hangs or changes it. `process` must end each call as the corpus says;
the others may refuse or lack what an entry needs, so that any end counts which leaves the canary silent and lets no
secret out. No entry touches anything but its prey, whatever holds it, so that `unsafe` can be tried as root, too. For
each layer switched off in turn, the table names the entries that were contained before and are not any more: what this
layer alone stops. `--alone` shows the reverse, a worker with one layer only. `unsafe` runs in the program by design:
that is what its figures say.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "sandbox"))

from canary import MARK, Canary, children, sweep, watch_process
from hostile import Hostile, load_corpus
from trial import HONEST, MODEST, attempt, honest_answer

from opto.execution import executor_named

PATIENCE_SECONDS = 20.0
CEILING_BYTES = 3 << 30


# --- the process that is attacked -----------------------------------------------------------------


def serve_trials(name: str, without: list[str]) -> None:
    """Reads names of entries, one a line, and answers each with its verdict; nothing but answers on stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.chdir(tempfile.mkdtemp(prefix=f"{MARK}{os.getpid()}-"))
    resource.setrlimit(resource.RLIMIT_AS, (CEILING_BYTES, CEILING_BYTES))
    watch_process()
    corpus = {entry.name: entry for entry in load_corpus()}
    with ExitStack() as stack:
        canary = stack.enter_context(Canary())
        executor: Any = stack.enter_context(_executor(name, without))
        text = next((t for t in (HONEST, MODEST) if isinstance(honest_answer(executor, t), tuple)), None)
        if text is None:
            raise SystemExit(f"{name} does not run honest code: {honest_answer(executor, MODEST)}")
        honest = honest_answer(executor, text)
        for line in sys.stdin:
            verdict = attempt(executor, corpus[line.strip()], canary, honest, text, any_end=name != "process")
            print(json.dumps([verdict.kind, verdict.complaints, verdict.note]), file=answers, flush=True)
            if not verdict.contained:
                break  # what was changed here would be held against the next one


def _executor(name: str, without: list[str]) -> Any:
    if name != "process":
        return nullcontext(executor_named(name))
    from opto.sandbox.process import ProcessExecutor

    return ProcessExecutor(workers=2, without=without)


# --- the process that watches ---------------------------------------------------------------------


class Host:
    """A process that tries entries and may be lost to one."""

    def __init__(self, name: str, without: Iterable[str]) -> None:
        self._command = [sys.executable, __file__, "--serve", name, "--without", ",".join(without)]
        self._process: subprocess.Popen[str] | None = None

    def verdict(self, entry: Hostile) -> list[str]:
        """The complaints about this entry; none if it was contained."""
        process = self._ready()
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(entry.name + "\n")
            process.stdin.flush()
            hangs = threading.Event()
            alarm = threading.Timer(PATIENCE_SECONDS, lambda: (hangs.set(), os.killpg(process.pid, signal.SIGKILL)))
            alarm.start()  # some write the beginning of an answer, and wait: the end of the line must come in time
            line = process.stdout.readline()
            alarm.cancel()
            if hangs.is_set():
                return self._lost("the program hangs")
            complaints: list[str] = json.loads(line)[1] if line else ["the program died"]
        except OSError:
            return self._lost("the program died")
        except (ValueError, TypeError, LookupError):
            return self._lost("the program's own descriptors were written to")
        if complaints:
            self.close()
        return complaints

    def _ready(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        return self._process

    def _lost(self, why: str) -> list[str]:
        self.close()
        return [why]

    def close(self) -> None:
        """Ends the process and its session."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=3)
        except (subprocess.TimeoutExpired, OSError, ValueError):
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        sweep(process.pid)


def campaign(
    entries: list[Hostile], name: str, without: tuple[str, ...] = (), *, lanes: int = 2
) -> dict[str, list[str]]:
    """The complaints about every entry."""
    waiting = iter(list(entries))

    def lane() -> dict[str, list[str]]:
        host, found = Host(name, without), {}
        for entry in waiting:
            found[entry.name] = host.verdict(entry)
        host.close()
        return found

    with ThreadPoolExecutor(lanes) as pool:
        running = [pool.submit(lane) for _ in range(lanes)]
        found = {name: complaints for one in running for name, complaints in one.result().items()}
    for orphan in children():
        os.kill(orphan, signal.SIGKILL)
    return found


def show(title: str, entries: list[Hostile], found: dict[str, list[str]]) -> None:
    """One line an executor, and a line a theme."""
    good = [entry for entry in entries if not found[entry.name]]
    print(f"{title}: {len(good)} of {len(entries)} contained", flush=True)
    for theme in dict.fromkeys(entry.theme for entry in entries):
        of_theme = [entry for entry in entries if entry.theme == theme]
        print(f"    {theme:10} {sum(not found[entry.name] for entry in of_theme):3} / {len(of_theme)}")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="a theme or a name; may be repeated")
    parser.add_argument("--executors", default="process,monty,unsafe")
    parser.add_argument("--lanes", type=int, default=2, help="how many processes are attacked at once")
    parser.add_argument("--layers", action="store_true", help="also switch each layer off in turn")
    parser.add_argument("--alone", action="store_true", help="also try with no layer, and with each layer alone")
    parser.add_argument("--why", action="store_true", help="say what spoke against each entry")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--without", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve_trials(chosen.serve, [layer for layer in chosen.without.split(",") if layer])
        return
    watch_process()
    entries = [e for e in load_corpus() if not chosen.only or e.theme in chosen.only or e.name in chosen.only]
    full: dict[str, list[str]] = {}
    for name in chosen.executors.split(","):
        found = campaign(entries, name, lanes=chosen.lanes)
        full = found if name == "process" else full
        show(name, entries, found)
        if chosen.why:
            print(*(f"    - {k}: {'; '.join(v)}" for k, v in found.items() if v), sep="\n")
    if chosen.alone:
        show_alone(entries, chosen.lanes)
    if chosen.layers:
        show_layers(entries, full, chosen.lanes)


def show_alone(entries: list[Hostile], lanes: int) -> None:
    """What the worker process contains without any layer, and with each as its only one."""
    from opto.sandbox.layers.confinement import LAYERS

    print(f"\nOf {len(entries)} entries, a worker process with one layer only contains:")
    for layer in ("", *LAYERS):
        found = campaign(entries, "process", tuple(other for other in LAYERS if other != layer), lanes=lanes)
        print(f"{layer or 'none':10} {sum(not complaints for complaints in found.values()):3}", flush=True)


def show_layers(entries: list[Hostile], full: dict[str, list[str]], lanes: int) -> None:
    """Each layer off in turn: what it alone stops."""
    from opto.sandbox.layers.confinement import LAYERS

    held = [entry for entry in entries if not full[entry.name]]
    print(f"\nEach layer switched off in turn, on the {len(held)} entries that all together contain:")
    for layer in LAYERS:
        found = campaign(held, "process", (layer,), lanes=lanes)
        loose = [f"{name} ({complaints[0]})" for name, complaints in found.items() if complaints]
        print(f"without {layer:10} {len(held) - len(loose)} / {len(held)}; it alone stops {len(loose)}", flush=True)
        print(*(f"    - {name}" for name in loose), sep="\n")


if __name__ == "__main__":
    main()
