"""Is the target there, and does it speak HTTP? Asked once, before anything is started."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from harness.engine.endpoint import Endpoint
from harness.errors import UnreachableError

_ANSWER_BYTES = 5


def probe(endpoint: Endpoint, connect_s: float, answer_s: float) -> None:
    """Returns when one of the target's addresses answers a HEAD request with any HTTP status.

    A connection (and TLS on it) may take `connect_s`, the answer after that `answer_s`, as those of a run may.
    `HEAD /` touches no visitor and carries no ids. Raises `UnreachableError` with one line otherwise: nothing listens,
    TLS fails, or what answers is not HTTP.
    """
    reasons: list[str] = []
    for _, address in endpoint.addresses:
        try:
            stage, limit_s = "connection", connect_s
            with (
                socket.create_connection(address[:2], connect_s) as plain,
                _secured(endpoint, plain) as connection,
            ):
                stage, limit_s = "answer", answer_s
                _ask(endpoint, connection, monotonic() + answer_s)
            return
        except ssl.SSLCertVerificationError as error:
            reasons.append(f"its certificate is not trusted ({error.verify_message}): give --ca-file, or --insecure")
        except ssl.SSLError as error:
            reasons.append(f"no TLS ({error.reason or error}): is it plain http?")
        except TimeoutError:
            reasons.append(f"no {stage} within {limit_s:g} s")
        except _NotHttp as error:
            reasons.append(str(error))
        except OSError as error:
            reasons.append((error.strerror or str(error)).lower())
    reason = "; ".join(dict.fromkeys(reasons))
    raise UnreachableError(
        f"target {endpoint.url} cannot be used: {reason}; see that the service runs there and --target is right"
    )


class _NotHttp(Exception):
    """Something answers, but not HTTP."""


@contextmanager
def _secured(endpoint: Endpoint, connection: socket.socket) -> Iterator[socket.socket]:
    if endpoint.tls is None:
        yield connection
        return
    with endpoint.tls.wrap_socket(connection, server_hostname=endpoint.hostname) as secured:
        yield secured


def _ask(endpoint: Endpoint, connection: socket.socket, until_s: float) -> None:
    connection.settimeout(max(0.001, until_s - monotonic()))
    connection.sendall(f"HEAD / HTTP/1.1\r\nHost: {endpoint.host}\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while len(answer) < _ANSWER_BYTES:
        connection.settimeout(max(0.001, until_s - monotonic()))
        chunk = connection.recv(4096)
        if not chunk:
            break
        answer += chunk
    if not answer.startswith(b"HTTP/"):
        shown = ascii(answer[:20].decode("latin-1")) if answer else "nothing"
        raise _NotHttp(f"it does not speak HTTP (it answers {shown})")
