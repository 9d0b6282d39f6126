"""Arrays in saved files: every type comes back, and no file can pass off bytes as pointers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opto.errors import LoadError
from opto.trace.saving.safe_pickle import dumps, loads


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "bb"]),
        np.array([b"x"]),
        np.arange(3, dtype=">f8"),
        np.array([1, 2], "datetime64[D]"),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        np.zeros(2, [("pair", "f4", (2,))]),
        np.asfortranarray(np.ones((2, 3))),
        np.dtype("f4"),
        np.datetime64("2020-01-01"),
    ],
)
def test_arrays_of_every_type_come_back(array: Any) -> None:
    back = loads(dumps(array))
    assert type(back) is type(array) and np.all(back == array)


def _named(module: str, name: str) -> bytes:
    return b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)) + b"\x93"


_POINTER = b"C\x08AAAAAAAA"  # eight bytes that a careless reader takes for the address of an object
_OBJECTS = _named("numpy", "dtype") + b"\x8c\x02O8\x89\x88\x87R"  # numpy.dtype("O8", False, True)
_DENYING = _OBJECTS + b"(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"  # … whose flags say: no objects
_EMPTY = _named("numpy._core.multiarray", "_reconstruct") + _named("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"


@pytest.mark.parametrize(
    "program",
    [
        _named("numpy", "ndarray") + b"(K\x01\x85\x8c\x01O" + _POINTER + b"tR",
        _named("numpy", "ndarray") + b"K\x01\x85\x8c\x01O" + _POINTER + b"\x87\x81",
        _EMPTY + b"(K\x01K\x01\x85" + _DENYING + b"\x89" + _POINTER + b"tb",
        _EMPTY + b"(K\x01K\x01\x85" + _OBJECTS + b"\x89" + _POINTER + b"tb",
        _named("numpy", "dtype") + b"]\x8c\x01a\x8c\x01O\x86a\x85R",
        _named("numpy._core.multiarray", "_reconstruct") + _named("builtins", "list") + b"K\x00\x85C\x01b\x87R",
        _named("numpy", "ndarray"),
    ],
)
def test_a_file_cannot_make_arrays_of_pointers(program: bytes) -> None:
    if not hasattr(np, "_core"):
        program = program.replace(*(_named(f"numpy.{core}.multiarray", "_reconstruct") for core in ("_core", "core")))
    with pytest.raises(LoadError):
        loads(b"\x80\x04" + program + b".")
