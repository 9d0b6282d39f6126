"""What a worker may read: the Python installation and this package, nothing of the user's. Imports nothing of ours."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

__all__ = ["import_path", "package_root", "readable_paths"]

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache")

_TIMES = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo", "/etc/localtime")


def package_root() -> str:
    """The directory of the package `opto`."""
    return str(Path(__file__).resolve().parent.parent)


@lru_cache(maxsize=1)
def readable_paths() -> tuple[str, ...]:
    """Where the Python installation, its packages, the system's libraries and time zones are, as real paths."""
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found = [*python, *site.getsitepackages(), site.getusersitepackages()]
    for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix):
        found += [f"{prefix}/lib", f"{prefix}/lib64", f"{prefix}/bin", f"{prefix}/pyvenv.cfg"]
    paths = [*found, os.path.dirname(os.path.realpath(sys.executable)), *_LIBRARIES, *_TIMES, package_root()]
    return tuple(dict.fromkeys(real for path in paths if path for real in _both(path)))


def _both(path: str) -> list[str]:
    real = os.path.realpath(path)
    return [p for p in (os.path.abspath(path), real) if os.path.exists(p) and p not in ("/", str(Path.home()))]


@lru_cache(maxsize=1)
def import_path() -> tuple[str, ...]:
    """The entries of `sys.path` that belong to the installation."""
    allowed = readable_paths()
    return tuple(p for p in sys.path if p and any(os.path.realpath(p).startswith(a) for a in allowed))
