"""One TCP (or TLS) connection: a non-blocking socket, watched as long as it lives, one request at a time.

The connection knows bytes, not visits. It moves connecting → (shaking hands) → idle ⇄ busy → closed and tells its owner
through `on_connected`, `on_reply`, `on_fault` and `on_idle_close`. The usual attempt costs
one `send`, one wake-up and one `recv`.
"""

from __future__ import annotations

import errno
import os
import ssl
from socket import IPPROTO_TCP, SO_ERROR, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY
from time import monotonic_ns
from typing import Any

from harness.engine.endpoint import Address, Endpoint
from harness.engine.heads import Heads
from harness.engine.http import BadReplyError, ReplyReader
from harness.engine.plain_socket import PlainSocket
from harness.engine.poller import READ, WRITE, Poller, Watched
from harness.visitor.records import Result

# A TLS record holds no more; a longer reply takes several reads.
_CHUNK = 16_384
_OWN_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Owner:
    """Whom a connection tells what happened; called in the hub, must not block."""

    def on_connected(self, connection: Connection) -> None:
        """TCP (and TLS) is up; a request that waited is being sent."""
        raise NotImplementedError

    def on_reply(self, connection: Connection, reader: ReplyReader, done_ns: int) -> None:
        """The reply to the request in flight is complete in `reader`, which the owner resets when it has taken it."""
        raise NotImplementedError

    def on_fault(self, connection: Connection, result: Result, message: str, done_ns: int) -> None:
        """The request in flight will have no readable reply; the connection is closed."""
        raise NotImplementedError

    def on_idle_close(self, connection: Connection) -> None:
        """The peer closed the connection while it was idle."""
        raise NotImplementedError

    def on_own_limit(self) -> None:
        """This machine, not the target, has no descriptor, port or memory for the connection."""
        raise NotImplementedError

    def crash(self, error: BaseException) -> None:
        """Our own code raised inside a callback."""
        raise NotImplementedError


