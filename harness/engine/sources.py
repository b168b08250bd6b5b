"""Source addresses of this machine, taken in turns: each brings its own ports towards the same target.

One address pair has some 28,000 ports, and a closed connection holds its port for a minute, so a run that opens many
connections needs several. Which port is left to the kernel until the connect: chosen at the bind, ports would be used
up by all targets together.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from itertools import cycle
from typing import Any

from harness.errors import UsageError

# ip(7); the socket module names it on some builds only.
_IP_BIND_ADDRESS_NO_PORT = 24


class Sources:
    """Binds sockets to the addresses in turns, each family for itself.

    Raises `UsageError` when one of the addresses (IPs as text) does not belong to this machine.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        by_family: dict[int, list[tuple[str, int]]] = {}
        for address in addresses:
            family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
            _require_own(family, address)
            by_family.setdefault(family, []).append((address, 0))
        self._turns = {family: cycle(found) for family, found in by_family.items()}

    def serves(self, family: int) -> bool:
        """Whether connections of this family have a source."""
        return family in self._turns

    def bind(self, sock: Any, family: int) -> None:
        """Binds a new socket to the next address of its family; raises `OSError` when that is gone."""
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(next(self._turns[family]))


def _require_own(family: int, address: str) -> None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        raise UsageError(f"--source-address {address} cannot be used on this machine: {error.strerror}") from None
