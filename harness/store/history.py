"""`History`: the runs under one folder as an index, and what people and nights said about them.

Two files stand beside the run folders. `history.jsonl` is the log: a line for every change point reported, every run or
change accepted or rejected, every confirming re-run; lines are only added, and it is the one thing that cannot be made
anew. `history.sqlite` is an index of manifests, verdicts and metrics of all run folders; it is brought up to date each
time it is opened, holds nothing of its own, and may be deleted (or be damaged) at any time.

Runs of one **series** can be compared: the same trace, target, arrivals, retry policy and whatever else shapes the load
or the client. When one of these changes, a new series begins, with a history of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_address
from math import ceil
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec
import orjson

from harness.errors import HarnessError, UsageError
from harness.judge.metric import Followed, in_summary, observe
from harness.judge.nights import Night
from harness.measure.slices import from_lines, merge_from
from harness.store.files import storage_errors
from harness.store.history_log import Decision, HistoryLog
from harness.store.layout import MANIFEST, SUMMARY
from harness.store.stored_run import StoredRun, load_run

INDEX: Final = "history.sqlite"
LOG: Final = "history.jsonl"
_VERSION: Final = 1

# What shapes the load and the client: runs that differ in one of these have different histories.
_SHAPE: Final = (
    "account", "accounts", "arrivals", "duration_ns", "warmup_ns", "drain_ns", "max_think_ns", "limit_visits", "loop",
    "amplify", "speed", "warp_think", "retry", "connections", "timeout_ns", "connect_timeout_ns", "workers",
)  # fmt: skip

_TABLES: Final = """
CREATE TABLE run (
    folder TEXT PRIMARY KEY, stamp TEXT NOT NULL, run_id TEXT NOT NULL, started_at TEXT NOT NULL,
    scenario TEXT NOT NULL, series TEXT NOT NULL, status TEXT NOT NULL, exit_code INTEGER,
    partial INTEGER NOT NULL, duration_s REAL,
    kept_slo INTEGER NOT NULL, refused TEXT NOT NULL
);
CREATE TABLE value (folder TEXT NOT NULL, metric TEXT NOT NULL, value REAL, PRIMARY KEY (folder, metric));
CREATE INDEX by_series ON run (series, started_at);
"""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One run folder in the index; `status` is "" for a run that left no summary."""

    folder: str
    run_id: str
    started_at: str
    scenario: str
    series: str
    status: str
    exit_code: int | None
    partial: bool
    duration_s: float | None
    kept_slo: bool
    refused: frozenset[str]

    @property
    def sound(self) -> bool:
        """Whether the run is complete and its instrument held: only such runs can make a baseline."""
        return self.status in ("PASS", "FAIL") and not self.partial


