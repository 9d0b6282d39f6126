"""What environment and system say of the network: which proxy leads to an address, which certificates are trusted."""

from __future__ import annotations

import importlib.util
import os
import ssl
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import certifi
import httpcore

from opto.errors import LLMConfigError
from opto.llm.transport.address import PORTS, Address, login_of, parse_address, shown_url

__all__ = ["proxy_url", "surroundings"]


def surroundings(address: Address) -> tuple[ssl.SSLContext | None, httpcore.Proxy | None]:
    """The certificates and the proxy that connections to `address` need."""
    try:
        return _trusted() if address.scheme == "https" else None, _proxy(address)
    except (ImportError, OSError, ValueError) as error:
        raise LLMConfigError(
            f"The environment names a proxy or certificates that cannot be used ({error}): "
            "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error


def proxy_url(address: Address) -> str | None:
    """The proxy for `address`, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, or by the system's settings.

    A proxy set for the world must not catch calls to this very machine.
    """
    if address.loopback or proxy_bypass(f"{address.host}:{address.port}"):
        return None
    proxies = getproxies()
    url = proxies.get(address.scheme) or proxies.get("all")
    return f"http://{url}" if url and "://" not in url else url


def _proxy(address: Address) -> httpcore.Proxy | None:
    url = proxy_url(address)
    if not url:
        return None
    try:
        way, login = parse_address(url, tuple(PORTS)), login_of(url)
    except ValueError as error:
        raise ValueError(f"{shown_url(url)}: {error}") from error
    if way.scheme.startswith("socks") and not importlib.util.find_spec("socksio"):
        raise ImportError("a SOCKS proxy needs the package 'socksio'")
    return httpcore.Proxy(
        f"{way.scheme}://{way.authority}",
        auth=(login[0].encode(), login[1].encode()) if login else None,
        ssl_context=_trusted() if way.scheme == "https" else None,
    )


def _trusted() -> ssl.SSLContext:
    return _read(os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None)


@lru_cache(maxsize=8)
def _read(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Reading the certificates takes as long as twenty calls: once is enough for all connections of a process."""
    if file or folder:
        return ssl.create_default_context(cafile=file, capath=folder)
    return ssl.create_default_context(cafile=certifi.where())
