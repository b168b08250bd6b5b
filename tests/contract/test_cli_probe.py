"""The probe: what answers HTTP passes, everything else is one line that says why."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.cli.probe import probe
from harness.engine.endpoint import Endpoint
from harness.errors import UnreachableError

pytestmark = pytest.mark.system


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A server that answers every connection with some bytes and closes it; with None it never says a word."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.recv(1024)
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def endpoint(port: int, *, tls: bool = False) -> Endpoint:
    return Endpoint(
        url=f"http{'s' if tls else ''}://t.example:{port}",
        host=f"t.example:{port}",
        hostname="t.example",
        base_path="",
        addresses=[(socket.AF_INET, ("127.0.0.1", port))],
        tls=ssl.create_default_context() if tls else None,
    )


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"500 Oops"])
def test_any_http_status_will_do(status: bytes) -> None:
    """A target that answers HTTP, whatever it answers, can be used."""
    with answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as port:
        probe(endpoint(port), 5.0, 5.0)


@pytest.mark.parametrize(
    ("answer", "tls", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, "it does not speak HTTP (it answers 'SSH-2.0-OpenSSH_9.2"),
        (b"\x00\xff\r\n", False, "it does not speak HTTP"),
        (b"", False, "it does not speak HTTP (it answers nothing)"),
        (None, False, "no answer within 0.3 s"),
        (b"HTTP/1.1 200 OK\r\n\r\n", True, "no TLS"),
    ],
)
def test_what_cannot_be_used(answer: bytes | None, tls: bool, words: str) -> None:
    """Garbage, a silent target and plain HTTP behind an https URL are told apart, in one line."""
    with answering(answer) as port, pytest.raises(UnreachableError) as caught:
        probe(endpoint(port, tls=tls), 0.3, 0.3)
    line = str(caught.value)
    assert line.startswith(f"target http{'s' if tls else ''}://t.example:{port} cannot be used: ") and words in line
    assert "\n" not in line


def test_nothing_listens() -> None:
    """A closed port is named as such."""
    with answering(b"") as port:
        pass
    with pytest.raises(UnreachableError, match="connection refused"):
        probe(endpoint(port), 1.0, 1.0)


def test_one_good_address_is_enough() -> None:
    """Of several addresses the first that answers decides."""
    with answering(b"") as dead:
        pass
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as port:
        both = endpoint(port)
        both.addresses.insert(0, (socket.AF_INET, ("127.0.0.1", dead)))
        probe(both, 1.0, 1.0)


@pytest.mark.parametrize(
    ("connect_s", "answer_s", "words"), [(5.0, 0.2, "no answer within 0.2 s"), (0.2, 5.0, "no connection within 0.2 s")]
)
def test_the_limits_are_those_of_a_run(connect_s: float, answer_s: float, words: str) -> None:
    """A connection has the time of --connect-timeout, TLS included, and what follows that of --timeout."""
    # Nobody answers: in plain text that is a late answer, under TLS a handshake that does not come to its end.
    with answering(None) as port, pytest.raises(UnreachableError, match=words):
        probe(endpoint(port, tls=connect_s < answer_s), connect_s, answer_s)


def test_a_trickle_is_no_answer() -> None:
    """The limit is of the whole answer: a byte now and then does not extend it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                for byte in b"HTTP":
                    if over.wait(0.15):
                        return
                    connection.sendall(bytes([byte]))
                over.wait(5)

        thread = threading.Thread(target=trickle)
        thread.start()
        with pytest.raises(UnreachableError, match=r"no answer within 0\.4 s"):
            probe(endpoint(listener.getsockname()[1]), 1.0, 0.4)
        over.set()
        thread.join()
