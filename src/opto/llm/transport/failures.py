"""Turn failures of HTTP into one error of our tree each, with one clear sentence. Pure."""

from __future__ import annotations

import email.utils
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import httpx2

from opto.errors import (
    LLMAuthError,
    LLMConfigError,
    LLMConnectionError,
    LLMError,
    LLMRateLimitError,
    LLMRequestError,
    LLMResponseError,
    LLMServerError,
    LLMTimeoutError,
)

__all__ = ["from_client", "from_exception", "from_status", "parse_retry_after", "quote", "shown_url"]

_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")


_LOGIN = re.compile(r"(^[\w+.-]*:/+)?.*@", re.DOTALL)  # wherever it stands: a password may hold whatever ends one


@lru_cache(maxsize=256)
def shown_url(url: str) -> str:
    """The address without user, password and query, which may hold secrets.

    >>> shown_url("https://me:pw@host:1/v1?key=x")
    'https://host:1/v1'
    """
    try:
        parsed = httpx2.URL(url)
        if not parsed.host:
            raise httpx2.InvalidURL("no host")
        bare = str(parsed.copy_with(username=None, password=None, query=None, fragment=None))
    except httpx2.InvalidURL:
        bare = _LOGIN.sub(r"\1", url).split("?")[0].split("#")[0][:200]
    return "".join(c if c.isprintable() else " " for c in bare)


