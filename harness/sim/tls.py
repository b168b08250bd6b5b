"""A self-signed certificate for tests, made by the `openssl` command."""

from __future__ import annotations

import ipaddress
import ssl
import subprocess
from pathlib import Path

from harness.errors import UsageError


def self_signed(directory: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A server context and the path of its certificate, good for `host`, localhost and loopback for 30 days.

    The certificate is its own authority: a client that is to verify takes the file as its CA file. Key and certificate
    are written into `directory`. Raises `UsageError` when there is no `openssl`, or it fails.
    """
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    names = {"DNS:localhost", "IP:127.0.0.1", "IP:::1", _subject_name(host)}
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "30", "-subj", "/CN=harness sim"]
    command += ["-addext", f"subjectAltName={','.join(sorted(names))}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise UsageError("--tls needs the openssl command: install the package 'openssl'") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UsageError(f"--tls: openssl could not make a certificate: {reason[0]}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def _subject_name(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"
