"""User agents: device classes, systems, and who is no human."""

from __future__ import annotations

import pytest

from harness.trace.useragent import Agent, classify


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0",
            Agent("desktop", "WINDOWS", "10.0"),
        ),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Tablet PC 2.0)", Agent("desktop", "WINDOWS", "6.1")),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1", Agent("desktop", "MAC_OSX", "10.15")),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Firefox/120.0", Agent("desktop", "LINUX")),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) Mobile/15E148", Agent("mobile", "IOS", "17.4")),
        ("Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) Mobile/15E148 Safari/604.1", Agent("tablet", "IOS", "12.5")),
        (
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/120.0 Mobile Safari/537.36",
            Agent("mobile", "ANDROID", "14"),
        ),
        ("Mozilla/5.0 (Linux; Android 9; SM-T510) Chrome/120.0 Safari/537.36", Agent("tablet", "ANDROID", "9")),
        ("Mozilla/5.0 (Android; Tablet; rv:27.0) Firefox/27.0", Agent("tablet", "ANDROID")),
        ("Mozilla/5.0 (compatible; MSIE 10.0; Windows Phone 8.0; IEMobile/10.0)", Agent("mobile", "WINDOWS", "8.0")),
        ("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1) Version/11.10", Agent("mobile")),
        ("Mozilla/5.0", Agent("desktop")),
    ],
)
def test_people(agent: str, expected: Agent) -> None:
    """A person's agent gives its device class, and system and version where it names them."""
    assert classify(agent.encode()) == expected


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "-",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 6_0 like Mac OS X) Mobile/10A5376e (compatible; Googlebot-Mobile/2.1)",
        "Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)",
        "msnbot/2.0b",
        "Tiny Tiny RSS/1.11",
        "UniversalFeedParser/4.2",
        "curl/8.0",
        "python-requests/2.31",
        "Wget/1.21",
        "Go-http-client/2.0",
        "Java/17.0.1",
        "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0",
        "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/534 BingPreview/1.0b",
    ],
)
def test_robots(agent: str) -> None:
    """Crawlers, feed readers, programs and nameless clients are no people."""
    assert classify(agent.encode()) is None


def test_any_bytes() -> None:
    """Agents are bytes of any encoding."""
    assert classify(b"\xff\xfe Windows NT 6.0") == Agent("desktop", "WINDOWS", "6.0")
