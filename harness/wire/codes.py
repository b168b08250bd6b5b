"""The documented error replies: HTTP status and internalCode with their meaning (contract section 2.3)."""

from __future__ import annotations

from typing import Final

INVALID_VALUE: Final = 5
INVALID_ACCOUNT: Final = 6
NO_PERMISSION: Final = 10
SESSION_NOT_FOUND: Final = 12
UNEXPECTED: Final = 18
LOADING: Final = 20
MOVING: Final = 27
ILLEGAL_VERSION: Final = 33
BAD_VID: Final = 37
LOADING_ACCEPTED: Final = 38
BAD_SID: Final = 39

MEANINGS: Final[dict[tuple[int, int], str]] = {
    (202, LOADING_ACCEPTED): "the account is being loaded (Monitoring API 1.1)",
    (400, INVALID_VALUE): "the body cannot be parsed, or a value is invalid or missing",
    (400, ILLEGAL_VERSION): "illegal API version",
    (401, NO_PERMISSION): "no permission",
    (404, INVALID_ACCOUNT): "invalid account",
    (404, SESSION_NOT_FOUND): "session not found or too old",
    (404, UNEXPECTED): "invalid app installation",
    (404, BAD_VID): "invalid or unknown visitor id",
    (404, BAD_SID): "invalid or unknown session id",
    (500, UNEXPECTED): "unexpected server error",
    (500, LOADING): "the account is being loaded",
    (503, MOVING): "the session is moving to another server",
}
BODILESS: Final = frozenset({401, 422, 429, 503})
"""Error statuses whose body the documentation leaves open."""
