"""The filter of system calls: what stands in its table, and what it asks of arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from opto.sandbox.layers import seccomp

TABLE = Path(seccomp.__file__).with_name("syscalls.txt").read_text()


def test_exactly_the_calls_of_the_last_group_are_asked_for_their_arguments() -> None:
    last = TABLE.rpartition("# with some arguments only")[2]
    assert {line.split()[0] for line in last.splitlines() if line} == set(seccomp._checks(1))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_no_number_is_allowed_twice(machine: str) -> None:
    numbers = seccomp._numbers(machine)
    assert len(set(numbers.values())) == len(numbers) > 90


def test_what_landlock_does_not_see_is_left_out_where_files_are_shared() -> None:
    assert len(seccomp.program("x86_64", 1, own_files=False)) < len(seccomp.program("x86_64", 1))
