"""A request that is not written: the call that the service would read from it, at once.

In virtual time nothing travels as bytes, so head and path need not be put together here and taken apart there. A
`RoutedRenderer` stands where the session's calls are rendered: it keeps the `Call` and gives the body back.
"""

from __future__ import annotations

from harness.visitor.calls import Calls
from harness.wire.render import API_VERSION, CallRenderer
from harness.wire.route import Call


class RoutedRenderer(CallRenderer):
    """Renders for one account; `call` is the last call, as `wire.route` would find it in the rendered head.

    Ids are those that a session holds. They come from the behaviour model or are made up (`stale_ids`), and neither
    has characters that a path would encode.
    """

    __slots__ = ("_account", "call")

    def __init__(self, account: str) -> None:
        # Raises `UsageError` for an account that cannot stand in a request.
        super().__init__(host="rehearsal", base_path="", account=account)
        self._account = account
        self.call = Call("get_engagement", account)

    def post(self, vid: str | None, sid: str | None, body: bytes, attempt_id: str) -> bytes:
        """The body; see `CallRenderer.post` for the arguments."""
        self.call = Call("get_engagement", self._account, vid or None, sid or None, API_VERSION, attempt_id)
        return body

    def put(self, vid: str, sid: str, body: bytes, attempt_id: str) -> bytes:
        """The body; see `CallRenderer.put` for the arguments."""
        self.call = Call("update", self._account, vid or None, sid, API_VERSION, attempt_id)
        return body


class Account:
    """One account in virtual time: its number, its calls, and the renderer that shows the last of them."""

    __slots__ = ("calls", "name", "renderer")

    def __init__(self, name: str) -> None:
        self.name = name
        self.renderer = RoutedRenderer(name)
        self.calls = Calls(self.renderer)
