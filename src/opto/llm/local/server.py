"""The child process: `python -m opto.llm.local.server MODEL` serves one GGUF file on loopback.

It prints its address as the only line on standard output once the model is loaded, and ends
when its standard input does, that is, when its parent is gone by whatever cause.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opto.llm.local.known_models import KEY_VARIABLE

__all__ = ["main"]

_PROMPT_CACHE_MIB = 512


def main(arguments: Sequence[str] | None = None) -> None:
    """Load, say where, serve until standard input ends."""
    options = _options(arguments)
    answer = os.dup(1)
    os.dup2(2, 1)  # llama.cpp writes its log to standard output too: keep that channel for the address alone
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        server = _serve(options)
    except RuntimeError as error:
        sys.exit(f"llama.cpp: {error}")  # the parent shows this line
    os.write(answer, f"{server.listening_address}\n".encode())
    os.close(answer)
    threading.Event().wait()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m opto.llm.local.server")
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens, shared by all slots")
    parser.add_argument("--slots", type=int, required=True, help="answers worked on at a time")
    return parser.parse_args(arguments)


def _serve(options: argparse.Namespace) -> Any:
    xllamacpp: Any = importlib.import_module("xllamacpp")  # it tells no checker what it holds
    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.model.stem}
    params.hostnames, params.port = ["127.0.0.1"], 0
    # Any page in a browser and any user of this machine can reach a loopback port: ask for a key.
    params.api_keys = [os.environ.pop(KEY_VARIABLE)]
    params.n_ctx, params.n_parallel = options.context, options.slots
    params.kv_unified = True  # one pool: a lone request may use the whole context
    # llama.cpp's threads wait for each other: beside other work one that is not scheduled stalls all. Reading a prompt
    # gains from every core; writing is bound by memory, and one core left free keeps it steady.
    params.cpuparams_batch.n_threads = options.threads
    params.cpuparams.n_threads = max(1, options.threads - 1)
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE  # weights are repacked: no use in mapping them
    params.n_gpu_layers = 0
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.warmup, params.ui, params.verbosity = False, False, 1
    return xllamacpp.Server(params)


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
