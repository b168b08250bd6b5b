"""Renders complete HTTP/1.1 requests by splicing ids and body into prepared text.

Everything that stays the same during a run (paths, headers) is laid out once; a call costs a few concatenations. Server
ids are opaque and go out as they came, as the browser client sends them, save for characters that would change the
request line: those are percent-encoded, so that no id can smuggle in a header or another path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from harness.errors import UsageError

API_VERSION: Final = "1.0"
ATTEMPT_HEADER: Final = "X-Harness-Attempt"

# What the browser client sends (contract section 1.1); the engine adds Accept-Encoding if it wants one.
_DEFAULT_HEADERS: Final = {
    "Content-Type": "application/json; charset=UTF-8",
    "Accept": "*/*",
    "Pragma": "no-cache",
    "Cache-Control": "private, max-age=0, no-cache, no-store",
    "X-Requested-With": "XMLHttpRequest",
}
# The renderer's own: a second one would break the framing of the request or the count of attempts.
_OWN_HEADERS: Final = frozenset({"content-length", "transfer-encoding", ATTEMPT_HEADER.lower()})

# Visible ASCII without what delimits a path segment or a query value.
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "/?#&")
_UNSAFE: Final = re.compile(f"[^{re.escape(_SAFE)}]")
_DOTS: Final = {".": "%2E", "..": "%2E%2E"}

_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


def safe_id(text: str) -> str:
    """An id as it stands in a path or query: percent-encoded where it would break the request line, else raw.

    Encoded are controls, spaces, non-ASCII (as UTF-8), `/ ? # &` and an id that is nothing but one or two dots.
    `%` stays, as in the browser client, so that an encoded id passes unchanged: the function is idempotent.
    """
    if text.isascii() and text.isalnum():  # the usual case, three times faster than the pattern
        return text
    if _UNSAFE.search(text):
        return quote(text, safe=_SAFE, errors="surrogatepass")
    return _DOTS.get(text, text)


class CallRenderer:
    """Turns calls into the bytes of complete requests, for one target and account.

    `host` is the authority for the Host header (`name`, `name:port`, `[v6]:port`), `base_path` what the service's path
    is mounted under (empty or `/prefix`), `account` the account id. `headers` are added, or replace a default of the
    same name in any case. The default `LP-URL`, the page that the browser client reports, is the target's own root: a
    replay has no page, and an invented one would mislead who reads the server's log.

    Raises `UsageError` when a part cannot stand in a request; header values are never repeated in it, as they may be
    secret. Contract section 1.1.
    """

    __slots__ = ("_post", "_post_first", "_put", "_rest", "_version")

    def __init__(self, *, host: str, base_path: str, account: str, headers: Mapping[str, str] | None = None) -> None:
        if not _AUTHORITY.fullmatch(host):
            raise UsageError(f"target host '{_shown(host)}' is not usable: write name, name:port or [IPv6]:port")
        prefix = base_path.rstrip("/")
        if prefix and not prefix.startswith("/"):
            raise UsageError(f"target path '{_shown(prefix)}' must begin with a slash")
        if any(_UNSAFE.search(part) for part in prefix.split("/")):
            raise UsageError(f"target path '{_shown(prefix)}' holds characters that cannot stand in a URL path")
        if not account or safe_id(account) != account:
            raise UsageError(f"account '{_shown(account)}' is not usable: write letters, digits and underscores")
        visitors = f"{prefix}/api/account/{account}/app/engagement/visitors/"
        self._post_first = f"POST {visitors}?v={API_VERSION}"
        self._post = f"POST {visitors}"
        self._put = f"PUT {visitors}"
        self._version = f"?v={API_VERSION}"
        self._rest = f" HTTP/1.1\r\n{_header_block(host, headers or {})}{ATTEMPT_HEADER}: "

    def post(self, vid: str | None, sid: str | None, body: bytes, attempt_id: str) -> bytes:
        """A getEngagement request; without `vid` its path ends in a slash, without `sid` the query lacks it.

        The ids are as `safe_id` gave them, `attempt_id` is our own plain text. Raises `ValueError` when the latter
        cannot stand in a header.
        """
        if not (attempt_id.isascii() and attempt_id.isprintable()):
            raise ValueError("an attempt id must be printable ASCII")
        line = f"{self._post}{vid}{self._version}" if vid else self._post_first
        ids = f"&sid={sid}" if sid else ""
        return f"{line}{ids}{self._rest}{attempt_id}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def put(self, vid: str, sid: str, body: bytes, attempt_id: str) -> bytes:
        """An update request; ids and `attempt_id` as in `post`."""
        if not (attempt_id.isascii() and attempt_id.isprintable()):
            raise ValueError("an attempt id must be printable ASCII")
        line = f"{self._put}{vid}{self._version}&sid={sid}"
        return f"{line}{self._rest}{attempt_id}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _header_block(host: str, headers: Mapping[str, str]) -> str:
    """Host and all constant headers as text, each line ended."""
    lines = {name.lower(): (name, value) for name, value in _DEFAULT_HEADERS.items()}
    lines = {"host": ("Host", host), **lines, "lp-url": ("LP-URL", f"https://{host}/")}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise UsageError(f"header name '{_shown(name)}' is not usable: write letters, digits and dashes")
        if name.lower() in _OWN_HEADERS:
            raise UsageError(f"header '{name}' is set by the harness itself: remove it")
        if not _HEADER_VALUE.fullmatch(value):
            raise UsageError(f"the value of header '{name}' must be printable ASCII in one line")
        lines[name.lower()] = (name, value)
    return "".join(f"{name}: {value}\r\n" for name, value in lines.values())


def _shown(text: str) -> str:
    """A user's text on one line of a message."""
    return ascii(text)[1:-1][:80]
