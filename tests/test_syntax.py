"""Texts are parsed right whoever parses at the same time."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto.syntax import literal_of, tree_of

TEXT = "def f(x):\n" + "".join(f"    if x > {i}:\n        x = (x, [{i}, {{x: -x}}])\n" for i in range(60))


class Garbage:
    """Only the collector finds it, which then runs Python in the midst of whatever is going on."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def restless() -> Iterator[None]:
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)


def parse_amid_garbage(text: str) -> tuple[ast.Module, object]:
    for _ in range(5):
        Garbage()
    return tree_of(text), literal_of("[1, {2: (3,)}]")


def test_threads_parse_at_once(restless: None) -> None:
    with ThreadPoolExecutor(8) as pool:
        parsed = list(pool.map(parse_amid_garbage, [TEXT] * 80))
    expected = ast.dump(ast.parse(TEXT))
    assert all(ast.dump(tree) == expected and literal == [1, {2: (3,)}] for tree, literal in parsed)
