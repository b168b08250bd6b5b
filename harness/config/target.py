"""The target's URL, taken apart and normalised once.

Everything that decides about a target (guard, probe, engine) reads this, never the text: host names are compared in
the form that the resolver will use (lower case, no trailing dot, IDNA), so a look-alike spelling cannot pass for
another host.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import msgspec

from harness.errors import UsageError

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Target(msgspec.Struct, frozen=True):
    """A base URL: `host` is normalised (no brackets around IPv6), `base_path` is empty or begins with a slash."""

    scheme: str
    host: str
    port: int
    base_path: str

    @property
    def tls(self) -> bool:
        """Whether the target speaks TLS."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The normalised base URL."""
        return f"{self.scheme}://{self.authority}{self.base_path}"


def normal_host(text: str) -> str:
    """The host name as the resolver will see it: IDNA, lower case, without the trailing dot.

    Raises `UsageError` when the text is no host name.
    """
    host = text.strip("[]").lower()
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        # Python's resolver applies the same codec, so what is judged here is what is looked up later.
        ascii_host = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise UsageError(f"'{text}' is not a host name") from None
    # Once more after IDNA: its mapping can produce a dot from another character.
    ascii_host = ascii_host.rstrip(".")
    if not ascii_host or any(character in ascii_host for character in " /\\@:?#%"):
        raise UsageError(f"'{text}' is not a host name")
    return ascii_host


def parse_target(url: str) -> Target:
    """The parts of a base URL such as `https://service.example:8443/base`.

    Raises `UsageError` for another scheme, a missing host, a bad port, a query, a fragment, or a user name (a secret
    would end up in reports).
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise UsageError(f"'{url}' is not a URL: write http://HOST:PORT or https://HOST") from None
    _refuse_parts(parts)
    return Target(
        scheme=parts.scheme,
        host=normal_host(parts.hostname or ""),
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        base_path=parts.path.rstrip("/"),
    )


def _refuse_parts(parts: SplitResult) -> None:
    # The text itself is not repeated where it may hold a secret.
    if parts.username is not None or parts.password is not None:
        raise UsageError("the target's URL must not hold a user name or password: use [client] headers with env:NAME")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.port == 0:
        raise UsageError(f"'{parts.geturl()}' is not a target: write http://HOST:PORT or https://HOST")
    if parts.query or parts.fragment:
        raise UsageError(f"'{parts.geturl()}' is not a base URL: leave out the query and the fragment")
    if any(not "!" <= character <= "~" for character in parts.path):
        raise UsageError(f"'{parts.geturl()}' is not a base URL: its path must be percent-encoded")
