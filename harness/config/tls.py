"""How a client of ours trusts a server: the TLS context of everything that connects to a target."""

from __future__ import annotations

import ssl

from harness.errors import UsageError


def client_context(*, ca_file: str | None, client_cert: str | None = None, insecure: bool = False) -> ssl.SSLContext:
    """A context that verifies servers against the system's authorities, or those in `ca_file`.

    `client_cert` is a file with certificate and key; `insecure` verifies nothing. Raises `UsageError` when a file
    cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if client_cert is not None:
            # An empty password, so that OpenSSL does not ask the terminal for the one of an encrypted key.
            context.load_cert_chain(client_cert, password="")
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the CA file or client certificate cannot be used: {error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
