"""Namespaces: a process tree without network, users, other processes, and with a file system of its own.

Imports `kernel`. Each function raises OSError where the system refuses.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress

from opto.sandbox.layers.kernel import IS_LINUX, MACHINE, bind_mount, change_root, mount, prctl, syscall, unshare

__all__ = [
    "DEVICES",
    "NETWORK",
    "OTHERS",
    "PROCESSES",
    "USERS",
    "be_counted",
    "drop_rights",
    "new_users",
    "own_files",
    "own_temporary",
    "usual_processes",
]

FILES, NETWORK, PROCESSES, USERS = 0x00020000, 0x40000000, 0x20000000, 0x10000000
OTHERS = 0x04000000 | 0x08000000
"""Host names and System V communication."""

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20, 0x1000, 0x4000, 1 << 18
_SETNS = {"x86_64": 308, "aarch64": 268}
_CAPSET = {"x86_64": 126, "aarch64": 91}
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_USER = 1000
_NOBODYS = 0x70000000
"""The first of the user numbers that no system gives away."""


def be_counted() -> None:
    """Makes the kernel count root's threads, which it does not: the real user becomes one that no other process has.

    The effective user stays, and with it what may be read.
    """
    if IS_LINUX and os.getuid() == 0:
        os.setresuid(_NOBODYS + os.getpid(), -1, -1)


def new_users() -> None:
    """Becomes an ordinary user of a user namespace, with rights over the namespaces made next and nothing else."""
    user, group = os.geteuid(), os.getegid()
    unshare(USERS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{_USER} {user} 1"), ("gid_map", f"{_USER} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def usual_processes(place: int) -> None:
    """The next child is again in the namespace of processes at `place`, an open /proc/self/ns/pid."""
    syscall(_SETNS[MACHINE], place, PROCESSES, what="setns")


def own_files(root: str, readable: Iterable[str], temporary: str) -> None:
    """A file system of `readable` (read only), a few devices, and a place for `temporary`, built on `root`."""
    unshare(FILES)
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path in sorted(_outermost(readable), key=os.path.islink):  # what links lead to may be in a folder of these
        _show(path, root)
    for path in DEVICES:
        target = root + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w"):
            pass
        bind_mount(path, target, devices=True)
    os.mkdir(root + temporary)
    change_root(root)
    mount("none", "/", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def _outermost(paths: Iterable[str]) -> list[str]:
    """The paths that are not inside others, without the root itself."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}):
        if path != "/" and os.path.exists(path) and not any(path.startswith(f"{above}/") for above in kept):
            kept.append(path)
    return kept


def _show(path: str, root: str) -> None:
    """Mounts `path` at the same place below `root`; a symbolic link stays one, and what it leads to is shown too."""
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        real = os.path.realpath(path)
        if not os.path.exists(root + real):
            _show(real, root)
        return
    if os.path.exists(target):
        return
    if os.path.isdir(path):
        os.makedirs(target)
    else:
        with open(target, "w"):
            pass
    bind_mount(path, target)


def own_temporary(place: str, size: int) -> None:
    """An empty directory of this process's own, of at most `size` bytes."""
    unshare(FILES)
    mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, f"size={size},mode=777,nr_inodes=4096")
    os.chdir(place)
    os.umask(0)  # nobody else sees it, and os.access asks for the real user, who may be another (`be_counted`)


def drop_rights() -> None:
    """No capabilities, and no way to gain any: programs that raise rights do not work either."""
    if not IS_LINUX:
        raise OSError("capabilities: this is not Linux")
    no_new_privileges, drop_from_bounds, clear_ambient = 38, 24, 4
    prctl(no_new_privileges, 1)
    with suppress(OSError):  # past the last one, or there were none to drop
        for right in range(64):
            prctl(drop_from_bounds, right)
    with suppress(OSError):  # an old kernel has none
        prctl(47, clear_ambient)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    syscall(_CAPSET[MACHINE], ctypes.byref(header), ctypes.byref(nothing), what="capset")
