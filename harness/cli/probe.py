"""Is the target there, and does it speak HTTP? Asked once, before anything is started."""

from __future__ import annotations

import socket
import ssl

from harness.engine.endpoint import Endpoint
from harness.errors import UnreachableError

_ANSWER_BYTES = 5


def probe(endpoint: Endpoint, timeout_s: float) -> None:
    """Returns when one of the target's addresses answers a HEAD request with any HTTP status.

    `HEAD /` touches no visitor and carries no ids. Raises `UnreachableError` with one line otherwise: nothing listens,
    TLS fails, or what answers is not HTTP.
    """
    reasons: list[str] = []
    for _, address in endpoint.addresses:
        try:
            with socket.create_connection(address[:2], timeout_s) as connection:
                _ask(endpoint, connection)
            return
        except ssl.SSLCertVerificationError as error:
            reasons.append(f"its certificate is not trusted ({error.verify_message}): give --ca-file, or --insecure")
        except ssl.SSLError as error:
            reasons.append(f"no TLS ({error.reason or error}): is it plain http?")
        except TimeoutError:
            reasons.append(f"no answer within {timeout_s:g} s")
        except _NotHttp as error:
            reasons.append(str(error))
        except OSError as error:
            reasons.append((error.strerror or str(error)).lower())
    reason = "; ".join(dict.fromkeys(reasons))
    raise UnreachableError(f"target {endpoint.url} cannot be used: {reason}")


class _NotHttp(Exception):
    """Something answers, but not HTTP."""


def _ask(endpoint: Endpoint, connection: socket.socket) -> None:
    if endpoint.tls is not None:
        connection = endpoint.tls.wrap_socket(connection, server_hostname=endpoint.hostname)
    try:
        connection.sendall(f"HEAD / HTTP/1.1\r\nHost: {endpoint.host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < _ANSWER_BYTES:
            chunk = connection.recv(4096)
            if not chunk:
                break
            answer += chunk
    finally:
        if endpoint.tls is not None:
            connection.close()
    if not answer.startswith(b"HTTP/"):
        shown = ascii(answer[:20].decode("latin-1")) if answer else "nothing"
        raise _NotHttp(f"it does not speak HTTP (it answers {shown})")
