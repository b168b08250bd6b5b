"""Where calls go: the target's URL, its addresses after DNS (checked by the guard), and how TLS is spoken to it.

DNS is asked before the run and again during it (`find_addresses`, `Endpoint.renew`): a service that moves takes new
connections along, as it does with browsers; those that are open stay where they are.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from harness.config.guard import check_name, check_target
from harness.config.model import RunConfig
from harness.config.target import Target, parse_target
from harness.config.tls import client_context
from harness.engine.sources import Sources
from harness.errors import UnreachableError, UsageError

Address = tuple[int, Any]
Resolver = Callable[..., list[Any]]


@dataclass
class Endpoint:
    """One target: `host` is what the Host header says, `addresses` are (family, sockaddr) in order of preference.

    Connections to it come from `sources`, or from wherever the kernel chooses.
    """

    url: str
    host: str
    hostname: str
    base_path: str
    addresses: list[Address]
    tls: ssl.SSLContext | None = None
    sources: Sources | None = None
    # Of pooled connections, which belong to no visitor; other modes keep a session per visitor, as browsers do.
    tls_session: Any = None
    _turn: int = field(default=0, repr=False)

    def address(self) -> Address:
        """The address for the next connection."""
        return self.addresses[self._turn]

    def address_failed(self, address: Address) -> None:
        """This address could not be connected to: the next connection tries another, if there is one.

        Many connects to it may fail together; they turn away from it once.
        """
        if address == self.addresses[self._turn]:
            self._turn = (self._turn + 1) % len(self.addresses)

    def renew(self, addresses: list[Address]) -> None:
        """Takes what DNS says now, for connections opened from now on.

        An address that is still there and served the last connection goes on doing so, whatever the new order.
        """
        current = self.address()
        self.addresses = addresses
        self._turn = addresses.index(current) if current in addresses else 0


def resolve_endpoint(config: RunConfig, getaddrinfo: Resolver = socket.getaddrinfo) -> Endpoint:
    """The endpoint of a run's target, resolved and allowed by the guard.

    Raises `UsageError` for an unusable URL, certificate file or source address, and what `find_addresses` raises.
    """
    target = parse_target(config.target)
    sources = Sources(config.source_addresses) if config.source_addresses else None
    return Endpoint(
        url=config.target,
        host=target.authority,
        hostname=target.host,
        base_path=target.base_path,
        addresses=find_addresses(config, sources, getaddrinfo),
        tls=client_context(ca_file=config.ca_file, client_cert=config.client_cert, insecure=config.insecure)
        if target.tls
        else None,
        sources=sources,
    )


def find_addresses(
    config: RunConfig, sources: Sources | None, getaddrinfo: Resolver = socket.getaddrinfo
) -> list[Address]:
    """The target's addresses as DNS has them now, all allowed by the guard; blocks while DNS is asked.

    `--resolve` entries (host → address) take the place of DNS. Raises `UnreachableError` when the name does not
    resolve, `GuardError` when the guard forbids an address, `UsageError` when none can be reached from `sources`.
    """
    target = parse_target(config.target)
    name = _name(config, target)
    words: dict[str, Any] = {
        "allowed_hosts": config.allowed_hosts,
        "environment": config.environment,
        "yes_production": config.yes_production,
    }
    if target.host not in config.resolve:
        check_name(config.target, **words)
    try:
        found = getaddrinfo(name, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(
            f"target host '{name}' does not resolve: {error}: see that --target is right, or give --resolve HOST:ADDR"
        ) from error
    addresses: list[Address] = [(family, sockaddr) for family, _type, _proto, _name, sockaddr in found]
    check_target(
        config.target,
        [str(sockaddr[0]) for _family, sockaddr in addresses],
        **words,
    )
    if sources is None:
        return addresses
    reachable = [address for address in addresses if sources.serves(address[0])]
    if not reachable:
        raise UsageError(f"no --source-address is of the family (IPv4, IPv6) of target {target.host}'s addresses")
    return reachable


def is_named(config: RunConfig) -> bool:
    """Whether the target's address comes from DNS and may change: it is neither literal nor given by `--resolve`."""
    try:
        ip_address(_name(config, parse_target(config.target)))
    except ValueError:
        return True
    return False


def _name(config: RunConfig, target: Target) -> str:
    return config.resolve.get(target.host, target.host)
