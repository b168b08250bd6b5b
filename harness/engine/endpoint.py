"""Where calls go: the target's URL, its addresses after DNS (checked by the guard), and how TLS is spoken to it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.config.guard import check_target
from harness.config.model import RunConfig
from harness.config.target import parse_target
from harness.errors import UnreachableError, UsageError

Address = tuple[int, Any]
Resolver = Callable[..., list[Any]]


@dataclass
class Endpoint:
    """One target: `host` is what the Host header says, `addresses` are (family, sockaddr) in order of preference."""

    url: str
    host: str
    hostname: str
    base_path: str
    addresses: list[Address]
    tls: ssl.SSLContext | None = None
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
        if address is self.addresses[self._turn]:
            self._turn = (self._turn + 1) % len(self.addresses)


def resolve_endpoint(config: RunConfig, getaddrinfo: Resolver = socket.getaddrinfo) -> Endpoint:
    """The endpoint of a run's target, resolved once and allowed by the guard.

    `--resolve` entries (host → address) take the place of DNS. Raises `UsageError` for an unusable URL or certificate
    file, `UnreachableError` when the name does not resolve, `GuardError` when the guard forbids an address.
    """
    target = parse_target(config.target)
    name = config.resolve.get(target.host, target.host)
    try:
        found = getaddrinfo(name, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"target host '{name}' does not resolve: {error}") from error
    addresses: list[Address] = [(family, sockaddr) for family, _type, _proto, _name, sockaddr in found]
    check_target(
        config.target,
        [str(sockaddr[0]) for _family, sockaddr in addresses],
        allowed_hosts=config.allowed_hosts,
        environment=config.environment,
        yes_production=config.yes_production,
    )
    return Endpoint(
        url=config.target,
        host=target.authority,
        hostname=target.host,
        base_path=target.base_path,
        addresses=addresses,
        tls=_tls_context(config) if target.tls else None,
    )


def _tls_context(config: RunConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.client_cert is not None:
            # An empty password, so that OpenSSL does not ask the terminal for the one of an encrypted key.
            context.load_cert_chain(config.client_cert, password="")
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the CA file or client certificate cannot be used: {error}") from error
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
