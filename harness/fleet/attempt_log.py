"""The attempt log: one JSON line per attempt, for tests and for finding one call in the target's own log.

Written only when asked for (`--log-attempts`), by each worker on its own machine; the id is what the request carried as
`X-Harness-Attempt`.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from harness.measure.recorder import Recorder
from harness.visitor.records import Attempt


class LoggingRecorder(Recorder):
    """A recorder that also keeps the attempts' lines until `flush` appends them to `path`."""

    def __init__(self, path: Path, *, closed: bool) -> None:
        super().__init__(closed=closed)
        self._path = path
        self._lines: list[bytes] = []

    def attempts(self, batch: list[Attempt]) -> None:  # type: ignore[override]
        """Folds attempts and notes their lines."""
        super().attempts(batch)
        self._lines += [
            orjson.dumps(
                {
                    "attempt": f"{attempt.visit}/{attempt.step}/{attempt.number}",
                    "op": attempt.op,
                    "result": attempt.result.name,
                    "chain": attempt.chain.name,
                    "http_status": attempt.http_status,
                    "planned_ns": attempt.planned_ns,
                    "started_ns": attempt.started_ns,
                    "connected_ns": attempt.connected_ns,
                    "sent_ns": attempt.sent_ns,
                    "done_ns": attempt.done_ns,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for attempt in batch
        ]

    def flush(self) -> None:
        """Appends what was noted to the file; raises `OSError` when it cannot be written."""
        lines, self._lines = self._lines, []
        with self._path.open("ab") as file:
            file.writelines(lines)
