"""URLs as they travel and as they are shown."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.llm.transport.address import login_of, parse_address, shown_url


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("HTTPS://API.example.com:443", "https://api.example.com/"),
        ("http://h:80/v1/", "http://h/v1/"),
        ("http://h:8080/v1", "http://h:8080/v1"),
        ("http://[0:0::1]:11434/v1", "http://[::1]:11434/v1"),
        ("http://my_service/v1", "http://my_service/v1"),
        ("http://bücher.example/a b?q=ü#part", "http://xn--bcher-kva.example/a%20b?q=%C3%BC"),
        ("http://h/already%20there", "http://h/already%20there"),
        ("http://me:secret@h/v1", "http://h/v1"),
    ],
)
def test_an_address_is_ascii_and_holds_no_login(url: str, sent: str) -> None:
    assert str(parse_address(url)) == sent
    assert str(parse_address(sent)) == sent


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "nonsense",
            "ftp://x/v1",
            "http://",
            "http:///v1",
            "http://[bad",
            "http://[::g]/",
            "http://h:99999999/v1",
        ),
        *(
            "http://h:x/",
            "http://a b/",
            "http://a..b/",
            "http://-a/",
            f"http://{'a' * 64}.b/",
            f"http://{'a.' * 130}b/",
        ),
        *("http://h\n/v1", "http://h/v1\r\nx: y", " http://h/", "http://h/v1 ", "http://h%20x/", "http://a\u2028b/"),
    ],
)
def test_what_is_no_address_is_refused_with_a_reason_that_quotes_nothing(url: str) -> None:
    with pytest.raises(ValueError, match=r"^it |^its ") as caught:
        parse_address(url)
    assert "\n" not in str(caught.value)


def test_a_path_below_keeps_the_query_and_replaces_what_has_the_same_name() -> None:
    base = parse_address("http://h/v1/?a=1&b=2&c=")
    assert base.below("chat").target == "/v1/chat?a=1&b=2&c="
    assert base.below("chat", [("b", "x y"), ("d", "&")]).target == "/v1/chat?a=1&c=&b=x+y&d=%26"


@pytest.mark.parametrize(
    ("location", "ends"),
    [
        ("/x?y", "https://h:1/x?y"),
        ("x", "https://h:1/a/x"),
        ("//other/x", "https://other/x"),
        ("http://h/", "http://h/"),
        ("?q", "https://h:1/a/b?q"),
    ],
)
def test_a_redirect_leads_as_links_do(location: str, ends: str) -> None:
    assert str(parse_address("https://h:1/a/b").join(location)) == ends


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0", "app.localhost", "[::]"])
def test_this_machine_is_known_by_all_its_names(host: str) -> None:
    assert parse_address(f"http://{host}:1/").loopback


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "[fe80::1]", "localhost.example.com", "notlocalhost"])
def test_another_machine_is_another(host: str) -> None:
    assert not parse_address(f"http://{host}:1/").loopback


def test_a_login_is_read_decoded() -> None:
    assert login_of("http://me:pass%20word@h/") == ("me", "pass word")
    assert login_of("http://me@h/") == ("me", "") and login_of("http://h/") is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@host:1/v1?key=x#y", "https://host:1/v1"),
        ("https://me@x:pw@host", "https://host"),
        ("http://me:pw@[bad/v1?key=pw", "http://[bad/v1"),
        ("me:pw@host/v1", "host/v1"),
        ("http:/me:pw@host/v1", "http:/host/v1"),
        ("http://me:p/w@host/v1", "http://host/v1"),
        ("http://me:p#w?w@host:1/v1", "http://host:1/v1"),
        ("me:p\nw@host", "host"),
        ("ftp://me:pw@h/x", "ftp://h/x"),
        ("no\nsense", "no sense"),
    ],
)
def test_a_shown_address_holds_no_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.text(string.printable, max_size=40))
def test_whatever_is_parsed_is_safe_to_send(start: str, rest: str) -> None:
    for url in (start + rest, f"http://{start}/{rest}", f"https://h/{start}?{rest}"):
        shown = shown_url(url)
        assert shown.isprintable() and "?" not in shown
        try:
            address = parse_address(url)
        except ValueError:
            continue
        text = str(address)
        assert text.isascii() and text.isprintable() and " " not in text
        assert parse_address(text) == address
