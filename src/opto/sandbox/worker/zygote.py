"""The first process of the sandbox: it starts clean, builds what holds its children, and makes a worker when asked.

Workers are forks of it, so that one is ready within milliseconds and no secret of the program is in its memory. It runs
no code but its own. Orders come over a socket: one byte, a number, and for a new worker the socket it is to talk on and
the pipe for its last words.
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

from opto.sandbox.layers import confinement
from opto.sandbox.values.wire import ANSWER, ORDER, SPAWN
from opto.sandbox.worker import serve

__all__ = ["main"]


def main(control: int) -> None:
    """Serves the socket `control` until the program closes it."""
    orders = socket.socket(fileno=control)
    try:
        confined = _prepared(orders)
    except Exception as error:  # noqa: BLE001 - the program says what it was
        orders.sendall(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        return
    orders.sendall(json.dumps(confined.report).encode() + b"\n")
    _serve(orders, confined)


def _prepared(orders: socket.socket) -> confinement.Confinement:
    settings: dict[str, Any] = json.loads(_line(orders))
    for name in settings["preload"]:
        import_module(name)
    confined = confinement.Confinement(settings)
    confined.enter()
    if confined.first_of_namespace() != 0:  # what stays outside waits for the end of what went in
        orders.close()
        _outlive(settings["root"])
    confined.build()
    gc.collect()
    gc.freeze()
    return confined


def _line(connection: socket.socket) -> bytes:
    text = b""
    while not text.endswith(b"\n"):
        part = connection.recv(65536)
        if not part:
            sys.exit(0)
        text += part
    return text


def _outlive(root: str) -> None:
    try:
        os.wait()
    finally:
        _leave(root)


def _leave(root: str) -> None:
    """Ends this process, and the folder that a program which was killed cannot remove."""
    try:
        confinement.removed(root)
    finally:
        os._exit(0)


def _serve(orders: socket.socket, confined: confinement.Confinement) -> None:
    children: dict[int, int] = {}
    while True:
        message, handles, _, _ = socket.recv_fds(orders, ORDER.size, 2)
        if len(message) < ORDER.size:
            for child in children.values():
                os.kill(child, signal.SIGKILL)
            _leave(confined.settings["root"])
        order, number, *limits = ORDER.unpack(message)
        if order == SPAWN:
            children[number] = _spawn(orders, number, confinement.WorkerLimits(*limits), handles, confined)
            for handle in handles:
                os.close(handle)
        else:
            orders.sendall(_ended(children.pop(number, 0)))
            confined.clear(number)


def _spawn(
    orders: socket.socket,
    number: int,
    limits: confinement.WorkerLimits,
    handles: list[int],
    confined: confinement.Confinement,
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
        serve.serve(connection, pipe, limits.memory_bytes)
        status = 0
    finally:
        os._exit(status)


def _ended(child: int) -> bytes:
    if child <= 0:
        return ANSWER.pack(-1, 0.0, 0.0, 0)
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    _, status, used = os.wait4(child, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return ANSWER.pack(status, used.ru_utime, used.ru_stime, used.ru_maxrss * unit)
