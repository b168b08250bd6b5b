"""The name of a trace's content: SHA-256 of the uncompressed bytes, so that packing it otherwise changes nothing."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from harness.trace.lines import read_chunks


def trace_digest(source: str | Path) -> str:
    """`sha256:` and 64 hex digits over the uncompressed content of a file (or `-`), in constant memory.

    Raises `TraceError` when the source cannot be read to its end.
    """
    digest = sha256()
    for chunk in read_chunks(source):
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
