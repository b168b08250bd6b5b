"""TLS as the engine speaks it: verified, resumed, closed properly or not, with certificates of an authority of ours."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.system.engine_play import Played, play, visit
from tests.system.misbehaving import AVAILABLE, Behaviour, Call, Seen, answer, peer, reply

pytestmark = pytest.mark.system

MS = 1_000_000
NAME = "service.test"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CUT = reply()[:-20]
LAST = reply(AVAILABLE, "200 OK", "Connection: close")
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n" + AVAILABLE


class Authority:
    """A certificate authority in a directory, made by the `openssl` command."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=CA")

    @property
    def ca_file(self) -> str:
        """What clients trust."""
        return str(self.directory / "ca.pem")

    def issue(self, name: str, names: str, days: int = 2) -> Path:
        """A file with key and certificate for these subject names; negative days make it expired."""
        (self.directory / "extensions").write_text(f"subjectAltName={names}\n")
        self._openssl("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-extfile", "extensions", "-days", str(days)]
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *sign)
        both = self.directory / f"{name}.pem"
        both.write_text((self.directory / f"{name}.key").read_text() + (self.directory / f"{name}.crt").read_text())
        return both

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority with a good, an expired and a wrongly named certificate."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    names = f"DNS:{NAME},DNS:localhost,IP:127.0.0.1,IP:::1"
    authority.issue("good", names)
    authority.issue("expired", names, days=-1)
    authority.issue("elsewhere", "DNS:elsewhere.test")
    authority.issue("client", "DNS:client.test")
    return authority


def serving(authority: Authority, certificate: str = "good", version: str | None = None) -> ssl.SSLContext:
    """A server's context with one of the certificates, for one TLS version or any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.directory / f"{certificate}.pem")
    if version is not None:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def notified(*pieces: bytes) -> Behaviour:
    """Sends these bytes and closes as TLS wants it, with close_notify."""

    def behave(call: Call) -> bool:
        call.send(*pieces)
        assert isinstance(call.sock, ssl.SSLSocket)
        with suppress(OSError):
            call.sock.unwrap()
        return False

    return behave


def play_tls(seen: Seen, authority: Authority | None, *names: str, steps: int = 1, **config: object) -> Played:
    """Plays one visit for each name against the peer under its proper name, trusting the authority."""
    config = {
        "resolve": {NAME: "127.0.0.1"},
        "ca_file": authority and authority.ca_file,
        "timeout_ns": 3_000 * MS,
    } | config
    return play(f"https://{NAME}:{seen.port}", [visit(name, steps) for name in names], **config)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_good_certificate_is_accepted_and_the_connection_kept(authority: Authority, version: str) -> None:
    """Three calls over one verified connection of the version that the server wants; the server hears the name."""
    context = serving(authority, version=version)
    heard: list[str | None] = []
    context.sni_callback = lambda _sock, name, _context: heard.append(name)
    with peer({"v": answer(reply())}, tls=context) as seen:
        played = play_tls(seen, authority, "v", steps=3)
    assert played.results() == {"v": ["available"] * 3}
    assert (seen.tls_versions, heard) == ({f"TLSv{version}"}, [NAME])
    counts = played.connections
    assert (counts["opened"], counts["reused"], counts["tls_full"], counts["tls_resumed"]) == (1, 2, 1, 0)
    connected = [attempt["connected_ns"] - attempt["started_ns"] for attempt in played.attempts]
    # The handshake is part of connecting, and only the first call pays for it.
    assert connected[0] > 0
    assert connected[1:] == [0, 0]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_other_names_of_the_certificate_are_verified_too(authority: Authority, host: str) -> None:
    """A name and literal addresses of both families match their entries in the certificate."""
    listen = "::1" if ":" in host else "127.0.0.1"
    with peer({"v": answer(reply())}, tls=serving(authority), host=listen) as seen:
        resolve = {"localhost": "127.0.0.1"}
        played = play(f"https://{host}:{seen.port}", [visit("v")], ca_file=authority.ca_file, resolve=resolve)
    assert played.results() == {"v": ["available"]}


@pytest.mark.parametrize(
    ("certificate", "trusted", "reason"),
    [
        ("expired", True, "certificate: certificate has expired"),
        ("elsewhere", True, f"certificate: Hostname mismatch, certificate is not valid for '{NAME}'."),
        ("good", False, "certificate: unable to get local issuer certificate"),
    ],
)
def test_a_bad_certificate_is_a_tls_error_and_nothing_is_sent(
    authority: Authority, certificate: str, trusted: bool, reason: str
) -> None:
    """Expired, for another name, of an unknown authority: tls_error with the reason, the peer sees no request."""
    with peer({"v": answer(reply())}, tls=serving(authority, certificate)) as seen:
        played = play_tls(seen, authority if trusted else None, "v")
    (attempt,) = played.attempts
    assert (attempt["result"], attempt["message"]) == ("tls_error", reason)
    assert (attempt["connected_ns"], attempt["sent_ns"]) == (-1, -1)
    assert seen.calls == []
    assert played.connections["opened"] == 0
    assert played.cycles == 0


@pytest.mark.parametrize("certificate", ["expired", "elsewhere", "good"])
def test_insecure_accepts_any_certificate(authority: Authority, certificate: str) -> None:
    """`--insecure` verifies nothing, and only then."""
    with peer({"v": answer(reply())}, tls=serving(authority, certificate)) as seen:
        played = play_tls(seen, None, "v", insecure=True)
    assert played.results() == {"v": ["available"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("given", [True, False])
def test_a_client_certificate_is_shown_when_the_server_asks(authority: Authority, version: str, given: bool) -> None:
    """With the certificate the call is answered; without it the server's alert is a tls_error, in 1.3 too."""
    context = serving(authority, version=version)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    certificate = str(authority.directory / "client.pem") if given else None
    with peer({"v": answer(reply())}, tls=context) as seen:
        played = play_tls(seen, authority, "v", client_cert=certificate)
    assert played.results() == {"v": ["available" if given else "tls_error"]}
    assert len(seen.calls) == given


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_resumed_and_counted_as_the_server_sees_it(authority: Authority, version: str) -> None:
    """Five calls on five connections one after the other: one full handshake, four resumed ones, on both sides."""
    with peer({"v": answer(reply())}, tls=serving(authority, version=version)) as seen:
        played = play_tls(seen, authority, "v", steps=5, connections="fresh")
    assert played.results() == {"v": ["available"] * 5}
    counts = played.connections
    assert (counts["opened"], counts["tls_full"], counts["tls_resumed"]) == (5, 1, 4)
    assert (seen.connections, seen.resumed) == (5, 4)


