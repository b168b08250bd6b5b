"""The target as seen from here: does its name resolve, may it be loaded, does TLS hold, does it answer.

Nothing is sent to an address before the guard has allowed all of them; then one handshake an address and, by `probe`,
one request that touches no visitor.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic_ns

from harness.config.model import RunConfig
from harness.doctor.findings import Finding
from harness.engine.endpoint import Address, Endpoint, resolve_endpoint
from harness.errors import GuardError, UnreachableError
from harness.units import NS_PER_MS, NS_PER_S

Probe = Callable[[Endpoint, float, float], None]

_EXPIRES_SOON_DAYS = 21


def target_findings(config: RunConfig, probe: Probe) -> list[Finding]:
    """All that can be said about the target; stops at the first thing that is bad.

    Raises `UsageError` when URL, CA file or client certificate cannot be used.
    """
    began_ns = monotonic_ns()
    try:
        endpoint = resolve_endpoint(config)
    except GuardError as error:
        return [Finding("guard", "bad", str(error), "nothing was sent")]
    except UnreachableError as error:
        return [Finding("dns", "bad", str(error), "check the name, or give --resolve HOST:ADDR")]
    found = ", ".join(dict.fromkeys(str(address[0]) for _, address in endpoint.addresses))
    findings = [
        Finding("dns", "ok", f"{endpoint.hostname} is {found} (asked for {_ms_since(began_ns)})"),
        Finding("guard", "ok", "this target may be loaded"),
    ]
    limit_s = config.connect_timeout_ns / NS_PER_S
    if endpoint.tls is not None:
        findings += [_tls(endpoint, address, limit_s) for address in endpoint.addresses]
    try:
        began_ns = monotonic_ns()
        probe(endpoint, limit_s, config.timeout_ns / NS_PER_S)
        findings.append(Finding("reachable", "ok", f"answers HEAD / with HTTP (after {_ms_since(began_ns)})"))
    except UnreachableError as error:
        findings.append(Finding("reachable", "bad", str(error), "check the URL, the port and the way there"))
    return findings


def _tls(endpoint: Endpoint, address: Address, limit_s: float) -> Finding:
    context = endpoint.tls
    assert context is not None
    where = str(address[1][0])
    began_ns = monotonic_ns()
    try:
        with (
            socket.create_connection(address[1][:2], limit_s) as plain,
            context.wrap_socket(plain, server_hostname=endpoint.hostname) as secured,
        ):
            took = _ms_since(began_ns)
            return _certificate(where, f"{secured.version()} with {where} in {took}", secured, datetime.now(UTC))
    except ssl.SSLCertVerificationError as error:
        advice = "give the authority by --ca-file, or --insecure if that is meant"
        return Finding("tls", "bad", f"{where}: its certificate is not trusted ({error.verify_message})", advice)
    except (ssl.SSLError, OSError) as error:
        return Finding("tls", "bad", f"{where}: no handshake ({error})", "is it plain http?")


def _certificate(where: str, observed: str, secured: ssl.SSLSocket, now: datetime) -> Finding:
    certificate = secured.getpeercert() or {}
    until = certificate.get("notAfter")
    if not isinstance(until, str):
        return Finding("tls", "warn", f"{observed}, certificate not verified", "--insecure is set: is that meant?")
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
    observed += f", certificate valid until {expires:%Y-%m-%d}"
    if (expires - now).days < _EXPIRES_SOON_DAYS:
        return Finding("tls", "warn", observed, f"the certificate of {where} expires soon: renew it")
    return Finding("tls", "ok", observed)


def _ms_since(began_ns: int) -> str:
    return f"{(monotonic_ns() - began_ns) / NS_PER_MS:.1f} ms"
