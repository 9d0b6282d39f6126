"""How many processors are really ours: a container is often given fewer than the machine shows."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["usable_cores"]


def usable_cores(limit_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Processors that this process may use, by affinity and by the container's quota (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (float(part) for part in limit_file.read_text().split())
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
    return max(1, min(cores, math.ceil(quota / period))) if period > 0 else cores
