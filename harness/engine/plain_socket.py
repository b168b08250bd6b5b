"""The socket of a connection, in a module that is never compiled: mypyc cannot extend the interpreter's own classes."""

from __future__ import annotations

import _socket


class PlainSocket(_socket.socket):
    """The interpreter's own socket, without gevent's or the standard library's layers; `ssl` can refer to it weakly."""

    __slots__ = ("__weakref__",)
