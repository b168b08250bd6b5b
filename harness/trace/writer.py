"""Writing a trace whole or not at all: into a temporary file beside the target, renamed when it is complete.

The name's ending chooses the compression. Equal content gives equal bytes: no time and no name goes into a gzip header.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, cast

import zstandard

from harness.errors import StorageError, UsageError
from harness.trace.codec import encode_header
from harness.trace.model import Header
from harness.trace.spool import open_spool

_ZSTD_LEVEL = 9
_BUFFER_BYTES = 1024 * 1024


def write_trace(target: str | Path, header: Header, lines: Iterable[bytes], *, private: bool = False) -> int:
    """Write a header and encoded visits (no line ends) to a path or `-`; returns how many visits were written.

    A path gets the compression of its ending (`.gz`, `.zst`, else none) and appears only when complete; standard
    output gets plain lines. Raises as `open_output`.
    """
    count = 0
    with open_output(target, private=private) as stream:
        stream.write(encode_header(header) + b"\n")
        for line in lines:
            stream.write(line + b"\n")
            count += 1
    return count


@contextmanager
def open_output(target: str | Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A binary stream that becomes `target` when the block ends well, and leaves no trace of itself when it does not.

    A target that exists and is no regular file (a pipe, `/dev/null`) is written directly. A `private` file is for its
    owner's eyes alone, also while it is written. Raises `UsageError` when
    the place cannot be written to, `StorageError` when writing fails half-way.
    """
    if str(target) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target).resolve()
    direct = path.exists() and not path.is_file()
    partial = path if direct else path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        raw = open(partial, "wb", _BUFFER_BYTES, opener=_open_private if private else None)  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        with raw:
            with _compressed(path.name, raw) as stream:
                yield stream
            raw.flush()
            if not direct:
                os.fsync(raw.fileno())
        if not direct:
            partial.replace(path)
    except OSError as error:
        raise StorageError(f"{target}: writing stopped: {error.strerror or error}") from error
    finally:
        if not direct:
            partial.unlink(missing_ok=True)


@contextmanager
def open_held_output(target: str | Path) -> Iterator[IO[bytes]]:
    """As `open_output`, but nothing leaves before the block has ended well, not to standard output or a pipe either."""
    path = Path(target)
    if str(target) != "-" and (path.is_file() or not path.exists()):
        with open_output(target) as stream:
            yield stream
        return
    with open_spool() as spool:
        yield spool
        spool.seek(0)
        with open_output(target) as stream:
            shutil.copyfileobj(spool, stream)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _compressed(name: str, raw: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    if name.endswith(".gz"):
        packed = gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0)
        return cast("AbstractContextManager[IO[bytes]]", packed)
    if name.endswith(".zst"):
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(raw, closefd=False)
    return nullcontext(raw)
