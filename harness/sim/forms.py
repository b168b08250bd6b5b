"""Forms that the service accepts or refuses: ids, accounts, the version of the operation (contract 1.1)."""

from __future__ import annotations

import re

# What an id may look like at most: ids are opaque, but these characters survive a path and a query unescaped.
_ID = re.compile(r"[A-Za-z0-9._~:@+=-]{1,128}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_]{1,20}")


def well_formed_id(text: str | None) -> bool:
    """Whether an id is absent or one that the service could have issued (or tolerates, as client-chosen vids)."""
    return text is None or _ID.fullmatch(text) is not None


def well_formed_account(text: str) -> bool:
    """Whether an account id follows the documented pattern (contract 1.1)."""
    return _ACCOUNT.fullmatch(text) is not None


def known_version(text: str | None) -> bool:
    """Whether the `v` parameter, a number, is 1.0: the only version of this operation."""
    return text in ("1.0", "1")
