"""What trainable functions promise holds when all their changed texts run in the sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_trainable_functions_keep_their_promises() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "forced_provenance", "-p", "no:cacheprovider", "-x"]
    file = HERE.parent / "contract" / "test_bundle_trainable.py"
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [*command, str(file)], env=environment, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
