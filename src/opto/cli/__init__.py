"""The command line: `opto …`.

May import everything below it. Read in this order: `demo_customers` and `demo_agent` (the job of the demo), `demo_task`
(the job as a function), `demo_view` (what a person sees of it), `demo` (its command), `doctor`.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence

from opto.cli import demo, doctor
from opto.errors import OptoError
from opto.version import __version__

__all__ = ["main"]

_COMMANDS = {"demo": demo, "doctor": doctor}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it went well, 1 after an error that is one clear sentence, 130 after Ctrl-C."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a pipe or a file, too, progress is seen as it happens
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except OptoError as error:
        print(f"opto: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nopto: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="opto", description="Trace: record workflows, let feedback rewrite them.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True)
    for name, command in _COMMANDS.items():
        command.configure(commands.add_parser(name, help=command.HELP, description=command.HELP))
    return parser
