"""How bytes reach the disk: whole files are replaced at once, streams grow by complete pieces.

A whole file is written beside its place, synced and moved over it, so a reader sees the old one or the new one. A
stream is unbuffered: what an append returned from is in the kernel's hands, and a crash of ours loses none of it.
Every `OSError` on the way leaves through one door as a `StorageError` with one line.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import StorageError, UsageError

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space or choose another folder with --out",
    errno.ENOENT: "there is no such folder: choose another with --out",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another folder with --out",
    errno.EACCES: "permission denied: choose a folder that you may write with --out",
    errno.EROFS: "the file system is read-only: choose another folder with --out",
}


# A path that cannot be right, as against a disk that lets us down.
_MISTYPED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EISDIR, errno.EROFS})


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns an `OSError` of the block into an error that names `path`, the reason and what to do.

    It is a `UsageError` for a path that cannot be written to by anybody here, else a `StorageError`.
    """
    try:
        yield
    except OSError as error:
        reason = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        kind = UsageError if error.errno in _MISTYPED else StorageError
        raise kind(f"cannot write {path}: {reason}") from error


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` at `path`, whole or not at all; an older file there stays until then.

    Raises `StorageError` (disk full, permission) and leaves no half-written file behind.
    """
    draft = path.with_name(f".{path.name}.draft")
    with storage_errors(path):
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


class Stream:
    """A file that grows by complete pieces."""

    def __init__(self, path: Path) -> None:
        """Opens `path` for appending; raises `StorageError` when it cannot be opened."""
        self.path = path
        with storage_errors(path):
            self._file = path.open("ab", buffering=0)

    def append(self, piece: bytes) -> None:
        """Writes `piece` completely before it returns; raises `StorageError`, after which the last piece is torn."""
        rest = memoryview(piece)
        with storage_errors(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Closes the file; raises `StorageError` when the system reports a late failure."""
        with storage_errors(self.path):
            self._file.close()
