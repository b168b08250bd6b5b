"""The request log: one JSON line per engagement call, buffered and written at least once a second."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import orjson

from harness.errors import StorageError, UsageError
from harness.sim.behaviour import Decision
from harness.units import NS_PER_MS
from harness.wire.route import Call

_BUFFERED_LINES = 2_000


class RequestLog:
    """Writes `{at_ms, attempt, op, outcome, status, vid_in, sid_in, vid, sid, service_ms, answered}` per call.

    `at_ms` is the arrival in scenario time; `service_ms` is null when no reply was written, `answered` then false.
    """

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` when the file cannot be opened."""
        self._path = path
        self._lines: list[bytes] = []
        try:
            self._file: IO[bytes] = path.open("wb")
        except OSError as error:
            raise UsageError(f"--log {path} cannot be written: {error.strerror}") from None

    def add(self, at_ns: int, call: Call, decision: Decision, service_ns: int | None) -> None:
        """Note a call that is over; raises `StorageError` when the file cannot be written."""
        line = {
            "at_ms": round(at_ns / NS_PER_MS, 3),
            "attempt": call.attempt,
            "op": call.op,
            "outcome": decision.outcome,
            "status": decision.http_status,
            "account": call.account,
            "vid_in": call.vid,
            "sid_in": call.sid,
            "vid": decision.vid,
            "sid": decision.sid,
            "service_ms": None if service_ns is None else round(service_ns / NS_PER_MS, 3),
            "answered": service_ns is not None,
        }
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) >= _BUFFERED_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered; raises `StorageError` when that fails (a full disk)."""
        lines, self._lines = self._lines, []
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Flush and close; raises `StorageError` when that fails."""
        try:
            self.flush()
        finally:
            try:
                self._file.close()
            except OSError as error:
                raise self._failure(error) from None

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(f"--log {self._path} cannot be written: {error.strerror}")
