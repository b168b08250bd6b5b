"""The guard: who may be loaded, by address first and by whole name after it."""

from __future__ import annotations

import pytest

from harness.config.guard import check_target, is_loopback
from harness.errors import ExitCode, GuardError

LOOPBACK = ["127.0.0.1", "::1"]
FOREIGN = ["203.0.113.7"]


def verdict(
    url: str, addresses: list[str], hosts: tuple[str, ...] = (), environment: str = "test", yes: bool = False
) -> str:
    """`allowed`, or the guard's line."""
    try:
        check_target(url, addresses, allowed_hosts=hosts, environment=environment, yes_production=yes)
    except GuardError as error:
        assert error.exit_code is ExitCode.GUARD
        assert "\n" not in str(error)
        return str(error)
    return "allowed"


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("http://127.0.0.1:8765", ["127.0.0.1"]),
        ("http://localhost", LOOPBACK),
        ("http://[::1]:80", ["::1"]),
        ("http://anything.example", ["127.8.9.1"]),
        ("http://mapped.example", ["::ffff:127.0.0.1"]),
        ("https://va.msg.liveperson.net", ["127.0.0.1"]),
    ],
)
def test_loopback_is_always_allowed(url: str, addresses: list[str]) -> None:
    """A target whose every address is this machine may be loaded under any name, practice with --resolve included."""
    assert verdict(url, addresses) == "allowed"


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        FOREIGN,
        ["127.0.0.1", "203.0.113.7"],
        ["0.0.0.0"],
        ["::ffff:203.0.113.7"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["fe80::1%eth0"],
    ],
)
def test_any_foreign_address_needs_permission(addresses: list[str]) -> None:
    """One address that is not loopback, or none at all, makes a target foreign."""
    assert "--allow-host test.example" in verdict("http://test.example", addresses)


@pytest.mark.parametrize(
    ("url", "entry", "allowed"),
    [
        ("http://test.example", "test.example", True),
        ("http://TEST.Example.", "test.example", True),
        ("http://test.example", "Test.EXAMPLE.", True),
        ("http://test.example:8080", "test.example", True),
        ("http://test.example:8080", "test.example:8080", True),
        ("http://test.example", "test.example:80", True),
        ("https://test.example", "test.example:80", False),
        ("http://test.example", "example", False),
        ("http://test.example", "st.example", False),
        ("http://sub.test.example", "test.example", False),
        ("http://test.example.evil.example", "test.example", False),
        ("http://test.example", "*", False),
        ("http://test.example", "", False),
        ("http://[2001:db8::7]:8080", "2001:db8::7", True),
        ("http://[2001:db8::7]:8080", "[2001:db8:0::7]:8080", True),
        ("http://[2001:db8::7]:8080", "2001:db8::8", False),
    ],
)
def test_allowed_hosts_are_compared_whole(url: str, entry: str, allowed: bool) -> None:
    """An entry allows exactly its host, on all ports or on the one it names; nothing is matched in part."""
    assert (verdict(url, FOREIGN, (entry,)) == "allowed") is allowed


@pytest.mark.parametrize(
    "host",
    [
        "liveperson.net",
        "va.msg.liveperson.net",
        "LIVEPERSON.COM.",
        "lptag.liveperson.com",
        "lpsnmedia.net",
        "x.liveper.sn",
        "ｌiveperson.net",
    ],
)
def test_liveperson_domains_need_three_words(host: str) -> None:
    """A LivePerson domain, however spelt, needs allowed host, environment production and --yes-production together."""
    url, hosts = f"https://{host}", (host,)
    assert "allow" in verdict(url, FOREIGN, (), "production", True)
    assert "environment" in verdict(url, FOREIGN, hosts, "test", True)
    assert "environment" in verdict(url, FOREIGN, hosts, "Production", True)
    assert "--yes-production" in verdict(url, FOREIGN, hosts, "production", False)
    assert verdict(url, FOREIGN, hosts, "production", True) == "allowed"


@pytest.mark.parametrize(
    "host", ["notliveperson.net", "liveperson.net.example", "liveperson.network", "liveperson.example"]
)
def test_names_that_only_look_like_liveperson_are_ordinary(host: str) -> None:
    """Only the domains themselves and what lies inside them count as LivePerson's."""
    assert verdict(f"https://{host}", FOREIGN, (host,)) == "allowed"


def test_loopback_of_text_that_is_no_address() -> None:
    """A host name is no address: asking whether it is loopback is our own mistake and raises."""
    with pytest.raises(ValueError):
        is_loopback("localhost")
