"""Where calls go: what DNS says is judged by the guard, and addresses take turns only when they fail."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from harness.config.model import RunConfig
from harness.engine.endpoint import Endpoint, find_addresses, is_named, resolve_endpoint
from harness.errors import GuardError, UnreachableError, UsageError

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


class Dns:
    """A resolver that knows a few names and remembers what it was asked."""

    def __init__(self, **names: tuple[str, ...]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append((host, port))
        addresses = self.names.get(host, (host,) if host[:1] in "0123456789:" else ())
        if not addresses:
            raise socket.gaierror(-2, "Name or service not known")
        found = []
        for address in addresses:
            tail = (0, 0) if ":" in address else ()
            found.append((FAMILY[6 if tail else 4], socket.SOCK_STREAM, 6, "", (address, port, *tail)))
        return found


def config(target: str, **fields: Any) -> RunConfig:
    """A run's configuration for a target."""
    return RunConfig(run_id="unit", trace="-", target=target, **fields)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://local.test", ("local.test", "local.test", "", 80)),
        ("http://Local.Test.:8080/", ("local.test:8080", "local.test", "", 8080)),
        ("http://local.test/base/", ("local.test", "local.test", "/base", 80)),
        ("https://local.test", ("local.test", "local.test", "", 443)),
        ("http://127.0.0.1:81", ("127.0.0.1:81", "127.0.0.1", "", 81)),
        ("http://[::1]:81", ("[::1]:81", "::1", "", 81)),
    ],
)
def test_the_parts_of_a_target(target: str, expected: tuple[str, str, str, int]) -> None:
    """Host header, name for TLS, base path and port come from the normalised URL; TLS only for https."""
    endpoint = resolve_endpoint(config(target), Dns(local_test=("127.0.0.1",)))
    _, sockaddr = endpoint.address()
    assert (endpoint.host, endpoint.hostname, endpoint.base_path, sockaddr[1]) == expected
    assert (endpoint.tls is not None) == target.startswith("https")


def test_all_addresses_are_kept_in_order_with_their_families() -> None:
    """IPv6 and IPv4 answers stay in the resolver's order."""
    endpoint = resolve_endpoint(config("http://local.test:9"), Dns(local_test=("::1", "127.0.0.1")))
    assert endpoint.addresses == [(socket.AF_INET6, ("::1", 9, 0, 0)), (socket.AF_INET, ("127.0.0.1", 9))]


@pytest.mark.parametrize("addresses", [("93.184.216.34",), ("127.0.0.1", "10.0.0.7"), ("::1", "2001:db8::1")])
def test_a_name_that_leads_off_this_machine_is_refused_in_the_worker(addresses: tuple[str, ...]) -> None:
    """One foreign address among the answers is enough for GuardError; nothing was configured to allow it."""
    with pytest.raises(GuardError, match=r"local\.test .*not allowed"):
        resolve_endpoint(config("http://local.test"), Dns(local_test=addresses))


def test_an_allowed_host_may_lead_elsewhere_but_a_production_one_needs_more() -> None:
    """`allowed_hosts` opens exactly its own host; a LivePerson domain still needs the production words."""
    dns = Dns(local_test=("10.0.0.7",), smt_liveperson_net=("10.0.0.8",))
    allowed = ("local.test", "smt.liveperson.net")
    endpoint = resolve_endpoint(config("http://local.test", allowed_hosts=allowed), dns)
    assert endpoint.addresses == [(socket.AF_INET, ("10.0.0.7", 80))]
    with pytest.raises(GuardError, match="production"):
        resolve_endpoint(config("http://smt.liveperson.net", allowed_hosts=allowed), dns)


def test_resolve_entries_are_asked_instead_of_the_name_and_judged_too() -> None:
    """A pinned loopback address makes any name harmless; a pinned foreign one is refused like any other."""
    dns = Dns()
    pinned = {"smt.liveperson.net": "127.0.0.1"}
    endpoint = resolve_endpoint(config("https://smt.liveperson.net", resolve=pinned), dns)
    assert (endpoint.hostname, endpoint.address()) == ("smt.liveperson.net", (socket.AF_INET, ("127.0.0.1", 443)))
    assert dns.asked == [("127.0.0.1", 443)]
    with pytest.raises(GuardError):
        resolve_endpoint(config("http://local.test", resolve={"local.test": "10.0.0.7"}), dns)


def test_a_liveperson_name_is_judged_before_dns_is_asked() -> None:
    """Wherever it may lead, and even if it leads nowhere: without the three words nobody is asked, not even DNS."""
    dns = Dns(smt_liveperson_net=("127.0.0.1",))
    dns.names["smt.liveperson.net"] = ("127.0.0.1",)
    said = {"allowed_hosts": ("smt.liveperson.net",), "environment": "production", "yes_production": True}
    for missing in said:
        for host in ("smt.liveperson.net", "nowhere.liveperson.net"):
            allowed = {**said, "allowed_hosts": (host,)}
            del allowed[missing]
            with pytest.raises(GuardError, match=f"{host} is a LivePerson domain"):
                resolve_endpoint(config(f"https://{host}", **allowed), dns)
    assert dns.asked == []
    assert resolve_endpoint(config("https://smt.liveperson.net", **said), dns).hostname == "smt.liveperson.net"


