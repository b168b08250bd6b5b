"""Target URLs: taken apart and normalised, or refused with one line."""

from __future__ import annotations

import pytest

from harness.config.target import Target, parse_target
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("url", "target", "authority", "again"),
    [
        ("http://Host.Example", Target("http", "host.example", 80, ""), "host.example", "http://host.example"),
        ("https://host.example./", Target("https", "host.example", 443, ""), "host.example", "https://host.example"),
        ("HTTPS://h:8443/b/", Target("https", "h", 8443, "/b"), "h:8443", "https://h:8443/b"),
        ("http://h:443", Target("http", "h", 443, ""), "h:443", "http://h:443"),
        ("http://[::1]:9", Target("http", "::1", 9, ""), "[::1]:9", "http://[::1]:9"),
        ("http://bücher.example", Target("http", "xn--bcher-kva.example", 80, ""), "xn--bcher-kva.example",
         "http://xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_parts_of_a_url(url: str, target: Target, authority: str, again: str) -> None:
    """A URL has one normal form: IDNA, lower case, no trailing dot or slash, no port that the scheme implies."""
    parsed = parse_target(url)
    assert (parsed, parsed.authority, parsed.url, parsed.tls) == (target, authority, again, target.scheme == "https")
    assert parse_target(parsed.url) == parsed


@pytest.mark.parametrize(
    "url",
    [
        "", "host", "host:80", "//host", "ftp://host", "http://", "http://:80", "http://h:0", "http://h:99999",
        "http://h:x", "http://h?q=1", "http://h/#f", "http://h/a b", "http://h/\r\nX: y", "http://a..b", "http://[::1",
        "http://h /", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_what_is_no_target(url: str) -> None:
    """Whatever is no plain http(s) base URL is refused with a usage error of one line."""
    with pytest.raises(UsageError) as caught:
        parse_target(url)
    assert "\n" not in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    """A user name or password in the URL is refused, and the message does not spread it."""
    with pytest.raises(UsageError) as caught:
        parse_target("https://user:s3cret@host.example")
    assert "s3cret" not in str(caught.value) and "user:" not in str(caught.value)
