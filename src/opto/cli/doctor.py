"""`opto doctor`: what protects this machine from code that a model wrote, and what is missing."""

from __future__ import annotations

import argparse
import platform
import time

from opto.errors import MissingExtraError
from opto.sandbox import Job
from opto.sandbox.layers.confinement import LAYERS
from opto.sandbox.monty import MontyExecutor
from opto.sandbox.process import ProcessExecutor

__all__ = ["HELP", "configure", "run"]

HELP = "Report which layers of protection hold on this machine while code that a model wrote runs."

_ANSWER = Job("def answer():\n    return 6 * 7", "answer")


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options: it has none."""
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start a sandbox, run one call in it, and say what holds; 1 if nothing keeps code from files or the network."""
    print(f"Python {platform.python_version()} on {platform.system()} {platform.release()}, {platform.machine()}\n")
    began = time.perf_counter()
    with ProcessExecutor() as executor:
        layers = executor.layers()
        started = time.perf_counter() - began
        answer = executor.run(_ANSWER)
    for layer, purpose in LAYERS.items():
        why = layers.get(layer, "not tried")
        print(
            f"  {'holds  ' if why is None else 'MISSING'}  {layer:<10} {purpose}" + (f"\n{'':21}{why}" if why else "")
        )
    works = "works" if answer.error is None else f"FAILS: {answer.error}"
    print(f"\nA call in the sandbox {works}; it started in {started:.2f} s.")
    try:
        with MontyExecutor() as monty:
            error = monty.run(_ANSWER).error
        print(f"A call in the executor 'monty' {'works' if error is None else f'FAILS: {error}'}.")
    except MissingExtraError as missing:
        print(missing)
    return int(answer.error is not None or not _walled(layers))


def _walled(layers: dict[str, str | None]) -> bool:
    """Whether files and the network are out of reach, by one layer or another."""
    files = any(layers.get(layer, "") is None for layer in ("files", "landlock"))
    network = any(layers.get(layer, "") is None for layer in ("network", "seccomp"))
    return files and network