class Connection(Watched):
    """A connection to the endpoint; `carried` is whatever its owner attached to the request in flight.

    Moments are absolute ns of `monotonic_ns`: `started_ns` when the attempt was begun, `connected_ns` when the
    connection was there, `sent_ns` when the request was handed to the kernel; -1 while not reached. `idle_seen_ns` is
    the owner's note of when it first found the connection idle after a reply. `tls_session` is what the handshake tries
    to resume, and after the close what another connection may resume.
    """

    __slots__ = (
        "_address",
        "_endpoint",
        "_fd",
        "_outgoing",
        "_owner",
        "_poller",
        "_reader",
        "_recv",
        "_send",
        "_shaking",
        "_sock",
        "_tls",
        "busy",
        "carried",
        "connected_ns",
        "connecting",
        "idle_seen_ns",
        "sent_ns",
        "started_ns",
        "tls_resumed",
        "tls_session",
    )

    def __init__(self, poller: Poller, endpoint: Endpoint, heads: Heads, owner: Owner, tls_session: Any = None) -> None:
        self._poller = poller
        self._endpoint = endpoint
        self._owner = owner
        self._address: Address = endpoint.address()
        self._reader = ReplyReader(heads)
        self._sock: Any = None
        self._tls: Any = None
        self._fd = -1
        self._outgoing = b""
        self._shaking = False
        self.busy = False
        self.connecting = False
        self.carried: Any = None
        self.started_ns = self.connected_ns = self.sent_ns = self.idle_seen_ns = -1
        self.tls_resumed = False
        self.tls_session = tls_session

    # Opening

    def open(self, request: bytes, carried: Any) -> None:
        """Connects and sends `request` as soon as that is done."""
        self.busy = self.connecting = True
        self.carried = carried
        self._outgoing = request
        self.started_ns = monotonic_ns()
        self.connected_ns = self.sent_ns = -1
        family, sockaddr = self._address
        try:
            self._sock = sock = PlainSocket(family, SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            self._fd = sock.fileno()
            sources = self._endpoint.sources
            if sources is not None:
                sources.bind(sock, family)
            code = sock.connect_ex(sockaddr)
        except OSError as error:
            if error.errno in _OWN_LIMITS:
                self._owner.on_own_limit()
            self._fail(Result.connect_error, _reason(error))
            return
        if code in _OWN_LIMITS:
            self._owner.on_own_limit()
        if code not in (0, errno.EINPROGRESS):
            self._endpoint.address_failed(self._address)
            self._fail(Result.connect_error, os.strerror(code))
            return
        self._poller.watch(self._fd, WRITE, self)

    def on_ready(self) -> None:
        """See `poller.Watched`."""
        try:
            if self.connecting:
                if self._shaking:
                    self._shake()
                else:
                    self._on_connect()
            elif self._outgoing:
                self._on_both()
            else:
                self._on_readable()
        except BadReplyError as bad_reply:
            self._fail(Result.bad_reply, str(bad_reply))
        except Exception as error:
            self._owner.crash(error)

    def _on_connect(self) -> None:
        code = self._sock.getsockopt(SOL_SOCKET, SO_ERROR)
        if code:
            self._endpoint.address_failed(self._address)
            self._fail(Result.connect_error, os.strerror(code))
        elif self._endpoint.tls is None:
            self._recv = self._sock.recv
            self._send = self._sock.send
            self._established()
        else:
            self._begin_tls(self._endpoint.tls)

    def _begin_tls(self, context: ssl.SSLContext) -> None:
        # The C object below ssl.SSLSocket: the layers above it (and gevent's) only add waiting, which the loop does.
        wrap: Any = context._wrap_socket  # type: ignore[attr-defined]
        self._tls = wrap(self._sock, False, self._endpoint.hostname, session=self.tls_session)
        self._recv = self._tls.read
        self._send = self._tls.write
        self._shaking = True
        self._shake()

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._poller.watch(self._fd, READ, self)
            return
        except ssl.SSLWantWriteError:
            self._poller.watch(self._fd, WRITE, self)
            return
        except (ssl.SSLError, ssl.CertificateError, OSError) as error:
            self._fail(Result.tls_error, _reason(error))
            return
        self._shaking = False
        self.tls_resumed = bool(self._tls.session_reused)
        self._established()

    def _established(self) -> None:
        self.connecting = False
        self.connected_ns = monotonic_ns()
        self._poller.watch(self._fd, READ, self)
        self._owner.on_connected(self)
        request, self._outgoing = self._outgoing, b""
        self._flush(request)

    # Sending

    def send(self, request: bytes, carried: Any) -> None:
        """Sends the next request on this idle connection."""
        self.busy = True
        self.carried = carried
        self.started_ns = self.connected_ns = monotonic_ns()
        self._flush(request)

    def _flush(self, request: bytes) -> None:
        self.sent_ns = monotonic_ns()
        try:
            sent = self._send(request)
        except _WOULD_BLOCK:
            sent = 0
        except OSError as error:
            self._unsent(error)
            return
        if sent != len(request):
            self._outgoing = request[sent:]
            self._poller.watch(self._fd, READ | WRITE, self)

    def _on_both(self) -> None:
        # The request did not fit into the socket's buffer: rare, so readiness of either kind is simply tried.
        self._on_readable()
        if self._outgoing and self.busy and self._sock is not None:
            self._flush_rest()

    def _flush_rest(self) -> None:
        try:
            sent = self._send(self._outgoing)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            # The peer may have answered before it closed, having read enough.
            self._on_readable()
            if self.busy and self._sock is not None:
                self._unsent(error)
            return
        self.sent_ns = monotonic_ns()
        self._outgoing = self._outgoing[sent:]
        if not self._outgoing:
            self._poller.watch(self._fd, READ, self)

    def _unsent(self, error: OSError) -> None:
        """The peer closed before it took the request; with TLS it may have said why, in an alert not yet read."""
        if self._tls is not None:
            try:
                self._recv(_CHUNK)
            except _WOULD_BLOCK:
                pass
            except ssl.SSLError as alert:
                error = alert
            except OSError:
                pass
        self._fail(_result_of(error, Result.reset), _reason(error))

    # Receiving

    def _on_readable(self) -> None:
        try:
            data = self._recv(_CHUNK)
        except _WOULD_BLOCK:
            return
        except ssl.SSLZeroReturnError:
            data = b""
        except OSError as error:
            self._broken(error)
            return
        done_ns = monotonic_ns()
        if not data:
            self._closed_by_peer(done_ns)
        elif not self.busy:
            # Bytes that answer nothing: the connection cannot be trusted any more.
            self.close()
            self._owner.on_idle_close(self)
        elif self._reader.feed(data):
            if self._outgoing:
                self._complete(done_ns)
            else:
                self.busy = False
                self._owner.on_reply(self, self._reader, done_ns)
        elif self._tls is not None and self._tls.pending():
            # OpenSSL holds more, which the poller cannot see.
            self._on_readable()

    def _complete(self, done_ns: int) -> None:
        if self._outgoing:
            # Answered before the request was fully sent: the answer counts, the connection cannot be used again.
            self._outgoing = b""
            self._reader.keep_alive = False
        self.busy = False
        self._owner.on_reply(self, self._reader, done_ns)

    def _closed_by_peer(self, done_ns: int) -> None:
        if not self.busy:
            self.close()
            self._owner.on_idle_close(self)
        elif self._reader.finish():
            self._complete(done_ns)
        else:
            self._fail(Result.reset, "closed before a byte of the reply")

    def _broken(self, error: OSError) -> None:
        if not self.busy:
            self.close()
            self._owner.on_idle_close(self)
        else:
            self._fail(_result_of(error, Result.bad_reply if self._reader.began else Result.reset), _reason(error))

    def _fail(self, result: Result, message: str) -> None:
        done_ns = monotonic_ns()
        self.close()
        self.busy = self.connecting = self._shaking = False
        self._owner.on_fault(self, result, message, done_ns)

    def expire(self) -> None:
        """The deadline has passed: the request fails as connect_error or tls_error, else as timeout."""
        if self._shaking:
            self._fail(Result.tls_error, "TLS handshake timed out")
        elif self.connecting:
            self._endpoint.address_failed(self._address)
            self._fail(Result.connect_error, "connect timed out")
        else:
            self._fail(Result.timeout, "timed out")

    # Closing

    @property
    def usable(self) -> bool:
        """Whether a request can be sent now."""
        return not self.busy and self._sock is not None

    def close(self) -> None:
        """Closes the socket; does nothing when closed already."""
        if self._tls is not None:
            if not self.connecting and self._tls.session is not None:
                self.tls_session = self._tls.session
            self._tls = None
        if self._sock is not None:
            self._recv = self._send = None
            self._poller.forget(self._fd)
            self._sock.close()
            self._sock = None
        # No cycles may stay behind, not even of a socket that never was: workers run with the garbage collector off.
        self._reader.release()


def _result_of(error: OSError, otherwise: Result) -> Result:
    broken_tls = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)
    return Result.tls_error if broken_tls else otherwise


def _reason(error: BaseException) -> str:
    """A short text without addresses or ids."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error.__class__.__name__}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return error.__class__.__name__
