"""The modules beside these tests can be imported by their names; each test may ask for a chat server on loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from loopback import ChatServer


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    made = ChatServer()
    yield made
    made.close()
