"""Fetch one file of a hub repository over HTTP, going on where an earlier try stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpcore

from opto.errors import ModelFileError
from opto.llm.local.file_digests import digest, move_into_place
from opto.llm.local.known_models import HubFile
from opto.llm.local.progress import Progress, Report
from opto.llm.transport.address import Address, parse_address, shown_url
from opto.llm.transport.body import headers_of
from opto.llm.transport.connections import Clients, request_to
from opto.llm.transport.failures import WIRE_ERRORS

__all__ = ["HUB", "download"]

HUB = "https://huggingface.co"
_TRIES = 4
_HOPS = 6
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_HEADERS: Mapping[str, str] = {}
_HEADERS = {"user-agent": "opto-trace", "accept-encoding": "identity"}
_LIMITS = {"connect": 5.0, "read": 20.0, "write": 20.0}  # a hub out of reach must fail fast: there are other sources


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
    with closing(Clients()) as clients:
        try:
            source = parse_address(url)
            facts = _facts(clients, source)
            # The digest in the name: a file that changes on the hub never continues another's beginning.
            partial = final.with_name(f"{final.name}.{facts.sha256[:12]}.part")
            _fetch(clients, source, partial, facts, report)
        except (*WIRE_ERRORS, ValueError) as error:
            raise ModelFileError(f"{shown_url(url)} cannot be fetched ({type(error).__name__}: {error}).") from error
    report(Progress(f"Checking {final.name}"))
    if digest(partial) != facts.sha256:
        partial.unlink()
        raise ModelFileError(f"{source} arrived damaged (its SHA-256 is not what the hub states): removed, try again.")
    move_into_place(partial, final)
    return facts.sha256


def _facts(clients: Clients, source: Address) -> _Facts:
    """Ask for digest and size; large files answer with a redirect that carries both."""
    with _asked(clients, "HEAD", source, enough=lambda reply: _stated(reply) is not None) as reply:
        facts = _stated(reply)
    if facts is None:
        raise ModelFileError(f"{source} does not state a SHA-256 and a size (status {reply.status}): not trusted.")
    return facts


def _stated(reply: httpcore.Response) -> _Facts | None:
    headers = headers_of(reply)
    etag = headers.get("x-linked-etag", "").removeprefix("W/").strip('"')
    size = headers.get("x-linked-size", "")
    return _Facts(etag, int(size)) if re.fullmatch(r"[0-9a-f]{64}", etag) and size.isdecimal() else None


def _fetch(clients: Clients, source: Address, partial: Path, facts: _Facts, report: Report) -> None:
    for attempt in range(_TRIES):
        try:
            _resume(clients, source, partial, facts, report)
        except WIRE_ERRORS:
            if attempt == _TRIES - 1:
                raise
        if _size(partial) == facts.size:
            return
    raise ModelFileError(f"{source} keeps ending early at {_size(partial)} of {facts.size} bytes: try again later.")


def _resume(clients: Clients, source: Address, partial: Path, facts: _Facts, report: Report) -> None:
    have = _size(partial)
    if have > facts.size:
        partial.unlink()
        have = 0
    if have == facts.size:
        return
    headers = {"range": f"bytes={have}-"} if have else {}
    with _asked(clients, "GET", source, headers) as reply:
        if reply.status not in (200, 206):
            raise ModelFileError(f"{source} is not given (status {reply.status}): try again later.")
        if reply.status != 206:
            have = 0  # this server cannot continue: it sends the whole file
        with partial.open("ab" if have else "wb") as file:
            for chunk in reply.iter_stream():
                file.write(chunk)
                have += len(chunk)
                if have > facts.size:
                    raise ModelFileError(f"{source} sends more than the {facts.size} bytes it stated: refused.")
                report(Progress(f"Downloading {partial.name.split('.gguf')[0]} from the hub", have, facts.size))


@contextmanager
def _asked(
    clients: Clients,
    method: str,
    address: Address,
    headers: Mapping[str, str] = _NO_HEADERS,
    enough: Callable[[httpcore.Response], bool] = lambda reply: False,
) -> Generator[httpcore.Response, None, None]:
    """The first reply on the way that is `enough` or leads nowhere else."""
    for _ in range(_HOPS):
        request = request_to(method, address, {**_HEADERS, **headers}, _LIMITS)
        reply = clients.sync(address).handle_request(request)
        try:
            location = headers_of(reply).get("location")
            if reply.status not in _REDIRECTS or not location or enough(reply):
                yield reply
                return
        finally:
            reply.close()
        following = address.join(location)
        if address.scheme == "https" != following.scheme:
            raise ModelFileError(f"{address} leads to an address without TLS: refused.")
        address = following
    raise ModelFileError(f"{address} leads to ever more addresses: try again later.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
