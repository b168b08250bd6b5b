"""The attempt log: one JSON line per attempt, for tests and for finding one call in the target's own log.

Written only when asked for (`--log-attempts`), by each worker on its own machine; the id is what the request carried as
`X-Harness-Attempt`.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from harness.fleet.telling import TellingRecorder
from harness.visitor.records import Attempt


class AttemptLog:
    """Appends to the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, attempts: list[Attempt], _t0_ns: int) -> None:
        """Appends a line for each attempt, times on the run's clock; raises `OSError` when that cannot be done."""
        with self._path.open("ab") as file:
            file.writelines(
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
                for attempt in attempts
            )


class LoggingRecorder(TellingRecorder):
    """A recorder whose attempts go to a log and to nobody else; `flush` writes what came since the last one."""

    def __init__(self, path: Path, *, closed: bool) -> None:
        super().__init__([AttemptLog(path).write], closed=closed)

    def flush(self) -> None:
        """Raises `OSError` when the log cannot be written."""
        self.tell(0)