CLOSINGS: dict[str, tuple[Behaviour, str]] = {
    # The end is the end of the reply only when TLS says that it is one.
    "until_notify": (notified(UNTIL_CLOSE), "available"),
    "until_truncated": (answer(UNTIL_CLOSE, keep=False), "bad_reply"),
    "cut_notified": (notified(CUT), "bad_reply"),
    "cut_truncated": (answer(CUT, keep=False), "bad_reply"),
    "shut_notified": (notified(), "reset"),
    "shut_truncated": (answer(keep=False), "reset"),
    "whole_truncated": (answer(LAST, keep=False), "available"),
    "whole_notified": (notified(LAST), "available"),
    "large": (answer(reply(AVAILABLE.ljust(1 << 20))), "available"),
    "garbage": (answer(b"\x16\x03\x01 what?"), "bad_reply"),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_each_way_to_end_a_reply_has_its_outcome(authority: Authority, version: str) -> None:
    """close_notify ends a reply without a length, a bare close truncates it; nothing hangs, nothing is left behind."""
    behaviours = {name: behaviour for name, (behaviour, _) in CLOSINGS.items()}
    with peer(behaviours, tls=serving(authority, version=version)) as seen:
        played = play_tls(seen, authority, *CLOSINGS)
    assert played.results() == {name: [result] for name, (_, result) in CLOSINGS.items()}
    assert played.descriptors[0] == played.descriptors[1]
    assert played.cycles == 0


def test_a_large_request_goes_out_whole(authority: Authority) -> None:
    """8 MB through TLS in parts, twice on one connection."""
    with peer({"v": answer(reply())}, tls=serving(authority)) as seen:
        visits = [visit("v", 2, body="x" * (8 << 20))]
        played = play(f"https://{NAME}:{seen.port}", visits, resolve={NAME: "127.0.0.1"}, ca_file=authority.ca_file)
    assert played.results() == {"v": ["available"] * 2}
    assert seen.connections == 1


@contextmanager
def raw_peer(answer: bytes | None) -> Iterator[int]:
    """A peer below TLS: sends these bytes to each connection and closes it, or (None) says nothing; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        open_sockets: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    open_sockets.append(sock)
                    if answer is not None:
                        sock.recv(65_536)
                        sock.sendall(answer)
                        sock.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for sock in open_sockets:
                sock.close()


FATAL_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # handshake_failure


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "TLS handshake timed out"),
        (b"", "TLS: UNEXPECTED_EOF_WHILE_READING"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "TLS: WRONG_VERSION_NUMBER"),
        (FATAL_ALERT, "TLS: SSLV3_ALERT_HANDSHAKE_FAILURE"),
    ],
)
def test_a_handshake_that_fails_is_a_tls_error(authority: Authority, answer: bytes | None, message: str) -> None:
    """Silence, a close, plain HTTP and an alert instead of a handshake: tls_error, never connected."""
    with raw_peer(answer) as port:
        target, resolve = f"https://{NAME}:{port}", {NAME: "127.0.0.1"}
        played = play(target, [visit("v")], resolve=resolve, ca_file=authority.ca_file, connect_timeout_ns=500 * MS)
    (attempt,) = played.attempts
    assert (attempt["result"], attempt["connected_ns"]) == ("tls_error", -1)
    assert attempt["message"] == message
    assert played.descriptors[0] == played.descriptors[1]
    assert played.cycles == 0


@pytest.mark.parametrize("mode", ["browser", "fresh"])
def test_many_tls_calls_leave_no_descriptor_and_no_cycle(authority: Authority, mode: str) -> None:
    """600 calls of all kinds of endings: descriptors flat, nothing for the garbage collector, every visit over."""
    kinds = [name for name in CLOSINGS if name != "large"]
    names = [f"{kinds[number % len(kinds)]}-{number}" for number in range(300)]
    with peer({name: behaviour for name, (behaviour, _) in CLOSINGS.items()}, tls=serving(authority)) as seen:
        target, resolve = f"https://{NAME}:{seen.port}", {NAME: "127.0.0.1"}
        visits = [visit(name, 2) for name in names]
        played = play(target, visits, slots=8, resolve=resolve, ca_file=authority.ca_file, connections=mode)
    expected = {name: [CLOSINGS[name.partition("-")[0]][1]] * 2 for name in names}
    assert played.results() == expected
    assert played.descriptors[0] == played.descriptors[1]
    assert played.cycles == 0
