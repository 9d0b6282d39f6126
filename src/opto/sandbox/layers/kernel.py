"""System calls of Linux that Python has no name for. Each raises OSError with the reason. Imports nothing of ours."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

__all__ = ["IS_LINUX", "MACHINE", "bind_mount", "change_root", "mount", "prctl", "syscall", "unshare"]

IS_LINUX = sys.platform.startswith("linux")
MACHINE = platform.machine()

_libc = ctypes.CDLL(None, use_errno=True) if IS_LINUX else None

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MNT_DETACH = 2
_MS_BIND, _MS_REC = 0x1000, 0x4000


def _call(function: str, *arguments: object, what: str) -> int:
    """Calls a function of the C library, by name."""
    if _libc is None:
        raise OSError(f"{what}: this is not Linux")
    result: int = getattr(_libc, function)(*arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, *arguments: object, what: str) -> int:
    """A raw system call; integers and ctypes objects as arguments."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in (number, *arguments)]
    return _call("syscall", *words, what=what)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2)."""
    words = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    return _call("prctl", ctypes.c_int(option), *words, what=f"prctl({option})")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _call("unshare", ctypes.c_int(flags), what=f"unshare({flags:#x})")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    options = None if data is None else data.encode()
    _call("mount", *encoded, ctypes.c_ulong(flags), options, what=f"mount on {target}")


class _MountAttributes(ctypes.Structure):
    _fields_ = [
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def bind_mount(source: str, target: str, *, devices: bool = False) -> None:
    """Shows `source` at `target`, with all that is mounted below it, to be read only."""
    mount(source, target, None, _MS_BIND | _MS_REC)
    read_only, no_setuid, no_devices = 1, 2, 4
    wanted = read_only | no_setuid | (0 if devices else no_devices)
    attributes = _MountAttributes(wanted, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    path = ctypes.c_char_p(os.fsencode(target))
    syscall(
        _MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(attributes), size, what=f"read-only mount {target}"
    )


def change_root(root: str) -> None:
    """Makes `root`, a mount of its own, the root directory; what was mounted before is gone."""
    if MACHINE not in _PIVOT_ROOT:
        raise OSError("pivot_root: not known for this system")
    os.chdir(root)
    here = ctypes.c_char_p(b".")
    syscall(_PIVOT_ROOT[MACHINE], here, here, what="pivot_root")
    _call("umount2", b".", ctypes.c_int(_MNT_DETACH), what="umount2")
    os.chdir("/")
