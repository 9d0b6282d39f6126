"""Fetch one file of a hub repository over HTTP, going on where an earlier try stopped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from opto.errors import ModelFileError
from opto.llm.local.files import digest, move_into_place
from opto.llm.local.models import HubFile
from opto.llm.local.progress import Progress, Report

__all__ = ["HUB", "download"]

HUB = "https://huggingface.co"
_TRIES = 4
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)  # a hub that cannot be reached must fail fast: there are other sources


@dataclass(frozen=True, slots=True)
class _Facts:
    sha256: str
    size: int


def download(file: HubFile, final: Path, endpoint: str, report: Report) -> str:
    """Put the hub's file at `final` and return its SHA-256, which the hub itself states and we check.

    The hub's file need not be the one in `KnownModel.sha256` (another quantizer run gives other bytes),
    so its digest comes from the hub's metadata (`X-Linked-Etag`, over TLS), not from our table.
    """
    url = f"{endpoint.rstrip('/')}/{file.repository}/resolve/main/{file.file}"
    with httpx.Client(timeout=_TIMEOUT, headers={"user-agent": "opto-trace", "accept-encoding": "identity"}) as client:
        try:
            facts = _facts(client, url)
            # The digest in the name: a file that changes on the hub never continues another's beginning.
            partial = final.with_name(f"{final.name}.{facts.sha256[:12]}.part")
            _fetch(client, url, partial, facts, report)
        except httpx.HTTPError as error:
            raise ModelFileError(f"{url} cannot be fetched ({type(error).__name__}: {error}).") from error
    report(Progress(f"Checking {final.name}"))
    if digest(partial) != facts.sha256:
        partial.unlink()
        raise ModelFileError(f"{url} arrived damaged (its SHA-256 is not what the hub states): removed, try again.")
    move_into_place(partial, final)
    return facts.sha256


def _facts(client: httpx.Client, url: str) -> _Facts:
    """Ask for digest and size; large files answer with a redirect that carries both."""
    reply = client.head(url, follow_redirects=False)
    for _ in range(5):
        etag = reply.headers.get("x-linked-etag", "").removeprefix("W/").strip('"')
        size = reply.headers.get("x-linked-size", "")
        if re.fullmatch(r"[0-9a-f]{64}", etag) and size.isdecimal():
            return _Facts(etag, int(size))
        if reply.next_request is None:
            break
        reply = client.send(reply.next_request, follow_redirects=False)
    raise ModelFileError(f"{url} does not state a SHA-256 and a size (status {reply.status_code}): not trusted.")


def _fetch(client: httpx.Client, url: str, partial: Path, facts: _Facts, report: Report) -> None:
    for attempt in range(_TRIES):
        try:
            _resume(client, url, partial, facts, report)
        except httpx.TransportError:
            if attempt == _TRIES - 1:
                raise
        if _size(partial) == facts.size:
            return
    raise ModelFileError(f"{url} keeps ending early at {_size(partial)} of {facts.size} bytes: try again later.")


def _resume(client: httpx.Client, url: str, partial: Path, facts: _Facts, report: Report) -> None:
    have = _size(partial)
    if have > facts.size:
        partial.unlink()
        have = 0
    if have == facts.size:
        return
    headers = {"range": f"bytes={have}-"} if have else {}
    with client.stream("GET", url, headers=headers, follow_redirects=True) as reply:
        reply.raise_for_status()
        if reply.status_code != 206:
            have = 0  # this server cannot continue: it sends the whole file
        with partial.open("ab" if have else "wb") as file:
            for chunk in reply.iter_raw():
                file.write(chunk)
                have += len(chunk)
                if have > facts.size:
                    raise ModelFileError(f"{url} sends more than the {facts.size} bytes it stated: refused.")
                report(Progress(f"Downloading {partial.name.split('.gguf')[0]} from the hub", have, facts.size))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
