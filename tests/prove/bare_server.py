"""A target as cheap as Python lets it be, plain or with TLS: `python -m tests.prove.bare_server [--cert FILE]`.

One epoll loop over the interpreter's own sockets, or its own TLS objects: each request, which has to arrive in one
piece, gets the same Available reply. A slower target would change what is measured of its clients: they would wake for
one reply at a time instead of several. Prints its URL when it is ready and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import select
import socket
import ssl
import sys
from typing import Any

_BODY = (
    b'{"status":"Available","sessionId":"stM0CzMWRye4MZgRBAL4UQ","visitorId":"ZjYWZlYzYzNDE5MTE1OWQ5","pageId":"1",'
    b'"engagementDetails":{"campaignId":"1"}}'
)
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


def serve(context: ssl.SSLContext | None) -> None:
    """Serves on a free port of 127.0.0.1 until the end of standard input."""
    clients: dict[int, tuple[Any, socket.socket]] = {}
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, select.epoll() as poller:
        print(f"http{'s' if context else ''}://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        poller.register(listener, select.EPOLLIN)
        poller.register(sys.stdin, select.EPOLLIN)
        while True:
            for descriptor, _ in poller.poll():
                if descriptor == sys.stdin.fileno():
                    return
                if descriptor == listener.fileno():
                    _accept(listener, context, poller, clients)
                    continue
                (receive, send), client = clients[descriptor]
                try:
                    if receive(16_384):
                        send(_REPLY)
                        continue
                except ssl.SSLWantReadError:
                    continue
                except OSError:
                    pass  # gone, as clients go
                poller.unregister(descriptor)
                del clients[descriptor]
                client.close()


def _accept(listener: socket.socket, context: ssl.SSLContext | None, poller: Any, clients: dict[int, Any]) -> None:
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        try:
            client = context.wrap_socket(client, server_side=True)
        except OSError:
            client.close()  # somebody who only looked whether the port is open
            return
    client.setblocking(False)
    tls: Any = getattr(client, "_sslobj", None)
    clients[client.fileno()] = ((client.recv, client.send) if tls is None else (tls.read, tls.write), client)
    poller.register(client, select.EPOLLIN)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--cert")
    cert = options.parse_args().cert
    secure = None
    if cert is not None:
        secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secure.load_cert_chain(cert)
    serve(secure)
