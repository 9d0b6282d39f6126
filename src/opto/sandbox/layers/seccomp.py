"""Seccomp: a worker may make the system calls of `syscalls.txt`, and gets EPERM for every other. Imports `kernel`.

The filter is a program of the kernel's packet-filter machine; its instructions are (code, if true, if false, value).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from opto.sandbox.layers.kernel import MACHINE, prctl

__all__ = ["install", "program"]

_LOAD, _EQUAL, _BITS, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_MSG_OOB = 1
_NAMING = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_OF_DESCRIPTORS = (*range(8), *range(36, 39), *range(1030, 1033))  # no owners, leases, watches
_OF_TERMINALS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIO(N)CLEX
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's names for the processors, in the order of the columns of `syscalls.txt`."""
_UNSEEN_BY_LANDLOCK = frozenset(["chmod", "fchmod", "fchmodat", "truncate", "utimensat"])
"""Calls by which files change unseen by Landlock (old ones miss truncate): for workers that see only their own."""

_Instruction = tuple[int, int, int, int]
_DENY: _Instruction = (_RETURN, 0, 0, _ERROR | errno.EPERM)
_OK: _Instruction = (_RETURN, 0, 0, _ALLOW)


def _argument(index: int, high: bool = False) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4 * high)


def _one_of(index: int, values: Sequence[int]) -> list[_Instruction]:
    """Allows the call if this argument is one of `values`."""
    tests: list[_Instruction] = [(_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_argument(index), *tests, _DENY, _OK]


def _checks(pid: int) -> dict[str, list[_Instruction]]:
    """Calls that are allowed with some arguments only, and their checks; every check ends in a verdict."""
    to_itself = [_argument(0), (_EQUAL, 0, 1, pid), _OK, _DENY]
    of_itself = [_argument(0), (_EQUAL, 1, 0, 0), (_EQUAL, 0, 1, pid), _OK, _DENY]
    to_nobody = [_argument(4), (_EQUAL, 0, 3, 0), _argument(4, True), (_EQUAL, 0, 1, 0), _OK, _DENY]
    return {
        "clone": [_argument(0), (_BITS, 0, 1, _CLONE_THREAD), _OK, _DENY],
        "clone3": [(_RETURN, 0, 0, _ERROR | errno.ENOSYS)],  # its flags are out of a filter's sight: use clone
        "fcntl": _one_of(1, _OF_DESCRIPTORS),
        "ioctl": _one_of(1, _OF_TERMINALS),
        "kill": to_itself,
        "tgkill": to_itself,
        "tkill": to_itself,
        "prctl": _one_of(0, _NAMING),
        "prlimit64": of_itself,
        "setrlimit": [_OK],
        "sendto": [_argument(3), (_BITS, len(to_nobody) - 1, 0, _MSG_OOB), *to_nobody],
        "socketpair": [_argument(0), (_EQUAL, 0, 1, _AF_UNIX), _OK, _DENY],
    }


@lru_cache(maxsize=1)
def _numbers(machine: str) -> dict[str, int]:
    """The numbers of the allowed system calls on this processor, by name."""
    column = 1 + list(_AUDIT_ARCH).index(machine)
    table = Path(__file__).with_name("syscalls.txt").read_text("utf-8")
    rows = [line.split() for line in table.splitlines() if line and not line.startswith("#")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def program(machine: str, pid: int, own_files: bool = True) -> list[_Instruction]:
    """The filter for a process of this number on a processor."""
    steps: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    checks = _checks(pid)
    for name, number in _numbers(machine).items():
        if own_files or name not in _UNSEEN_BY_LANDLOCK:
            verdict = checks.get(name, [_OK])
            steps += [(_EQUAL, 0, len(verdict), number), *verdict]
    return [*steps, _DENY]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(own_files: bool) -> None:
    """Puts the filter on this process, for ever; OSError if the kernel will not.

    Unless the process sees `own_files` only, calls that Landlock does not check are refused, too.
    """
    if MACHINE not in _AUDIT_ARCH:
        raise OSError(f"seccomp: the system calls of {MACHINE} are not known here")
    steps = program(MACHINE, os.getpid(), own_files)
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_program = _Program(len(steps), ctypes.cast(buffer, ctypes.c_void_p))
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(filter_program))
