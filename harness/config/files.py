"""Where the files that travel with the package are: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

import harness
from harness.errors import InternalError

_PACKAGE = Path(harness.__file__).resolve().parent
_ROOTS = (_PACKAGE / "_files", _PACKAGE.parent)


def packaged(relative: str) -> Path:
    """The path of a packaged file such as `fixtures/demo.jsonl.gz` or `locustfiles/engagement.py`.

    Raises `InternalError` when the installation lacks it.
    """
    for root in _ROOTS:
        path = root / relative
        if path.exists():
            return path
    raise InternalError(f"this installation lacks {relative}: install engagement-harness again")
