"""What every server of ours needs: descriptors for its clients, and words for an address that cannot be used."""

from __future__ import annotations

import errno
import resource


def raise_descriptor_limit() -> None:
    """Allow as many connections as the system does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def address_text(host: str, port: int) -> str:
    """`host:port` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cannot_listen(host: str, port: int, error: OSError, otherwise: str) -> str:
    """One line about an address that cannot be listened on; `otherwise` says how to choose another port."""
    address = address_text(host, port)
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use: {otherwise} (0 picks a free one)"
    return f"cannot listen on {address}: {error.strerror or error}"
