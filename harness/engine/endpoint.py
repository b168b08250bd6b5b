"""Where calls go: the target's URL, its addresses after DNS (checked by the guard), and how TLS is spoken to it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from harness.config.guard import check_target
from harness.config.model import RunConfig
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
    tls_session: Any = None
    _turn: int = field(default=0, repr=False)

    def address(self) -> Address:
        """The address for the next connection."""
        return self.addresses[self._turn]

    def address_failed(self) -> None:
        """The last address could not be connected to: the next connection tries another, if there is one."""
        self._turn = (self._turn + 1) % len(self.addresses)


def resolve_endpoint(config: RunConfig, getaddrinfo: Resolver = socket.getaddrinfo) -> Endpoint:
    """The endpoint of a run's target, resolved once and allowed by the guard.

    `--resolve` entries (host or host:port → address) take the place of DNS. Raises `UsageError` for an unusable URL or
    certificate file, `UnreachableError` when the name does not resolve, `GuardError` when the guard forbids an address.
    """
    parts = urlsplit(config.target)
    hostname = parts.hostname
    if parts.scheme not in ("http", "https") or not hostname:
        raise UsageError(f"target '{config.target}' is not a URL: write http://HOST[:PORT] or https://HOST[:PORT]")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    pinned = config.resolve.get(f"{hostname}:{port}") or config.resolve.get(hostname)
    try:
        found = getaddrinfo(pinned or hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnreachableError(f"target host '{pinned or hostname}' does not resolve: {error}") from error
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
        host=parts.netloc.rpartition("@")[2],
        hostname=hostname,
        base_path=parts.path.rstrip("/"),
        addresses=addresses,
        tls=_tls_context(config) if parts.scheme == "https" else None,
    )


def _tls_context(config: RunConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.client_cert is not None:
            context.load_cert_chain(config.client_cert)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the CA file or client certificate cannot be used: {error}") from error
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
