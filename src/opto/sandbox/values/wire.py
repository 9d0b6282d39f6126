"""Messages on a socket: eight bytes with the length, then the message. Imports the standard library only."""

from __future__ import annotations

import socket
import struct
import time

__all__ = ["ANSWER", "END", "ORDER", "SPAWN", "MessageTooLongError", "receive", "send"]

_LENGTH = struct.Struct("!Q")

ORDER = struct.Struct("!cQQQQ")
"""What the program sends the first process: SPAWN or END, the number of the worker, and for a new one its limits:
bytes of memory, threads beside its own, open files."""
ANSWER = struct.Struct("!iddQ")
"""The answer to END: the wait status (-1 if there is no such worker), user and system CPU seconds, the most
memory held in bytes."""
SPAWN, END = b"S", b"E"


class MessageTooLongError(Exception):
    """The other side announced more than it may send."""


def send(connection: socket.socket, message: bytes) -> None:
    """Sends a whole message."""
    connection.sendall(_LENGTH.pack(len(message)) + message)


def receive(connection: socket.socket, most: int | None = None, until: float | None = None) -> bytes:
    """A whole message. EOFError if the other side is gone, MessageTooLongError if it would be longer than `most`.

    TimeoutError if it is not whole at the time `until` of `time.monotonic`.
    """
    begun = b""
    while len(begun) < _LENGTH.size:
        _bound(connection, until)
        part = connection.recv(65536)
        if not part:
            raise EOFError
        begun += part
    (length,) = _LENGTH.unpack_from(begun)
    if most is not None and length > most:
        raise MessageTooLongError(f"{length} bytes")
    message = begun[_LENGTH.size :]
    if len(message) == length:
        return message
    if len(message) > length:
        raise EOFError  # more than was announced: the other side broke the protocol
    whole = bytearray(length)
    whole[: len(message)] = message
    view, at = memoryview(whole), len(message)
    while at < length:
        _bound(connection, until)
        count = connection.recv_into(view[at:])
        if count == 0:
            raise EOFError
        at += count
    return bytes(whole)


def _bound(connection: socket.socket, until: float | None) -> None:
    if until is not None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
