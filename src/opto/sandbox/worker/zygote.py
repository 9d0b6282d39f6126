"""The first process of the sandbox: it starts clean, confines its children, and forks a worker when asked.

Workers are forks of it, so that one is ready within milliseconds and no secret of the program is in its memory. It runs
no code but its own. Orders come over a socket: one byte, a number, and for a new worker the socket it is to talk on and
the pipe for its stack.
Imports `worker`, `layers`, `wire`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from importlib import import_module
from typing import Any

from opto.sandbox.layers.confinement import Confinement, WorkerLimits, remove_folder
from opto.sandbox.values import wire
from opto.sandbox.worker.serve import serve

__all__ = ["main"]


def main(control: int) -> None:
    """Serves the socket `control` until the program closes it."""
    orders = socket.socket(fileno=control)
    try:
        settings: dict[str, Any] = json.loads(wire.receive(orders))
    except EOFError:
        return
    try:
        confined = _prepared(orders, settings)
    except Exception as error:  # noqa: BLE001 - the program says what it was
        wire.send(orders, json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        return
    wire.send(orders, json.dumps(confined.report).encode())
    _serve(orders, confined)


def _prepared(orders: socket.socket, settings: dict[str, Any]) -> Confinement:
    for name in settings["preload"]:
        import_module(name)
    confined = Confinement(settings)
    confined.enter()
    if confined.first_of_namespace() != 0:  # this process stays outside, until the one that went in has ended
        orders.close()
        try:
            os.wait()
        finally:
            _leave(settings["root"])
    confined.build()
    gc.collect()
    gc.freeze()
    return confined


def _leave(root: str) -> None:
    """Ends this process, and the folder that a program which was killed cannot remove."""
    try:
        remove_folder(root)
    finally:
        os._exit(0)


def _serve(orders: socket.socket, confined: Confinement) -> None:
    children: dict[int, int] = {}
    while True:
        message, handles, _, _ = socket.recv_fds(orders, wire.ORDER.size, 2)
        if len(message) < wire.ORDER.size:
            for child in children.values():
                os.kill(child, signal.SIGKILL)
            _leave(confined.settings["root"])
        order, number, *limits = wire.ORDER.unpack(message)
        if order == wire.SPAWN:
            children[number] = _spawn(orders, number, WorkerLimits(*limits), handles, confined)
            for handle in handles:
                os.close(handle)
        else:
            orders.sendall(_ended(children.pop(number, 0)))
            confined.clear(number)


def _spawn(
    orders: socket.socket,
    number: int,
    limits: WorkerLimits,
    handles: list[int],
    confined: Confinement,
) -> int:
    child = confined.fork()
    if child:
        return child
    status = 1
    try:
        orders.close()
        handle, pipe = handles
        connection = socket.socket(fileno=handle)
        confined.hold_worker(number, limits, keep=handles)
        serve(connection, pipe, limits.memory_bytes)
        status = 0
    finally:
        os._exit(status)


def _ended(child: int) -> bytes:
    if child <= 0:
        return wire.ANSWER.pack(-1, 0.0, 0.0, 0)
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    _, status, used = os.wait4(child, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return wire.ANSWER.pack(status, used.ru_utime, used.ru_stime, used.ru_maxrss * unit)
