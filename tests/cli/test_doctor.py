"""`opto doctor` tells what holds."""

from __future__ import annotations

import pytest

from opto.cli import main
from opto.sandbox.layers import LAYERS


def test_every_layer_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) in (0, 1)
    told = capsys.readouterr().out
    assert all(f" {layer} " in told for layer in LAYERS) and "A call in the sandbox works" in told