class History:
    """The history of the run folders directly under `root`; use `open`, and `close` it or use it as a context.

    `notes` are lines for people about folders that could not be read.
    """

    def __init__(self, root: Path, database: sqlite3.Connection) -> None:
        self.root = root
        self.notes: list[str] = []
        self._database = database
        self.log = HistoryLog(root / LOG)

    @classmethod
    def open(cls, root: Path, *, rebuild: bool = False) -> Self:
        """The history of `root`, its index made or brought up to date; `rebuild` makes it anew.

        Raises `UsageError` when there is no such folder or its log is damaged, `StorageError` when the index cannot be
        written.
        """
        if not root.is_dir():
            raise UsageError(f"there is no folder {root}: give the folder that holds the run folders with --runs")
        path = root / INDEX
        with storage_errors(path):
            if rebuild:
                path.unlink(missing_ok=True)
            try:
                history = cls(root, _connect(path))
                history._refresh()
            except sqlite3.DatabaseError:
                # Damaged, or of another version: nothing in it is its own.
                path.unlink(missing_ok=True)
                history = cls(root, _connect(path))
                history._refresh()
        return history

    def close(self) -> None:
        """Closes the index."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Runs

    def entries(self, series: str | None = None) -> list[Entry]:
        """All runs, or those of one series, in order of time."""
        rows = self._database.execute(
            "SELECT folder, run_id, started_at, scenario, series, status, exit_code, partial, duration_s, kept_slo, "
            "refused FROM run WHERE ?1 IS NULL OR series = ?1 ORDER BY started_at, folder",
            (series,),
        )
        return [
            Entry(
                folder=folder, run_id=run_id, started_at=started_at, scenario=scenario, series=of, status=status,
                exit_code=exit_code, partial=bool(partial), duration_s=duration_s, kept_slo=bool(kept_slo),
                refused=frozenset(orjson.loads(refused)),
            )
            for folder, run_id, started_at, scenario, of, status, exit_code, partial, duration_s, kept_slo, refused
            in rows
        ]  # fmt: skip

    def entry(self, run_id: str) -> Entry:
        """The run with this id, or whose id or folder begins so; raises `UsageError` when none or several do."""
        entries = self.entries()
        exact = [entry for entry in entries if run_id in (entry.run_id, entry.folder)]
        found = exact or [entry for entry in entries if entry.run_id.startswith(run_id)]
        if len(found) != 1:
            what = "no run" if not found else f"{len(found)} runs"
            raise UsageError(f"{what} '{run_id}' under {self.root}: see harness history list")
        return found[0]

    def load(self, entry: Entry) -> StoredRun:
        """The stored run itself; raises `UsageError` when it cannot be read."""
        return load_run(self.root / entry.folder)

    def nights(self, series: str, metrics: Sequence[Followed]) -> list[Night]:
        """The runs of a series with the values of `metrics`, in order of time; first tries are left out.

        A run whose confirming re-run took its place is a first try. Values that the index lacks are read from the run
        folders, once.
        """
        return [
            Night(
                run_id=entry.run_id,
                started_at=entry.started_at,
                status=entry.status,
                sound=entry.sound,
                kept_slo=entry.kept_slo,
                refused=entry.refused,
                values=self.values(entry, metrics),
                decision=self.log.decisions.get(entry.run_id, ""),
            )
            for entry in self.entries(series)
            if entry.run_id not in self.log.first_tries
        ]

    def values(self, entry: Entry, metrics: Sequence[Followed]) -> dict[str, float]:
        """The values of those metrics that the run measured well enough."""
        known: dict[str, float | None] = dict(
            self._database.execute("SELECT metric, value FROM value WHERE folder = ?", (entry.folder,)).fetchall()
        )
        missing = [metric for metric in metrics if metric.text not in known]
        if missing and entry.status:
            try:
                fresh = measure(self.load(entry), missing)
            except HarnessError as error:
                self.notes.append(f"{entry.folder}: {error}")
                fresh = {metric.text: None for metric in missing}
            self._database.executemany(
                "INSERT OR REPLACE INTO value VALUES (?, ?, ?)",
                [(entry.folder, metric, value) for metric, value in fresh.items()],
            )
            self._database.commit()
            known |= fresh
        wanted = ((metric.text, known.get(metric.text)) for metric in metrics)
        return {text: value for text, value in wanted if value is not None}

    def decide(self, name: str, decision: Decision, *, at: str, reason: str = "") -> str:
        """Accepts or rejects a run or a reported change by its id, and returns the whole id.

        Raises `UsageError` when there is none, and for accepting a run that is INVALID, partial or without a verdict:
        these never enter a baseline. `at` is the time now (ISO 8601, UTC).
        """
        if name in self.log.changes:
            self.log.decide_change(name, decision, at, reason)
            return name
        if name.startswith("c-"):
            raise UsageError(f"no change '{name}' was reported under {self.root}: see harness history list")
        entry = self.entry(name)
        if decision == "accepted" and not entry.sound:
            what = "partial" if entry.partial else entry.status or "without a verdict"
            raise UsageError(f"run {entry.run_id} is {what} and cannot enter a baseline, whoever accepts it")
        self.log.decide_run(entry.run_id, decision, at, reason)
        return entry.run_id

    # The index

    def _refresh(self) -> None:
        known = dict(self._database.execute("SELECT folder, stamp FROM run").fetchall())
        present = {path.parent.name: path.parent for path in sorted(self.root.glob(f"*/{MANIFEST}"))}
        with self._database:
            for folder in known.keys() - present.keys():
                self._forget(folder)
            for folder, path in present.items():
                stamp = _stamp(path)
                if known.get(folder) != stamp:
                    self._forget(folder)
                    self._add(path, stamp)

    def _forget(self, folder: str) -> None:
        for table in ("run", "value"):
            self._database.execute(f"DELETE FROM {table} WHERE folder = ?", (folder,))

    def _add(self, path: Path, stamp: str) -> None:
        try:
            row = _row(path)
        except (HarnessError, KeyError, TypeError, ValueError) as error:
            self.notes.append(f"{path}: left out of the history: {error}")
            return
        marks = ", ".join("?" * (len(row) + 2))
        self._database.execute(f"INSERT INTO run VALUES ({marks})", (path.name, stamp, *row))


def measure(stored: StoredRun, metrics: Sequence[Followed]) -> dict[str, float | None]:
    """The values of `metrics` in a stored run: None where there is none, or too small a sample.

    From the summary where it tells them, else from the slices. Raises `UsageError` when these are damaged.
    """
    summary = stored.summary
    if summary is None:
        return {metric.text: None for metric in metrics}
    values: dict[str, float | None] = {}
    rest = []
    for metric in metrics:
        told, value = in_summary(metric, summary)
        if told:
            values[metric.text] = value
        else:
            rest.append(metric)
    if rest:
        phases = summary["phases"]
        measured = merge_from(from_lines(stored.slices()), ceil(phases["warmup_s"]))
        for metric in rest:
            values[metric.text] = observe(
                metric, measured, arrivals_s=phases["arrivals_s"], measured_s=phases["measured_s"]
            )
    return values


def series_of(config: Mapping[str, Any], trace_digest: str) -> str:
    """The name of the series that a run belongs to: ten hex digits of what shapes it.

    A port of this machine does not count, for simulators take a free one.
    """
    shape: dict[str, Any] = {key: config.get(key) for key in _SHAPE}
    shape |= {"trace": trace_digest, "target": _lasting(str(config.get("target", "")))}
    return sha256(orjson.dumps(shape, option=orjson.OPT_SORT_KEYS)).hexdigest()[:10]


def _lasting(target: str) -> str:
    parts = urlsplit(target)
    host = parts.hostname or ""
    try:
        here = ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return f"{parts.scheme}://{host}" if here else target


def _stamp(path: Path) -> str:
    """What changes when a run folder's manifest or summary is replaced."""
    parts = []
    for name in (MANIFEST, SUMMARY):
        file = path / name
        if file.exists():
            status = file.stat()
            parts.append(f"{status.st_mtime_ns}:{status.st_size}:{status.st_ino}")
    return " ".join(parts)


def _row(path: Path) -> tuple[Any, ...]:
    stored = load_run(path)
    manifest, summary = stored.manifest, stored.summary or {}
    verdict = summary.get("verdict", {})
    failed = [check for check in verdict.get("checks", []) if not check["ok"]]
    suffix = " against history"
    refused = [
        check["name"].removesuffix(suffix)
        for check in failed
        if check["kind"] == "regression" and check["name"].endswith(suffix)
    ]
    return (
        str(manifest["run_id"]),
        str(manifest.get("started_at", "")),
        str(manifest.get("scenario", "")),
        series_of(manifest.get("config", {}), str(manifest.get("trace_digest", ""))),
        str(verdict.get("status", "")),
        verdict.get("exit_code"),
        int(stored.partial),
        summary.get("duration_s"),
        int(not any(check["kind"] in ("slo", "guard") for check in failed)),
        orjson.dumps(refused).decode(),
    )


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=30)
    [version] = database.execute("PRAGMA user_version").fetchone()
    if version not in (0, _VERSION):
        database.close()
        raise sqlite3.DatabaseError("another version")
    if version == 0:
        database.executescript(f"{_TABLES} PRAGMA user_version = {_VERSION};")
    return database
