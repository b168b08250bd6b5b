"""Temporary space for what cannot be written yet, or must be read twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from harness.errors import StorageError

_SPOOL_BYTES = 16 * 1024 * 1024


@contextmanager
def open_spool() -> Iterator[IO[bytes]]:
    """A temporary file without a name, in memory while it is small; a full disk is a `StorageError`."""
    try:
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
            yield spool
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"{tempfile.gettempdir()}: temporary space: {error.strerror}: set TMPDIR") from error