def quote(text: str, secret: str | None = None, limit: int = 200) -> str:
    """Make foreign text safe to print: one line, bounded, without the key."""
    if secret:
        text = text.replace(secret, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def from_exception(error: Exception, url: str, timeout: float, proxy: str | None = None) -> LLMError:
    """Map an error of httpx2; the caller raises the result `from` it. `proxy` led to `url`, if there was one."""
    where, way = shown_url(url), f" through the proxy {shown_url(proxy)}" if proxy else ""
    if isinstance(error, httpx2.ConnectTimeout):
        return _unsent(
            LLMTimeoutError(
                f"{where} took no connection in time{way}: "
                "check the base URL, the network and the server (`Wire.connect`)."
            )
        )
    if isinstance(error, httpx2.TimeoutException):
        return LLMTimeoutError(
            f"{where} did not answer within {timeout:g} s: raise `timeout`, ask for fewer tokens, or check the server."
        )
    if isinstance(error, httpx2.ProxyError):
        return _unsent(
            LLMConnectionError(
                f"The proxy gave no way to {where} ({quote(str(error))}): "
                "check HTTPS_PROXY, or name the host in NO_PROXY."
            )
        )
    if isinstance(error, httpx2.ConnectError):
        return _unsent(_unconnected(error, where, way))
    if isinstance(error, (httpx2.DecodingError, httpx2.SSEError)):
        return LLMResponseError(f"{where} sent a body that cannot be read ({quote(str(error))}): check the gateway.")
    if isinstance(error, UnicodeError):
        return LLMConfigError(f"{where} names no host: check the base URL.")
    what = quote(str(error)).rstrip(".") or type(error).__name__
    return LLMConnectionError(f"{where} broke the connection ({what}): try again, and read the server's log.")


def _unconnected(error: Exception, where: str, way: str) -> LLMConnectionError:
    distrust = next((link for link in _chain(error) if isinstance(link, ssl.SSLCertVerificationError)), None)
    if distrust:
        return LLMConnectionError(
            f"{where} shows a certificate that is not trusted ({quote(distrust.verify_message)}){way}: "
            "name the authority's file in SSL_CERT_FILE, or check the base URL."
        )
    if any(isinstance(link, ssl.SSLError) for link in _chain(error)):
        return LLMConnectionError(
            f"{where} makes no secure connection ({quote(_reason(error))}){way}: "
            "check the base URL, which may have to begin with http://."
        )
    return LLMConnectionError(
        f"Nobody answers at {where}{way} ({quote(_reason(error))}): check the base URL, and that the server runs."
    )


_E = TypeVar("_E", LLMTimeoutError, LLMConnectionError)


def _unsent(error: _E) -> _E:
    error.sent = False
    return error


def from_status(status: int, headers: Mapping[str, str], body: bytes, url: str, secret: str | None) -> LLMError:
    """Map an answer whose status is not 2xx."""
    where, said = shown_url(url), _server_message(body, secret)
    if status in (401, 403):
        return LLMAuthError(f"{where} refused the key (status {status}{said}): check the API key and its rights.")
    if status == 429 and _error_code(body) in _NO_CREDIT:
        # Not a rate limit: waiting will not bring the money back, so no retry may see it as one.
        return LLMRequestError(f"{where} refuses because the account has no credit (status 429{said}): check billing.")
    if status == 429:
        wait = parse_retry_after(headers)
        hint = "wait and try again" if wait is None else f"try again in {wait:g} s"
        return LLMRateLimitError(f"{where} gets too many requests (status 429{said}): {hint}.", retry_after=wait)
    if status == 408:
        return LLMTimeoutError(f"{where} gave up waiting (status 408{said}): try again.")
    if status >= 500:
        wait = parse_retry_after(headers)
        hint = "try again later" if wait is None else f"try again in {wait:g} s"
        return LLMServerError(f"{where} failed (status {status}{said}): {hint}, and read the server's log.", wait)
    if 300 <= status < 400:
        target = quote(shown_url(headers.get("location", "?")), secret)
        return LLMRequestError(f"{where} redirects to {target} (status {status}): use the final base URL.")
    if status == 404:
        base = where.removesuffix("/chat/completions")
        hint = "" if re.search(r"/v\d", base) else f", which usually ends in a version: {base}/v1"
        return LLMRequestError(f"{where} does not exist (status 404{said}): check model name and base URL{hint}.")
    return LLMRequestError(f"{where} refuses the request (status {status}{said}): change the request or its options.")


def from_client(error: Exception, who: str) -> LLMError | None:
    """The error of another library's client as ours, by its `status_code`; None when it has none."""
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or isinstance(error, LLMError):
        return None
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    said = f"{who}: {quote(str(error))} (status {status})"
    if status == 429:
        return LLMRateLimitError(said, retry_after=parse_retry_after(headers))
    if status >= 500 and not headers:
        return LLMConnectionError(said)  # clients call a broken connection 500 too: it may have been worked on
    if status >= 500:
        return LLMServerError(said, parse_retry_after(headers))
    kinds: dict[int, type[LLMError]] = {401: LLMAuthError, 403: LLMAuthError, 408: LLMTimeoutError}
    return kinds.get(status, LLMRequestError)(said)


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` (a number or a date); None when absent or senseless."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * scale
        except ValueError:
            seconds = _seconds_until(value, now)
        if 0 <= seconds < 1e9:
            return seconds
    return None


def _reason(error: BaseException) -> str:
    """The system's own words at the bottom of a chain of re-raised errors, which sync and async share."""
    reason = str(error)
    for link in _chain(error):
        if isinstance(link, OSError) and link.strerror:
            # The system's text is shorter than asyncio's; numbers of another kind are not the system's.
            foreign = isinstance(link, (socket.gaierror, ssl.SSLError)) or not link.errno
            reason = link.strerror if foreign else os.strerror(link.errno or 0)
    return reason


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The errors that this one was raised from, down to the first."""
    link = error
    while below := link.__cause__ or link.__context__ or _last(link):
        yield (link := below)


def _last(group: BaseException) -> BaseException | None:
    """The last error of a group, such as that of a host with several addresses none of which answers."""
    errors: tuple[BaseException, ...] = getattr(group, "exceptions", ())
    return errors[-1] if errors else None


def _seconds_until(date: str, now: datetime | None) -> float:
    try:
        when = email.utils.parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return -1.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _error_fields(body: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = data.get("error", data) if isinstance(data, dict) else None
    return error if isinstance(error, dict) else {"message": error}


def _error_code(body: bytes) -> object:
    code = _error_fields(body).get("code")
    return code if isinstance(code, str) else None


def _server_message(body: bytes, secret: str | None) -> str:
    """The server's own words as `, it says: …`; pages of HTML say nothing to a person."""
    fields = _error_fields(body)
    message = fields.get("message") or fields.get("detail")  # the latter by servers made with FastAPI
    if isinstance(message, (dict, list)):
        message = json.dumps(message, ensure_ascii=False)
    if not isinstance(message, str):
        text = body[:2000].decode("utf-8", "replace").strip()
        message = "" if text.startswith(("<", "{", "[")) else text
    return f', it says: "{quote(message, secret)}"' if message else ""
