"""What trainable functions promise holds when all their changed texts run in the sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


FILES = ["contract/test_bundle_trainable.py", "trace/test_bundle_code.py", "trace/test_bundle_copies.py"]
FILES += ["trace/test_bundle_errors.py", "trace/test_bundle_runs.py", "trace/test_threads_and_tasks.py"]


def test_trainable_functions_keep_their_promises() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "forced_provenance", "-p", "no:cacheprovider", "-x"]
    command += [f"tests/{file}" for file in FILES]
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
