"""The guard: which targets may be loaded at all (issue text "Guard", interfaces section 1).

Judged by the parent and again by every worker, on the addresses it got itself:

1. before DNS is asked, a LivePerson domain needs its host in `allowed_hosts`, `environment = "production"` and
   `--yes-production`, wherever its name may lead;
2. an address given by `--resolve` takes the place of that question: a production name can be practised with
   `--resolve HOST:127.0.0.1`;
3. every address is loopback: allowed, whatever the name;
4. any other target needs its host in `allowed_hosts`, exactly (`host` for all ports, `host:port` for one), a LivePerson
   domain all of 1.

Names are compared whole, label by label: `liveperson.net.example.com` is not LivePerson's, `x.LivePerson.net.` is.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

from harness.config.target import Target, normal_host, parse_target
from harness.errors import GuardError, UsageError

LIVEPERSON_DOMAINS = ("liveperson.net", "liveperson.com", "lpsnmedia.net", "liveper.sn")


def is_loopback(address: str) -> bool:
    """Whether an IP address stays on this machine; IPv4 inside IPv6 is looked through.

    Raises `ValueError` when the text is no IP address.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped.is_loopback
    return ip.is_loopback


def is_liveperson(host: str) -> bool:
    """Whether a normalised host name is one of LivePerson's domains or inside one."""
    return any(host == domain or host.endswith("." + domain) for domain in LIVEPERSON_DOMAINS)


def check_target(
    url: str, addresses: list[str], *, allowed_hosts: Iterable[str], environment: str, yes_production: bool
) -> None:
    """Returns when the target may be loaded; else raises `GuardError` with one line that says what is missing.

    `addresses` are all IP addresses the target's name resolved to (or that `--resolve` put in their place); an empty
    list is judged like a foreign address. Raises `UsageError` when `url` is no URL.
    """
    target = parse_target(url)
    if addresses and all(is_loopback(address) for address in addresses):
        return
    where = ", ".join(addresses) or "no address"
    if not _allowed(target, allowed_hosts):
        raise GuardError(
            f"target {target.host} ({where}) is not on this machine and not allowed: "
            f"add --allow-host {target.host} or the profile's target.allowed_hosts if you may load it"
        )
    check_name(url, allowed_hosts=allowed_hosts, environment=environment, yes_production=yes_production)


def check_name(url: str, *, allowed_hosts: Iterable[str], environment: str, yes_production: bool) -> None:
    """Returns when the target's name may be asked of DNS; else raises `GuardError` with one line.

    Only LivePerson's domains are judged by their name alone. Raises `UsageError` when `url` is no URL.
    """
    target = parse_target(url)
    if is_liveperson(target.host):
        if not _allowed(target, allowed_hosts):
            raise GuardError(
                f"target {target.host} is a LivePerson domain and not allowed: "
                f"add --allow-host {target.host} or the profile's target.allowed_hosts if you may load it"
            )
        if environment != "production":
            raise GuardError(
                f"target {target.host} is a LivePerson domain: the profile must say "
                f'target.environment = "production" (it says "{environment}")'
            )
        if not yes_production:
            raise GuardError(f"target {target.host} is a LivePerson domain: confirm with --yes-production")


def _allowed(target: Target, allowed_hosts: Iterable[str]) -> bool:
    return any(_entry_allows(entry, target) for entry in allowed_hosts)


def _entry_allows(entry: str, target: Target) -> bool:
    try:
        # A whole entry that is an IPv6 address has colons of its own.
        return normal_host(entry) == target.host
    except UsageError:
        host, _, port = entry.rpartition(":")
    try:
        return bool(host) and normal_host(host) == target.host and port == str(target.port)
    except UsageError:
        return False
