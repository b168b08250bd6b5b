"""The recorder's journal: every exchange in a file the moment it is over, so that a crash loses none.

A line of JSON for each exchange, handed to the kernel at once. Ids stand in it only as keyed digests, whose key is
forgotten with the process; bodies stand in it as they were sent, with a list of the ids that were found in them, so
only the owner may read it. When the trace is written the journal is deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import StorageError, TraceError, UsageError
from harness.trace.intake.exchange import Exchange
from harness.trace.lines import BadLines, read_lines

_MAX_LINE_BYTES = 32 * 1024 * 1024


class _Head(msgspec.Struct, kw_only=True):
    """The first line."""

    harness_recording: Literal[1]
    upstream: str = ""


_read_head = msgspec.json.Decoder(_Head).decode
_read_exchange = msgspec.json.Decoder(Exchange).decode


class Journal:
    """A new journal at `path`, which must not exist; `exchanges` counts what it holds."""

    def __init__(self, path: Path, upstream: str) -> None:
        """Raises `UsageError` when there is such a file already, or none can be made."""
        self.path = path
        self.exchanges = 0
        self._encoder = msgspec.json.Encoder()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            raise UsageError(
                f"{path} holds a recording that was cut off (or is still running): write its trace with "
                f"harness trace record --recover {path} -o OUT, or delete it"
            ) from None
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
        self._write(msgspec.json.encode({"harness_recording": 1, "upstream": upstream}))

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange; raises `StorageError` when it cannot be written."""
        self._write(self._encoder.encode(exchange))
        self.exchanges += 1

    def close(self) -> None:
        """Close the file; what it holds stays."""
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        rest = memoryview(line + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            raise StorageError(f"{self.path}: the recording cannot be written any more: {error.strerror}") from error


def read_journal(path: Path) -> Iterator[Exchange]:
    """The exchanges of a journal in the order in which they ended; a last line that a crash cut off is left out.

    Raises `TraceError` when the file is no journal, or damaged before its last line.
    """
    broken: TraceError | None = None
    for number, line in read_lines(path, BadLines(), longest=_MAX_LINE_BYTES):
        if broken is not None:
            raise broken
        try:
            if number == 1:
                _read_head(line)
                continue
            exchange = _read_exchange(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if number == 1:
                raise TraceError(f"{path}: is no recording of harness trace record: {error}") from error
            broken = TraceError(f"{path}:{number}: the recording is damaged: {error}")
            continue
        yield exchange
