"""Where a request goes: one URL, taken apart, safe to send and safe to show. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

__all__ = ["PORTS", "Address", "login_of", "parse_address", "shown_url"]

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # what is longer or empty makes sockets raise UnicodeError
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_IN_PATH = "/%:@!$&'()*+,;=~"  # RFC 3986, 3.3; a percent sign stays, as most URLs arrive encoded
_LOGIN = re.compile(r"(^[\w+.-]*:/+)?.*@", re.DOTALL)  # wherever it stands: a password may hold whatever ends one


@dataclass(frozen=True, slots=True)
class Address:
    """A URL as it travels: ASCII, percent-encoded, without user, password and fragment.

    >>> address = parse_address("HTTPS://example.org/v1")
    >>> str(address.below("chat", [("q", "a b")]))
    'https://example.org/v1/chat?q=a+b'
    """

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What a connection is for."""
        return self.scheme, self.host, self.port

    @property
    def loopback(self) -> bool:
        """Whether it is this very machine."""
        try:
            number = ipaddress.ip_address(self.host)
            return number.is_loopback or number.is_unspecified
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")

    def below(self, path: str, query: Iterable[tuple[str, str]] = ()) -> Address:
        """The address of `path` under this one; `query` is added to its own and replaces what has the same name."""
        own, _, asked = self.target.partition("?")
        if more := dict(query):
            kept = [(name, value) for name, value in parse_qsl(asked, keep_blank_values=True) if name not in more]
            asked = urlencode([*kept, *more.items()])
        target = f"{own.rstrip('/')}/{_encoded(path)}"
        return replace(self, target=f"{target}?{asked}" if asked else target)

    def join(self, location: str) -> Address:
        """Where a redirect from here leads. Raises ValueError as `parse_address`."""
        return parse_address(urljoin(str(self), location))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


@lru_cache(maxsize=256)
def parse_address(url: str, schemes: tuple[str, ...] = ("http", "https")) -> Address:
    """Take a URL apart.

    Raises ValueError whose text says what is wrong and quotes nothing that may be secret.
    """
    parts = _split(url)
    if parts.scheme not in schemes:
        raise ValueError(f"it begins with none of {', '.join(f'{scheme}://' for scheme in schemes)}")
    host = _host(parts.hostname or "")
    path, query = _encoded(parts.path or "/"), _encoded(parts.query, "?")
    return Address(parts.scheme, host, _port(parts), f"{path}?{query}" if query else path)


def login_of(url: str) -> tuple[str, str] | None:
    """User and password in a URL."""
    parts = _split(url)
    if parts.username is None and parts.password is None:
        return None
    return unquote(parts.username or ""), unquote(parts.password or "")


@lru_cache(maxsize=256)
def shown_url(url: str) -> str:
    """The address without user, password and query, which may hold secrets.

    >>> shown_url("https://me:pw@host:1/v1?key=x")
    'https://host:1/v1'
    """
    try:
        address = parse_address(url)
    except ValueError:
        bare = _LOGIN.sub(r"\1", url).split("?")[0].split("#")[0][:200]
        return "".join(c if c.isprintable() else " " for c in bare)
    path = address.target.partition("?")[0]
    return f"{address.scheme}://{address.authority}{'' if path == '/' and not url.endswith('/') else path}"


def _split(url: str) -> SplitResult:
    if not url.isprintable() or " " in url[:1] + url[-1:]:  # which `urlsplit` would drop in silence
        raise ValueError("it holds a character that no URL does")
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ValueError("it is no URL") from error


def _port(parts: SplitResult) -> int:
    try:
        return PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError as error:
        raise ValueError("its port is no number up to 65535") from error


def _host(host: str) -> str:
    """A host as sockets and certificates know it."""
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise ValueError("its host is no IPv6 address") from error
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        ascii_host = ""
    if not _NAME.fullmatch(ascii_host) or len(ascii_host) > 253:
        raise ValueError("it names no host")
    return ascii_host


def _encoded(text: str, more: str = "") -> str:
    return quote(text, safe=_IN_PATH + more)
