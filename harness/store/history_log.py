"""`HistoryLog`: `history.jsonl`, what was reported and decided about the runs of a folder; lines are only added.

{"event": "change", …}      a change point was reported (the fields of `KnownChange`)
{"event": "decision", …}    people accepted or rejected a run or a reported change, when and why
{"event": "rerun", …}       a run was repeated to confirm its verdict; the second one stands for both
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import orjson

from harness.errors import UsageError
from harness.judge.nights import KnownChange
from harness.store.files import storage_errors

Decision = Literal["accepted", "rejected"]


class HistoryLog:
    """The log at `path`, which need not exist yet. Raises `UsageError` when a line of it cannot be understood."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.decisions: dict[str, Decision] = {}
        self.changes: dict[str, KnownChange] = {}
        self.first_tries: set[str] = set()
        lines = path.read_bytes().splitlines() if path.exists() else []
        for number, raw in enumerate(lines, 1):
            try:
                self._hear(orjson.loads(raw))
            except (orjson.JSONDecodeError, msgspec.ValidationError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{path}, line {number}: not a line of a history ({error!r}); mend or remove it"
                ) from error

    def report(self, changes: Iterable[KnownChange]) -> None:
        """Remembers changes that were told to people; from now on they are known. Raises `StorageError`."""
        for change in changes:
            self._say({"event": "change", **msgspec.to_builtins(change)})

    def confirm(self, first: str, second: str, at: str) -> None:
        """Remembers that run `second` was made to confirm run `first`. Raises `StorageError`."""
        self._say({"event": "rerun", "at": at, "first": first, "second": second})

    def decide_change(self, name: str, decision: Decision, at: str, reason: str) -> None:
        """People's word on a reported change; `at` is the time now (ISO 8601, UTC). Raises `KeyError` for none."""
        self._say({"event": "decision", "at": at, "change": self.changes[name].id, "decision": decision,
                   "reason": reason})  # fmt: skip

    def decide_run(self, run_id: str, decision: Decision, at: str, reason: str) -> None:
        """People's word on a run."""
        self._say({"event": "decision", "at": at, "run": run_id, "decision": decision, "reason": reason})

    def _say(self, line: Mapping[str, Any]) -> None:
        with storage_errors(self._path), self._path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._hear(line)

    def _hear(self, line: Mapping[str, Any]) -> None:
        event = line["event"]
        if event == "change":
            change = msgspec.convert({key: value for key, value in line.items() if key != "event"}, KnownChange)
            self.changes.setdefault(change.id, change)
        elif event == "rerun":
            self.first_tries.add(str(line["first"]))
        elif event == "decision" and "change" in line:
            known = self.changes[line["change"]]
            self.changes[known.id] = msgspec.structs.replace(known, state=line["decision"], decided_at=line["at"])
        elif event == "decision":
            self.decisions[line["run"]] = line["decision"]
        else:
            raise KeyError(event)
