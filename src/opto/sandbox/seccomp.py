"""Seccomp: a worker may make the system calls of a list, and gets EPERM for every other. Imports `kernel`, `syscalls`.

The filter is a program of the kernel's packet-filter machine; its instructions are (code, if true, if false, value).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from opto.sandbox.kernel import MACHINE, prctl
from opto.sandbox.syscalls import ALLOWED, AUDIT_ARCH, CHECKED, COLUMN

__all__ = ["install", "program"]

_LOAD, _EQUAL, _BITS, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_NAMING = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

_Instruction = tuple[int, int, int, int]
_DENY: _Instruction = (_RETURN, 0, 0, _ERROR | errno.EPERM)
_OK: _Instruction = (_RETURN, 0, 0, _ALLOW)


def _argument(index: int, high: bool = False) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4 * high)


def _checks(pid: int) -> dict[str, list[_Instruction]]:
    """What to ask of the arguments of each call in CHECKED; every list ends in a verdict."""
    to_itself = [_argument(0), (_EQUAL, 0, 1, pid), _OK, _DENY]
    of_itself = [_argument(0), (_EQUAL, 1, 0, 0), (_EQUAL, 0, 1, pid), _OK, _DENY]
    names: list[_Instruction] = [_argument(0), *((_EQUAL, 3 - i, 0, option) for i, option in enumerate(_NAMING)), _DENY]
    return {
        "clone": [_argument(0), (_BITS, 0, 1, _CLONE_THREAD), _OK, _DENY],
        "clone3": [(_RETURN, 0, 0, _ERROR | errno.ENOSYS)],  # its flags are out of a filter's sight: use clone
        "kill": to_itself,
        "tgkill": to_itself,
        "tkill": to_itself,
        "prctl": [*names, _OK],
        "prlimit64": of_itself,
        "setrlimit": [_OK],
        "sendto": [_argument(4), (_EQUAL, 0, 3, 0), _argument(4, True), (_EQUAL, 0, 1, 0), _OK, _DENY],
        "socketpair": [_argument(0), (_EQUAL, 0, 1, _AF_UNIX), _OK, _DENY],
    }


def program(machine: str, pid: int) -> list[_Instruction]:
    """The filter for a process of this number; KeyError for a processor whose call numbers are not known."""
    column = COLUMN[machine]
    steps: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for numbers in ALLOWED.values():
        if numbers[column] is not None:
            steps += [(_EQUAL, 0, 1, numbers[column] or 0), _OK]
    checks = _checks(pid)
    for name, numbers in CHECKED.items():
        if numbers[column] is not None:
            block = checks[name]
            steps += [(_EQUAL, 0, len(block), numbers[column] or 0), *block]
    return [*steps, _DENY]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install() -> None:
    """Puts the filter on this process, for ever; OSError if the kernel will not."""
    if MACHINE not in COLUMN:
        raise OSError(f"seccomp: the system calls of {MACHINE} are not known here")
    steps = program(MACHINE, os.getpid())
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_program = _Program(len(steps), ctypes.cast(buffer, ctypes.c_void_p))
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(filter_program))
