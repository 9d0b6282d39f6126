"""Landlock: a process may read some directories and write to one; all other files are refused. Imports `kernel`."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from opto.sandbox.layers.kernel import syscall

__all__ = ["restrict", "version"]

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE, _READ, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights about files each version of the interface knows."""


class _Rules(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Below(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version() -> int:
    """The version that the kernel speaks; OSError if it has none or it is switched off."""
    return syscall(_CREATE, None, 0, 1, what="landlock")


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Restricts this process for ever: `readable` may be read, `writable` may be changed but not executed."""
    spoken = version()
    known = (1 << _RIGHTS[min(spoken, 5)]) - 1
    rules = _Rules(known, 3 if spoken >= 4 else 0, 3 if spoken >= 6 else 0)
    size = 8 if spoken < 4 else 16 if spoken < 6 else 24
    handle = syscall(_CREATE, ctypes.byref(rules), size, 0, what="landlock rules")
    try:
        for path in readable:
            _allow(handle, path, (_READ | _READ_DIR | _EXECUTE) & known)
        for path in writable:
            _allow(handle, path, known & ~_EXECUTE)
        syscall(_RESTRICT, handle, 0, what="landlock")
    finally:
        os.close(handle)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        syscall(_ADD, rules, 1, ctypes.byref(_Below(rights, place)), 0, what=f"landlock rule for {path}")
    finally:
        os.close(place)