def test_a_name_that_does_not_resolve_is_unreachable_in_one_line() -> None:
    """The error names the host; a label that the resolver cannot even encode is the same to the user."""
    with pytest.raises(UnreachableError, match=r"'nowhere\.test' does not resolve"):
        resolve_endpoint(config("http://nowhere.test"), Dns())

    def encode(*_: Any, **__: Any) -> list[Any]:
        raise UnicodeError("label too long")

    with pytest.raises(UnreachableError, match="does not resolve: label too long"):
        resolve_endpoint(config("http://nowhere.test"), encode)


@pytest.mark.parametrize("field", ["ca_file", "client_cert"])
def test_an_unusable_certificate_file_is_a_usage_error(field: str, tmp_path: Any) -> None:
    """A missing file and one that holds no certificate are told in one line."""
    (tmp_path / "junk.pem").write_text("junk")
    for path in ("/nonexistent.pem", str(tmp_path / "junk.pem")):
        with pytest.raises(UsageError, match="CA file or client certificate cannot be used"):
            resolve_endpoint(config("https://127.0.0.1", **{field: path}), Dns())


def test_addresses_change_only_when_the_current_one_fails() -> None:
    """Many failures of one address turn away from it once; a late failure of an old one changes nothing."""
    a, b, c = ((socket.AF_INET, (f"127.0.0.{n}", 80)) for n in (1, 2, 3))
    endpoint = Endpoint("http://x", "x", "x", "", [a, b, c])
    turns = [endpoint.address()]
    for failed in (a, a, a, b, a, c):
        endpoint.address_failed(failed)
        turns.append(endpoint.address())
    assert turns == [a, b, b, b, c, c, a]


def test_new_addresses_take_over_where_the_current_one_is_gone() -> None:
    """What DNS says later: the address in use stays as long as it is named, else the first of the new ones serves."""
    a, b, c = ((socket.AF_INET, (f"127.0.0.{n}", 80)) for n in (1, 2, 3))
    endpoint = Endpoint("http://x", "x", "x", "", [a, b])
    turns = []
    for renewed in ([b, a], [c, a], [b, c], [b, c]):
        endpoint.renew(renewed)
        turns.append(endpoint.address())
    assert turns == [a, a, b, b]
    # A connect that began before the renewal and fails after it still turns away from its address.
    endpoint.address_failed((socket.AF_INET, ("127.0.0.2", 80)))
    assert endpoint.address() == c
    endpoint.address_failed(a)
    assert endpoint.address() == c


def test_the_guard_judges_every_later_answer_too() -> None:
    """DNS is asked each time, and an address that begins to lead off this machine is refused then."""
    dns = Dns(local_test=("127.0.0.1",))
    asked = config("http://local.test:9")
    endpoint = resolve_endpoint(asked, dns)
    dns.names["local.test"] = ("127.0.0.2", "127.0.0.3")
    found = find_addresses(asked, endpoint.sources, dns)
    assert found == [(socket.AF_INET, ("127.0.0.2", 9)), (socket.AF_INET, ("127.0.0.3", 9))]
    dns.names["local.test"] = ("127.0.0.2", "10.0.0.7")
    with pytest.raises(GuardError, match=r"local\.test .*10\.0\.0\.7.*not allowed"):
        find_addresses(asked, endpoint.sources, dns)


@pytest.mark.parametrize(
    ("target", "resolve", "expected"),
    [
        ("http://local.test", {}, True),
        ("http://localhost:1", {}, True),
        ("http://127.0.0.1:1", {}, False),
        ("http://[::1]", {}, False),
        ("http://local.test", {"local.test": "127.0.0.1"}, False),
    ],
)
def test_only_a_name_is_asked_for_again(target: str, resolve: dict[str, str], expected: bool) -> None:
    """Literal addresses and pinned names never change."""
    assert is_named(config(target, resolve=resolve)) is expected


class Only:
    """Sources of one family (`harness.engine.sources.Sources`)."""

    def __init__(self, family: int) -> None:
        self._family = family

    def serves(self, family: int) -> bool:
        return family == self._family


def test_addresses_that_no_source_can_reach_are_left_out() -> None:
    """With an IPv4 source only the IPv4 addresses count; with none of the target's families it is a usage error."""
    dns = Dns(local_test=("::1", "127.0.0.1"), six_test=("::1",))
    four: Any = Only(socket.AF_INET)
    assert find_addresses(config("http://local.test"), four, dns) == [(socket.AF_INET, ("127.0.0.1", 80))]
    with pytest.raises(UsageError, match=r"no --source-address is of the family .* of target six\.test"):
        find_addresses(config("http://six.test"), four, dns)
